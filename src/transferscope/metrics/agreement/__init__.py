"""Agreement of predictions, and mistakes."""
