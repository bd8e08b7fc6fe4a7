"""The study file, its checks, and the plan."""
