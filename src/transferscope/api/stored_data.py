"""Before stored results are reused: are the data still those that they were computed from?"""

from __future__ import annotations

import json

from transferscope.core.datasets import dataset_module
from transferscope.core.errors import BadInput
from transferscope.core.options import DatasetOptions
from transferscope.execute.store.checksums import Damaged
from transferscope.execute.store.local import Store
from transferscope.study.plan import Plan

SPLITS = ("train", "test")


def refuse_changed_data(plan: Plan, store: Store) -> None:
    """Refuse to reuse results of data sets whose labels changed without a change of their fingerprint.

    Only data sets whose module has `changed_labels` can change so: those that the user's own code gives.

    Raises:
        BadInput: labels differ from the stored ones.
    """
    problems = []
    for task in plan.graph:
        if not isinstance(task.payload, DatasetOptions):
            continue
        changed_labels = getattr(dataset_module(task.payload.dataset), "changed_labels", None)
        if changed_labels is None or not store.has(task.key):
            continue
        try:
            what = changed_labels(task.payload, _stored_labels(store, task.key))
        except Damaged:  # it is computed again
            continue
        if what:
            problems.append(
                f"{task.title}: {what}. The code reads them from a place that can't be watched, such as a database "
                "or a file that a compiled library opens. Set data_version to a new text, such as the date: then the "
                "results are computed anew."
            )
    if problems:
        raise BadInput(problems)


def _stored_labels(store: Store, key: str) -> dict[str, dict[str, object]]:
    """Split -> id -> label, as plain numbers."""
    from safetensors import safe_open

    folder = store.result(key).folder  # the checksum of all images would take longer than the labels
    ids = json.loads((folder / "ids.json").read_text())
    labels = {}
    for name in SPLITS:
        with safe_open(folder / f"{name}.safetensors", framework="np") as file:
            labels[name] = dict(zip(ids[name], file.get_tensor("labels").tolist(), strict=True))
    return labels
