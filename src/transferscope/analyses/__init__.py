"""One file an analysis, found by its name. See `transferscope.analyses.contract` for what such a file holds."""
