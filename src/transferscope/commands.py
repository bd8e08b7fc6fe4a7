"""What the commands do. `cli` parses and calls; nothing here knows of command-line syntax."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.config import Recipe, Study
from transferscope.errors import BadInput
from transferscope.plan import Plan, plan
from transferscope.store import Store, write_atomically
from transferscope.study_file import load_study

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from transferscope.execute.run import Executor, Outcome
    from transferscope.findings import Finding
    from transferscope.report.publication import Format
    from transferscope.workspace import Workspace

EXIT_DONE, EXIT_FAILED = 0, 1
ENGINES = ("local", "ray")


def run_study(
    study: Study,
    out: Path,
    *,
    workers: int | None,
    device: str,
    engine: str = "local",
    address: str | None = None,
    console: Console,
) -> int:
    """Run a study, then write its tables, findings, figures and report.

    Args:
        study: the study.
        out: folder for results and report.
        workers: processes; as many as cores by default.
        device: where to compute.
        engine: "local", or "ray".
        address: of a running Ray cluster; without one, Ray is started here.
        console: where to print.

    Returns:
        The exit code: 0, or 1 where a task failed.

    Raises:
        BadInput: the study or the folder can't be used.
    """
    from transferscope.workspace import Workspace

    if engine not in ENGINES:
        raise BadInput(f"--engine {engine}: unknown. Valid: {', '.join(ENGINES)}.")
    if address is not None and engine != "ray":
        raise BadInput("--address is of a Ray cluster; add --engine ray.")
    the_plan = plan(study)
    if the_plan.assumed:
        raise BadInput(f"{', '.join(the_plan.assumed)}: the data aren't at hand; their sizes were assumed.")
    workspace = Workspace(out)
    workspace.prepare(the_plan)
    store = workspace.store
    with store.in_use():
        return _run_in(workspace, the_plan, store, workers, device, engine, address, console)


def _run_in(
    workspace: Workspace,
    the_plan: Plan,
    store: Store,
    workers: int | None,
    device: str,
    engine: str,
    address: str | None,
    console: Console,
) -> int:
    from transferscope.execute.run import Outcome
    from transferscope.workspace import read_findings

    study = the_plan.study
    missing = _needed(the_plan, store)
    num_workers = default_workers() if workers is None else workers
    if missing:
        if engine == "ray" and device == "auto":  # the driver's machine may be another kind than the nodes
            device = "cuda" if study.resources.num_gpus else "cpu"
        else:
            device = _resolved(device)
        _try_network(the_plan, store)
        executor = _executor(engine, study, store, num_workers, device, address)
        outcome = _execute(the_plan, store, executor, console)
    else:
        outcome = Outcome(cached=list(the_plan.graph))
        if workspace.is_drawn(the_plan):
            return _tell(read_findings(workspace.findings_file.read_text()), outcome, {}, workspace, console)
    return _conclude(the_plan, workspace, outcome, num_workers, device, console)


def _try_network(the_plan: Plan, store: Store) -> None:
    """Given weights are fitted, and networks of others tried: a mistake there shows before the first training."""
    from transferscope.data.base import describe
    from transferscope.options import ForeignNetwork

    network = the_plan.study.network
    given = [task for task in the_plan.graph if task.kind == "weights" and not store.has(task.key)]
    if not given and not isinstance(network, ForeignNetwork):
        return
    import torch

    from transferscope.execute.jobs import run_task
    from transferscope.models.trial import try_network

    if isinstance(network, ForeignNetwork):
        for target in the_plan.study.targets.values():
            about = describe(target.data)
            try_network(network, about.num_classes, about.channels, about.image_size_px)
    for task in given:
        run_task(task, store, torch.device("cpu"))


def draw_report(out: Path, *, formats: Sequence[str] = (), with_latex: bool = False, console: Console) -> int:
    """Draw tables, findings, figures and report again from the results that there are.

    Args:
        out: folder of a run.
        formats: pdf or png: the figures so too, in the size of a paper's column.
        with_latex: the claims and the tables that are short enough in LaTeX too.
        console: where to print.

    Raises:
        BadInput: the folder holds no study, or can't be written to; or a format that there isn't.
    """
    from transferscope.execute.run import Outcome
    from transferscope.workspace import Workspace

    chosen = _formats(formats)
    workspace = Workspace(out)
    the_plan = plan(load_study(_study_file(out)))
    cached = [task for task in the_plan.graph if workspace.store.has(task.key)]
    outcome = Outcome(cached=cached, not_run=_needed(the_plan, workspace.store))
    exit_code = _conclude(the_plan, workspace, outcome, default_workers(), "cpu", console)
    _publish(workspace, chosen, with_latex, console)
    return exit_code


def _formats(names: Sequence[str]) -> list[Format]:
    from transferscope.report.publication import FORMATS

    for name in names:
        if name not in FORMATS:
            raise BadInput(f"--format {name}: unknown. Valid: {', '.join(FORMATS)}; SVG is always written.")
    return [name for name in FORMATS if name in names]


def _publish(workspace: Workspace, formats: Sequence[Format], with_latex: bool, console: Console) -> None:
    """Write figures and tables for a paper beside those of the report."""
    from transferscope.report.publication import figures_in, tables_in
    from transferscope.workspace import read_findings

    written: list[Path] = []
    with workspace.writing():
        for path, data in figures_in(workspace.root / "figures", formats):
            write_atomically(path, data)
            written.append(path)
        if with_latex:
            findings = read_findings(workspace.findings_file.read_text())
            for path, text in tables_in(workspace.root / "tables", findings):
                write_atomically(path, text)
                written.append(path)
    if written:
        folders = sorted({f"{path.parent}/*{path.suffix}" for path in written})
        console.print(
            f"for a paper: {len(written)} files, {', '.join(folders)}", highlight=False, soft_wrap=True
        )


def show_plan(
    study: Study,
    out: Path | None,
    *,
    throughput: str | None = None,
    device_counts: str | None = None,
    device: str = "auto",
    console: Console,
) -> None:
    """The task graph as a tree: counts, how much is cached, estimated cost.

    Args:
        study: the study.
        out: folder of a run, to tell what is cached there.
        throughput: training images a second of one device, or "measure"; adds device-hours.
        device_counts: numbers of devices, as in "1,8,64"; adds how long the study would take on so many.
        device: where to measure.
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
    images_per_second = None if throughput is None else _throughput(throughput, study, device, console)
    the_plan, store = plan(study), None if out is None else Store(out / "store")
    console.print(plan_tree(the_plan, store))
    if the_plan.assumed:
        names = ", ".join(the_plan.assumed)
        console.print(f"not at hand, so with their official sizes and classes: {names}", highlight=False)
    if images_per_second is None:
        return
    done = set() if store is None else {task.key for task in the_plan.graph if store.has(task.key)}
    console.print(cost_table(the_plan, images_per_second, done))
    if counts:
        console.print(simulated_table(the_plan, images_per_second, counts, done))


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
    where = _resolved(device)
    if where == "cpu":
        torch.set_num_threads(1)  # as in the workers: a process a core
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


