"""Studies beside each other."""
