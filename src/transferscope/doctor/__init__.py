"""What is here to compute with, and whether it computes what it should."""
