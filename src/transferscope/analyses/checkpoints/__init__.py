"""Experiment 7: which pre-training checkpoint to start from."""
