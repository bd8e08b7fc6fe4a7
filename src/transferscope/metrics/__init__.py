"""The numbers of the seven experiments: pure functions on tensors, networks and state dicts.

Nothing here reads a file, a configuration or a global device, and nothing trains. What is random takes an
explicit generator. Results are frozen dataclasses or Polars tables. What is summed is summed in float64; a
number that can't be had is NaN, and a status or the docstring says why.
"""