def show_status(out: Path, *, console: Console) -> None:
    """How far the study in a folder has come."""
    from transferscope.plan_tree import plan_tree

    the_plan = plan(load_study(_study_file(out)))
    store = Store(out / "store")
    console.print(plan_tree(the_plan, store))
    left = len(_needed(the_plan, store))
    report = out / "report.html"
    if left:
        console.print(
            f"{left} tasks to run; the command that started it goes on: transferscope run ... --out {out}"
        )
    elif report.exists():
        console.print(f"complete: {report}")
    else:
        console.print(f"all tasks are done; draw the report with: transferscope report {out}")


def clean(folder: Path, *, remove: bool, console: Console) -> None:
    """Show what lies in the results of a run, or of all runs below a folder, that their studies don't refer to.

    Args:
        folder: the --out folder of a run, or a folder that holds some.
        remove: whether to remove it too.
        console: where to print.

    Raises:
        BadInput: there is no run, a study can't be read, or a run is under way; nothing was removed then.
    """
    from contextlib import ExitStack

    from rich.table import Table

    studies = sorted(path for path in folder.rglob("study.yaml") if (path.parent / "store").is_dir())
    if not studies:
        raise BadInput(f"{folder} holds no run: there is no study.yaml beside a store. Name an --out folder.")
    table = Table(title="Results that no study here refers to", title_justify="left")
    for column in ("run", "kind", "result"):
        table.add_column(column)
    table.add_column("MB", justify="right")
    with ExitStack() as stack:
        found = []
        for path in studies:
            store = Store(path.parent / "store")
            stack.enter_context(store.unused())
            keys = {task.key for task in plan(load_study(path)).graph}
            found += [(path.parent, store, stored) for stored in store.unreferenced(keys)]
        for run, _, stored in found:
            table.add_row(str(run), stored.kind, stored.title, f"{stored.num_bytes / 1e6:,.1f}")
        if found:
            console.print(table)
        total = f"{len(found)} results, {sum(stored.num_bytes for *_, stored in found) / 1e6:,.1f} MB"
        if not remove:
            hint = f"; remove with: transferscope clean {folder} --yes" if found else ": nothing to remove"
            console.print(f"{total}{hint}", highlight=False, soft_wrap=True)
            return
        for _, store, stored in found:
            store.remove(stored.key)
        console.print(f"removed {total}", highlight=False)


