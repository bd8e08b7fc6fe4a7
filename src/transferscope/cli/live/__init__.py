"""The page of a run under way."""
