"""What there is to know about a data set before a network sees it."""
