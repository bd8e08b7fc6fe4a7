"""The only training loop, and evaluation."""
