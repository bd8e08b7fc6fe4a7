"""The trainings of a study that several processes share, under torchrun or in the workers of Ray Train.

    torchrun --nproc-per-node 4 -m transferscope.api.torchrun study.yaml --out /shared/runs/first

trains what the study wants of `num_workers: 4`, and what that needs first; `transferscope run` with the same --out then
does the rest, and finds these results.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.core.config import Study
from transferscope.core.errors import BadInput
from transferscope.core.runs import Run
from transferscope.study.file import load_study
from transferscope.study.plan import Plan, plan
from transferscope.study.task import Task

if TYPE_CHECKING:
    import torch

    from transferscope.execute.store.local import Store
    from transferscope.train.ranks import Ranks


def train_study(study: Study, out: Path, *, device: str = "auto", keys: Sequence[str] = ()) -> list[str]:
    """Train the networks of a study whose `num_workers` is the number of processes that call this.

    To be called in each of them, in a process group of torch.distributed, or where the environment describes one
    (torchrun's does). Results that are there are not made again.

    Args:
        study: the study.
        out: folder of the run, which every process sees under the same path.
        device: cpu, cuda (each process has the GPU of its local rank), or auto.
        keys: beginnings of keys of the trainings wanted; all by default.

    Returns:
        Titles of the tasks that were computed.

    Raises:
        BadInput: there is no such training, or another run is at it.
        TaskFailed: a training failed.
    """
    import torch
    import torch.distributed

    from transferscope.report.workspace import Workspace
    from transferscope.train.ranks import PATIENCE, Ranks

    where = _own_device(device)
    torch.set_num_threads(1)
    is_ours = not torch.distributed.is_initialized()
    if is_ours:
        if "WORLD_SIZE" not in os.environ:
            raise BadInput(
                "expected a process group, there is none: start this with torchrun --nproc-per-node N "
                "-m transferscope.api.torchrun."
            )
        backend = "nccl" if where.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
    ranks, the_plan = Ranks.joined(), plan(study)
    tasks = _wanted(the_plan, ranks.count, keys)
    workspace = Workspace(out)
    if ranks.is_first:
        workspace.prepare(the_plan)
    ranks.told(0, where)
    with workspace.store.in_use():
        if ranks.is_first:
            workspace.store.share(task.key for task in the_plan.graph)
        computed = [task.title for task in tasks if _computed(task, workspace.store, where, ranks)]
    if is_ours:
        torch.distributed.destroy_process_group()
    return computed


def _computed(task: Task, store: Store, device: torch.device, ranks: Ranks) -> bool:
    """Compute a task unless its result is there: a training of all processes together, anything else by the first."""
    from transferscope.execute.jobs import run_task

    state = 0
    if ranks.is_first and not store.has(task.key):
        state = 1 if store.claim(task.key) else 2
    state = ranks.told(state, device)
    if state == 2:
        raise BadInput(f"another run is at '{task.title}'; try again when that is done.")
    if not state:
        return False
    try:
        if _num_workers(task) == ranks.count:
            run_task(task, store, device, ranks=ranks)
        elif ranks.is_first:
            run_task(task, store, device)
        ranks.told(0, device)
    finally:
        if ranks.is_first:
            store.release(task.key)
    return True


def _wanted(the_plan: Plan, count: int, keys: Sequence[str]) -> list[Task]:
    """The trainings of so many processes and all that they need, inputs first."""
    trainings = [task for task in the_plan.graph if _num_workers(task) == count]
    found = [task for task in trainings if not keys or task.key.startswith(tuple(keys))]
    if not found:
        asked = f" whose key begins with {' or '.join(keys)}" if keys else ""
        raise BadInput(
            f"the study has no training of num_workers {count}{asked}: set training.num_workers to the number of "
            "processes, or start as many as it says."
        )
    needed = {task.key for task in found}
    for task in reversed(list(the_plan.graph)):
        if task.key in needed:
            needed |= {*task.inputs}
    return [task for task in the_plan.graph if task.key in needed]


def _num_workers(task: Task) -> int:
    return task.payload.recipe.num_workers if isinstance(task.payload, Run) else 0


def _own_device(device: str) -> torch.device:
    import torch

    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BadInput(f"--device {device}: torch sees no CUDA device here. Valid: cpu, auto.")
    own = torch.device("cuda", int(os.environ.get("LOCAL_RANK", torch.cuda.current_device())))
    torch.cuda.set_device(own)
    return own


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `torchrun -m transferscope.api.torchrun`."""
    parser = argparse.ArgumentParser(
        prog="torchrun ... -m transferscope.api.torchrun", description=(__doc__ or "").split("\n", 1)[0]
    )
    parser.add_argument("study", metavar="STUDY.yaml", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the run's folder, seen by every process")
    parser.add_argument("--variant", help="one of the study file's variants")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a value")
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument(
        "--key", action="append", default=[], help="beginning of the key of a training wanted"
    )
    given = parser.parse_args(arguments)
    # Before torch is loaded: DDP would say in every process that all parameters are used. It is told to look because
    # a network may leave out layers at random, which no look at one pass could rule out.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from transferscope.core.errors import TaskFailed

    try:
        study = load_study(given.study, overrides=given.set, variant=given.variant)
        computed = train_study(study, given.out, device=given.device, keys=given.key)
    except (BadInput, TaskFailed) as error:
        for problem in error.problems if isinstance(error, BadInput) else [str(error)]:
            print(f"error: {problem}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    if os.environ.get("RANK", "0") == "0":
        for title in computed:
            print(f"done: {title}")
    return 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # not sys.exit: threads of gloo that outlive the group abort the process when the interpreter is taken down
    os._exit(status)
