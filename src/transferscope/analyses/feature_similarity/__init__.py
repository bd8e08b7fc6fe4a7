"""Experiment 3: how similar the features of instances are, layer by layer."""
