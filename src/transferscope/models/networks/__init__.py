"""One file per family of networks, found by its name. `transferscope.models.build` describes the contents of such a
file."""
