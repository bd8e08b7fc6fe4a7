"""Experiment 1: how much of the gain survives when the images' blocks are shuffled."""
