"""The checks of a run before anything is computed, and before anything is measured on networks that were given."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

from transferscope.core.datasets import dataset_module, describe
from transferscope.core.errors import BadInput
from transferscope.core.options import DatasetOptions, ForeignNetwork
from transferscope.core.runs import GivenRun
from transferscope.execute.store.checksums import Damaged
from transferscope.execute.store.local import Store
from transferscope.study.plan import Plan

if TYPE_CHECKING:
    from rich.console import Console

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


def try_networks(plan: Plan, store: Store, *, with_notes: bool) -> None:
    """Load the given weights, and try networks of other packages: a mistake shows before anything is computed.

    Args:
        plan: what is to be run.
        store: where its results are.
        with_notes: log what is worth knowing of given weights. The tasks that load them note the same.

    Raises:
        BadInput: weights don't fit, or a network can't be used; has all problems.
    """
    network = plan.study.network
    given = [task for task in plan.graph if task.kind in ("weights", "given") and not store.has(task.key)]
    if not given and not isinstance(network, ForeignNetwork):
        return
    import torch

    from transferscope.execute.events import collected_notes
    from transferscope.execute.jobs import run_task
    from transferscope.models.weights.instances import given_states
    from transferscope.models.weights.trial import try_network

    if isinstance(network, ForeignNetwork):
        for target in plan.study.targets.values():
            about = describe(target.data)
            shape = (about.num_classes, about.channels, about.image_size_px)
            try_network(network, *shape, trains=plan.study.training is not None)
    problems: dict[str, None] = {}  # instances of one init have its problems in common
    for task in given:
        try:
            if isinstance(task.payload, GivenRun):
                about = describe(task.payload.data)
                with nullcontext() if with_notes else collected_notes():
                    state, _ = given_states(task.payload, about)
                shape = (about.num_classes, about.channels, about.image_size_px)
                try_network(task.payload.network, *shape, state=state)
            else:
                run_task(task, store, torch.device("cpu"))
        except BadInput as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise BadInput(list(problems))


def check_networks(plan: Plan, store: Store, console: Console, *, always: bool) -> None:
    """Print what each given network reaches, before anything is measured.

    Args:
        plan: what is to be run.
        store: has the results of the given networks.
        console: where to print; if it is quiet, the warnings alone go to stderr.
        always: print all of it though the console is quiet.

    Raises:
        BadInput: two networks are the same, so they can't be the ones that the user means.
    """
    if plan.study.instances is None:
        return
    from rich.console import Console

    from transferscope.report.preflight import checked_networks, lines_of, warnings_of

    networks = checked_networks(plan, store)
    lines = lines_of(networks)
    if console.quiet and always:
        console = Console()
    elif console.quiet:
        console, lines = Console(stderr=True), [f"warning: {warning}" for warning in warnings_of(networks)]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
