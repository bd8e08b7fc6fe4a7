"""Inspection of a data set before the training."""
