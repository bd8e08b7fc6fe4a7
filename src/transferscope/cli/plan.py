"""`transferscope plan`: what a study would run, and what that would cost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferscope.cli.arguments import Device, Json, Set, StoreUrl, StudyFile, Variant
from transferscope.cli.console import make_console
from transferscope.core.errors import BadInput, unmarked

if TYPE_CHECKING:
    from rich.console import Console

    from transferscope.core.config import Study
    from transferscope.execute.store.local import Store
    from transferscope.study.plan import Plan


def command(
    study: StudyFile,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Say what is cached there.")
    ] = None,
    store: StoreUrl = None,
    set_: Set = None,
    variant: Variant = None,
    throughput: Annotated[
        str | None,
        typer.Option(
            "--throughput",
            metavar="IMAGES/S",
            help="Training images a second of one device, or measure: adds the cost in device-hours.",
        ),
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Add the time that the study would take on so many devices.")
    ] = False,
    gpus: Annotated[
        str, typer.Option("--gpus", metavar="N,N,...", help="Numbers of devices for --simulate.")
    ] = "1,8,64,512",
    without_data: Annotated[
        bool,
        typer.Option(
            "--without-data",
            help="Take the official sizes of DomainNet, CheXpert and ImageNet where they aren't at hand.",
        ),
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Show what a study would run, and its cost.

    The tasks as a tree, which of them are cached, and the cost in image passes; --throughput measure turns these into
    hours of this machine.

    Example: transferscope plan study.yaml --out runs/first

    Example: transferscope plan study.yaml --throughput measure

    \b
    Example: transferscope plan study.yaml --throughput 2500 \\
        --simulate --gpus 1,8,64,512
    """
    from transferscope.core.datasets import assuming_official_data
    from transferscope.study.file import load_study

    with assuming_official_data() if without_data else nullcontext():
        show_plan(
            load_study(study, overrides=set_ or (), variant=variant),
            out,
            store_url=store,
            throughput=throughput,
            device_counts=gpus if simulate else None,
            device=device,
            as_json=as_json,
            console=make_console(),
        )


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Training images a second of one device, and where that is from."""

    images_per_second: float
    device: str | None = None
    """Where it was measured; none where it was given."""
    target: str | None = None
    """Whose recipe it was measured with; none where it was given."""


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
        as_json: print the tasks as one JSON document instead, with the cost where a throughput is given.
        console: where to print.

    Raises:
        BadInput: a throughput or number of devices that is none.
    """
    from transferscope.cli.plan_tree import plan_tree
    from transferscope.execute.costs import cost_table, simulated_table
    from transferscope.study.checks import label_notes
    from transferscope.study.plan import plan

    counts = [] if device_counts is None else _whole_numbers(device_counts)
    if counts and throughput is None:
        raise BadInput(
            "--simulate needs the speed of one device: add --throughput IMAGES_PER_SECOND, or --throughput measure."
        )
    speed = None if throughput is None else _speed(throughput, study, device, console, as_json=as_json)
    the_plan, store = plan(study), _store(out, store_url)
    if as_json:
        document = _document(the_plan, store, speed, counts)
        console.file.write(json.dumps(document, indent=1, allow_nan=False) + "\n")
        return
    console.print(plan_tree(the_plan, store))
    if the_plan.assumed:
        names = ", ".join(the_plan.assumed)
        console.print(f"not at hand, so with their official sizes and classes: {names}", highlight=False)
    for note in label_notes(study):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    if speed is None:
        return
    if speed.device is not None:
        process = "one process on the CPU" if speed.device == "cpu" else speed.device
        told = f"{speed.images_per_second:,.0f} training images/s, {process}"
        console.print(f"measured with the recipe of {unmarked(speed.target)}: {told}")
    done = set() if store is None else store.present(task.key for task in the_plan.graph)
    console.print(cost_table(the_plan, speed.images_per_second, done))
    if counts:
        console.print(simulated_table(the_plan, speed.images_per_second, counts, done))


def _document(
    the_plan: Plan, store: Store | None, speed: Speed | None, device_counts: Sequence[int]
) -> dict[str, Any]:
    """The plan as plain data."""
    from transferscope.study.checks import label_notes

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
    return {
        "study": the_plan.study.name,
        "assumed_data": list(the_plan.assumed),
        "notes": label_notes(the_plan.study),
        "cost": None if speed is None else _cost(the_plan, done, speed, device_counts),
        "tasks": tasks,
    }


def _cost(the_plan: Plan, done: set[str], speed: Speed, device_counts: Sequence[int]) -> dict[str, Any]:
    """What is left in device-hours, what that was computed from, and the time on so many devices if asked for."""
    from transferscope.execute.costs import PASSES_PER_TRAINED_IMAGE, on_devices, work_left

    work, whole = work_left(the_plan, speed.images_per_second, done)
    simulated = on_devices(the_plan, speed.images_per_second, device_counts, done)
    return {
        "device_hours": whole.device_hours,
        "image_passes": whole.image_passes,
        "passes_per_training_image": PASSES_PER_TRAINED_IMAGE,
        "training_images_per_second": speed.images_per_second,
        "speed_is": "given" if speed.device is None else "measured",
        "measured_on": speed.device,
        "measured_with_recipe_of": speed.target,
        "work": [asdict(one) for one in work],
        "simulated": [asdict(one) for one in simulated] if device_counts else None,
    }


def _store(out: Path | None, url: str | None) -> Store | None:
    from transferscope.execute.store.remote import node_folder, open_store
    from transferscope.execute.store.remote_folder import checked_url

    if url is None:
        return None if out is None else open_store(out / "store")
    url = checked_url(url)
    return open_store(node_folder(url) if out is None else out / "store", url)


def _speed(text: str, study: Study, device: str, console: Console, *, as_json: bool) -> Speed:
    """Training images a second, as given or measured here with the study's network and recipe."""
    if text != "measure":
        try:
            given = float(text)
        except ValueError:
            given = math.nan
        if not (0 < given < math.inf):
            raise BadInput(f"--throughput {text}: expected images a second above 0, or measure.")
        return Speed(images_per_second=given)
    import torch

    from transferscope.core.config import Recipe
    from transferscope.core.datasets import describe
    from transferscope.core.machine import resolved_device
    from transferscope.core.runs import SearchedRecipe, target_run
    from transferscope.train.throughput import training_throughput

    if study.instances is not None:
        raise BadInput(
            "--throughput measure: this study's networks are given, and there is no training of its own to measure. "
            "Give the images a second that this network trains on here: --throughput 300, say."
        )
    target = next(iter(study.targets))
    run = target_run(study, "ri_t", target, study.seeds[0])
    if isinstance(run.recipe, SearchedRecipe):
        run = run.recipe.search[0]  # the rate has no say in the speed
    assert isinstance(run.recipe, Recipe), "a search has rates"
    where = resolved_device(device)
    if where == "cpu":
        torch.set_num_threads(1)  # as in the workers: a process a core
    about = "measuring the speed of a training step"
    with nullcontext() if as_json else console.status(about):  # stdout is the document's alone
        measured = training_throughput(
            run.network, describe(run.data), run.recipe, run.normalization, torch.device(where)
        )
    return Speed(images_per_second=measured, device=where, target=target)


def _whole_numbers(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise BadInput(f"--gpus {text}: expected whole numbers above 0, as in 1,8,64.")
    return [int(part) for part in parts]
