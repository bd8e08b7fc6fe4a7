"""What features hold of a target: forecasts of transfer, and probes."""
