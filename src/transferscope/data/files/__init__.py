"""Readers of images and labels from files of many formats."""
