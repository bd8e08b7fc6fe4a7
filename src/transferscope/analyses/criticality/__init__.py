"""Experiment 6: which modules can be put back to their initial values, and how much noise they bear."""
