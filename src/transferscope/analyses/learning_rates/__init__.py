"""The search of the learning rates, where the study searches them: what was tried, and what was chosen."""
