"""Tables and figures for publications."""