def write_template(path: Path, name: str) -> None:
    """Write a study that comes with the package; an existing file is left alone.

    Raises:
        BadInput: unknown name, or the file can't be written.
    """
    from transferscope.study_file import template_study

    text = template_study(name)
    if path.exists():
        raise BadInput(f"{path} exists already; choose another name, or remove it first.")
    try:
        write_atomically(path, text)
    except OSError as error:
        raise BadInput(f"can't write {path}: {error.strerror or error}.") from None


def embedded_study() -> Path:
    """The file of the embedded default study."""
    return Path(__file__).parent / "studies" / "demo.yaml"


def default_workers() -> int:
    """As many processes as this one may use cores."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _executor(
    engine: str, study: Study, store: Store, num_workers: int, device: str, address: str | None
) -> Executor:
    from transferscope.execute.local import InProcess, Pool

    if engine == "ray":
        from transferscope.execute.ray_engine import RayCluster

        needs = study.resources
        return RayCluster(
            store,
            device,
            address=address,
            num_workers=num_workers,
            num_cpus=needs.num_cpus,
            num_gpus=needs.num_gpus,
        )
    return InProcess(store, device) if num_workers == 1 else Pool(store, device, num_workers)


def _execute(the_plan: Plan, store: Store, executor: Executor, console: Console) -> Outcome:
    from transferscope.execute.run import execute
    from transferscope.progress import LineProgress, LiveProgress

    reporter = LiveProgress(console) if console.is_terminal else LineProgress(console)
    return execute(the_plan.graph, store, executor, reporter)


def _conclude(
    the_plan: Plan, workspace: Workspace, outcome: Outcome, num_workers: int, device: str, console: Console
) -> int:
    import json

    from transferscope.outputs import write_outputs
    from transferscope.workspace import outputs_key, provenance

    with workspace.writing():
        logs = workspace.write_logs(outcome.failed)
        origin: dict[str, Any] = provenance(
            the_plan, workspace.store, outcome, num_workers=num_workers, device=device
        )
        write_atomically(workspace.provenance_file, json.dumps(origin, indent=1) + "\n")
        written = write_outputs(the_plan, workspace, origin)
        if outcome.complete:
            # last, so that a run that was stopped while it drew draws again
            origin |= {"outputs_key": outputs_key(the_plan), "outputs": workspace.outputs()}
            write_atomically(workspace.provenance_file, json.dumps(origin, indent=1) + "\n")
    return _tell(written.findings, outcome, logs, workspace, console)


def _tell(
    findings: Sequence[Finding],
    outcome: Outcome,
    logs: Mapping[str, Path],
    workspace: Workspace,
    console: Console,
) -> int:
    """Print the findings, how the tasks ended, and where the report is; the exit code."""
    from transferscope.summary import print_findings, print_outcome, print_waiting

    print_findings(findings, console)
    print_outcome(outcome, logs, console)
    trained = [task for task in outcome.succeeded if task.kind == "train"]
    print_waiting((workspace.store.info(task.key) for task in trained), console)
    console.print(f"report: {workspace.report}", highlight=False, soft_wrap=True)
    return EXIT_DONE if outcome.complete else EXIT_FAILED


def _needed(the_plan: Plan, store: Store) -> list[Any]:
    return the_plan.graph.needed(task.key for task in the_plan.graph if store.has(task.key))


def _study_file(out: Path) -> Path:
    path = out / "study.yaml"
    if not path.exists():
        raise BadInput(f"{out} holds no study: there is no study.yaml. Name the --out folder of a run.")
    return path


def _resolved(device: str) -> str:
    """The device to compute on; torch is only asked where the choice is left open or may be wrong."""
    if device == "cpu":
        return device
    import torch

    available = torch.cuda.is_available()
    if device == "auto":
        return "cuda" if available else "cpu"
    if device.startswith("cuda") and not available:
        raise BadInput("--device cuda: torch sees no CUDA device here. Valid: cpu, auto.")
    try:
        return str(torch.device(device))
    except RuntimeError:
        raise BadInput(f"--device {device}: unknown. Valid: auto, cpu, cuda, cuda:0, ...") from None
