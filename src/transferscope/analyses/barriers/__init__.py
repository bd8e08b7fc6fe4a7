"""Experiment 5: performance barriers between instances, the basins they lie in, and what averaging them gives."""
