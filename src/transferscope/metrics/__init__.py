"""The numbers of the seven experiments: pure functions on tensors, networks and state dicts.

Nothing here reads a file, a configuration or a global device, and nothing trains. Functions that draw random numbers
take a generator. Results are frozen dataclasses or Polars tables. Sums are in float64. A number that
can't be computed is NaN, and a status or the docstring gives the reason.
"""
