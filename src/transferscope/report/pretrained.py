"""Which P a study has: a hash of its weights, and whether it is the P that the documentation is about."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.core.runs import GivenRun, GivenWeights, pretrained
from transferscope.execute.store.checksums import Damaged
from transferscope.execute.store.local import Store
from transferscope.study.plan import Plan
from transferscope.study.task import Task
from transferscope.study.templates import embedded_study

if TYPE_CHECKING:
    from torch import Tensor

ANOTHER = "another P than the documented one: expect differences as between seeds"


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the names, dtypes, shapes and bytes of the tensors, in the order of their names; 64 hex digits.

    >>> import torch
    >>> a, b = {"x": torch.zeros(2), "y": torch.ones(1)}, {"y": torch.ones(1), "x": torch.zeros(2)}
    >>> state_sha256(a) == state_sha256(b), state_sha256(a) == state_sha256({"x": torch.zeros(2)})
    (True, False)
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        header = json.dumps([name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)])
        digest.update(header.encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def documented_file() -> Path:
    """The file with the documented P, beside the file of the embedded study; see tools/documented_pretraining.py."""
    return embedded_study().with_name("demo-pretrained.json")


def pretrained_facts(plan: Plan, store: Store) -> dict[str, Any] | None:
    """The hash of P, and the documented one if this study pre-trains as the embedded study does.

    Returns:
        None if the study has no P of its own. Else `sha256` (None if the result is not on this machine); if there is a
        documented P also `documented_sha256`, `documented_on` (the machine) and `note` (empty if they are the same).
    """
    found = pretrained_task(plan)
    if found is None:
        return None
    task, epoch = found
    facts: dict[str, Any] = {"sha256": stored_sha256(task, epoch, store)}
    documented = json.loads(documented_file().read_text())
    if task.key == documented["key"] and facts["sha256"] is not None:
        is_same = facts["sha256"] == documented["sha256"]
        facts |= {
            "documented_sha256": documented["sha256"],
            "documented_on": documented["machine"],
            "note": "" if is_same else ANOTHER,
        }
    return facts


def pretrained_task(plan: Plan) -> tuple[Task, Any] | None:
    """The task that makes P, and the epoch of P in its result; None if no network of the plan starts from P."""
    if plan.study.source is None or plan.study.instances is not None:
        return None
    p = pretrained(plan.study)
    wanted, epoch = (p, 0) if isinstance(p, GivenWeights) else (p.run, p.epoch)
    if isinstance(wanted, GivenRun):
        return None
    task = next((task for task in plan.graph if task.payload == wanted), None)
    return None if task is None else (task, epoch)


def stored_sha256(task: Task, epoch: Any, store: Store) -> str | None:
    """The hash of P; None if it is not on this machine, or damaged."""
    from transferscope.execute.store.artifacts import read_state

    try:
        folder = store.here(task.key)
        return None if folder is None else state_sha256(read_state(folder, epoch))
    except Damaged:  # the next run computes it again
        return None
