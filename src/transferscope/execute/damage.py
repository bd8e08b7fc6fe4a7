"""Damaged results that show before the first task is run."""

from __future__ import annotations

from transferscope.execute.store.local import Store
from transferscope.study.task import Graph

READ_AT_THE_END = ("measure", "weights")
"""Kinds of results that tables and report are made from: small, but for given weights."""


def discard_damaged(graph: Graph, store: Store) -> list[str]:
    """Remove what is damaged of a graph's results, and name it.

    Looked at by checksum is what no task reads any more; the rest by size: the checksums of what a task reads are
    looked at when it does.
    """
    there = store.present(task.key for task in graph)
    store.fetch(task.key for task in graph if task.kind in READ_AT_THE_END)
    found = []
    for task in graph:
        # a look without a claim first: hardly anything is damaged
        if (task.kind in READ_AT_THE_END or task.key not in there) and store.flaw(task.key):
            flaw = store.discard_damaged(task.key)
            if flaw:
                found.append(f"{task.title}: {flaw}")
    return found
