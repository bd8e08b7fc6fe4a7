"""Reads images and labels from files as people have them."""
