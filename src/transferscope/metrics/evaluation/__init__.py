"""Passes of networks over data, and the scores of their predictions."""
