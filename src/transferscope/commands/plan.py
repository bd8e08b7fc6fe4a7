"""Showing what a study would run, and what that would cost."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.commands.machine import resolved_device
from transferscope.config import Recipe, Study
from transferscope.errors import BadInput
from transferscope.plan import Plan, plan
from transferscope.remote_folder import checked_url
from transferscope.remote_store import node_folder, open_store
from transferscope.store import Store

if TYPE_CHECKING:
    from rich.console import Console


def show_plan(
    study: Study,
    out: Path | None,
    *,
    store_url: str | None = None,
    throughput: str | None = None,
    device_counts: str | None = None,
    device: str = "auto",
    as_json: bool = False,
    console: Console,
) -> None:
    """The task graph as a tree: counts, how much is cached, estimated cost.

    Args:
        study: the study.
        out: folder of a run, to tell what is cached there.
        store_url: where results are besides, to tell what is cached there.
        throughput: training images a second of one device, or "measure"; adds device-hours.
        device_counts: numbers of devices, as in "1,8,64"; adds how long the study would take on so many.
        device: where to measure.
        as_json: print the tasks as one JSON document instead, without costs in hours.
        console: where to print.

    Raises:
        BadInput: a throughput or number of devices that is none.
    """
    from transferscope.plan_costs import cost_table, simulated_table
    from transferscope.plan_tree import plan_tree

    counts = [] if device_counts is None else _whole_numbers(device_counts)
    if counts and throughput is None:
        raise BadInput(
            "--simulate needs the speed of one device: add --throughput IMAGES_PER_SECOND, or --throughput measure."
        )
    if as_json and throughput is not None:
        raise BadInput("--json and --throughput: choose one of them; the document has the cost of each task.")
    images_per_second = None if throughput is None else _throughput(throughput, study, device, console)
    the_plan, store = plan(study), _store(out, store_url)
    if as_json:
        console.file.write(json.dumps(_document(the_plan, store), indent=1, allow_nan=False) + "\n")
        return
    console.print(plan_tree(the_plan, store))
    if the_plan.assumed:
        names = ", ".join(the_plan.assumed)
        console.print(f"not at hand, so with their official sizes and classes: {names}", highlight=False)
    if images_per_second is None:
        return
    done = set() if store is None else store.present(task.key for task in the_plan.graph)
    console.print(cost_table(the_plan, images_per_second, done))
    if counts:
        console.print(simulated_table(the_plan, images_per_second, counts, done))


def _document(the_plan: Plan, store: Store | None) -> dict[str, Any]:
    """The plan as plain data."""
    done = set() if store is None else store.present(task.key for task in the_plan.graph)
    left = {task.key for task in the_plan.graph.needed(done)}
    tasks = [
        {
            "key": task.key,
            "kind": task.kind,
            "title": task.title,
            "inputs": list(task.inputs),
            "image_passes": task.cost,
            "cached": task.key in done,
            "to_run": task.key in left,
        }
        for task in the_plan.graph
    ]
    return {"study": the_plan.study.name, "assumed_data": list(the_plan.assumed), "tasks": tasks}


def _store(out: Path | None, url: str | None) -> Store | None:
    if url is None:
        return None if out is None else open_store(out / "store")
    url = checked_url(url)
    return open_store(node_folder(url) if out is None else out / "store", url)


def _throughput(text: str, study: Study, device: str, console: Console) -> float:
    """Training images a second, as given or measured here with the study's network and recipe."""
    if text != "measure":
        try:
            given = float(text)
        except ValueError:
            given = math.nan
        if not (0 < given < math.inf):
            raise BadInput(f"--throughput {text}: expected images a second above 0, or measure.")
        return given
    import torch

    from transferscope.data.base import describe
    from transferscope.runs import SearchedRecipe, target_run
    from transferscope.train.throughput import training_throughput

    target = next(iter(study.targets))
    run = target_run(study, "ri_t", target, study.seeds[0])
    if isinstance(run.recipe, SearchedRecipe):
        run = run.recipe.search[0]  # the rate has no say in the speed
    assert isinstance(run.recipe, Recipe), "a search has rates"
    where = resolved_device(device)
    if where == "cpu":
        torch.set_num_threads(1)  # as in the workers: a process a core
    with console.status("measuring the speed of a training step"):
        measured = training_throughput(
            run.network, describe(run.data), run.recipe, run.normalization, torch.device(where)
        )
    process = "one process on the CPU" if where == "cpu" else where
    console.print(f"measured with the recipe of {target}: {measured:,.0f} training images/s, {process}")
    return measured


def _whole_numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise BadInput(f"--gpus {text}: expected whole numbers above 0, as in 1,8,64.")
    return [int(part) for part in parts]
