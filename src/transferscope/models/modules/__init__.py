"""The modules of a network."""
