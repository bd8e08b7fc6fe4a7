"""One file a data set, found by its name. See `transferscope.data.base` for what such a file holds."""
