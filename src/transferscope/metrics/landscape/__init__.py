"""Paths, planes, basins and distances between weights."""
