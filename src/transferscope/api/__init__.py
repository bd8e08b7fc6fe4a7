"""What Python, notebooks, torchrun and the command line call."""
