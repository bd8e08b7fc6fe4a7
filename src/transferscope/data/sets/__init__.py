"""One file a data set, found by its name. See `transferscope.core.datasets` for what such a file holds."""
