"""What the measures and the training cost, beside what others take for the same work.

    python -m benchmarks                        all of them, and the tables of docs/performance.md anew
    python -m benchmarks shuffle                one
    python -m benchmarks --check                fails where a ratio falls under its bar by more than 15 %
    python -m benchmarks shuffle --size tiny    whether it runs at all

A job is a module here with `run(size, rounds) -> Result`. Each compares candidates that do the same work: their
results are compared first, then they run in turns, and the medians of wall time and of CPU time are taken.
"""
