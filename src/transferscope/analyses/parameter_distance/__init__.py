"""Experiment 4: how far apart the weights of instances are."""
