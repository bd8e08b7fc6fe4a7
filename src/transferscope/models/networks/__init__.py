"""One file a family of networks, found by its name. See `transferscope.models.build` for what such a file holds."""
