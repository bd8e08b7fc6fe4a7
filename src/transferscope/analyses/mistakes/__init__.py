"""Experiment 2: which mistakes instances share, and on which examples they differ."""
