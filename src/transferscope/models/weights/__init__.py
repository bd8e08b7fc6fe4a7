"""Weights from files, hubs and packages."""
