"""Modules under the names that they had in version 0.1."""
