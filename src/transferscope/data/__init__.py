"""Data sets, their readers, and the shuffling and normalization of images."""
