"""A run as others see it while it goes on: records on disk, a page that fills in, loggers of others."""
