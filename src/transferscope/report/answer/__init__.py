"""The report's first page: the answer and the advice."""
