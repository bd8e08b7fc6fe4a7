"""One file an analysis, found by its name. See `transferscope.analysis` for what such a file holds."""
