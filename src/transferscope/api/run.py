"""Running a study, from the plan to the report."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.api.conclude import conclude, tell
from transferscope.api.machine import resolved_device
from transferscope.api.reporters import Telling, reporter_for
from transferscope.api.stored_data import refuse_changed_data
from transferscope.core.config import Study
from transferscope.core.errors import BadInput
from transferscope.core.machine import usable_cores
from transferscope.execute.store.local import Store
from transferscope.execute.store.remote_folder import checked_url
from transferscope.report.place import discard_damaged, missing_tasks
from transferscope.study.checks import label_notes
from transferscope.study.plan import Plan, plan

if TYPE_CHECKING:
    from rich.console import Console

    from transferscope.execute.loop import Executor, Reporter
    from transferscope.report.workspace import Workspace

ENGINES = ("local", "ray")
ONLY_PROGRESS = Telling()


def run_study(
    study: Study,
    out: Path,
    *,
    workers: int | None,
    device: str,
    engine: str = "local",
    address: str | None = None,
    store_url: str | None = None,
    telling: Telling = ONLY_PROGRESS,
    with_images: bool = True,
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
        store_url: where results go besides, for machines without a common disk; the folder remembers it.
        telling: who else is told how it goes.
        with_images: show test images in the report, and keep them in its tables.
        console: where to print; nothing but failures, and those to stderr, where it is quiet.

    Returns:
        The exit code: 0, or 1 where a task failed.

    Raises:
        BadInput: the study or the folder can't be used.
    """
    from transferscope.execute.progress.records import sweep_records
    from transferscope.report.workspace import Workspace

    if engine not in ENGINES:
        raise BadInput(f"--engine {engine}: unknown. Valid: {', '.join(ENGINES)}.")
    if address is not None and engine != "ray":
        raise BadInput("--address is of a Ray cluster; add --engine ray.")
    the_plan = plan(study)
    if the_plan.assumed:
        raise BadInput(f"{', '.join(the_plan.assumed)}: the data aren't at hand; their sizes were assumed.")
    workspace = Workspace(out, None if store_url is None else checked_url(store_url))
    workspace.prepare(the_plan)
    sweep_records(out)
    store = workspace.store
    with store.in_use():
        store.share(task.key for task in the_plan.graph)
        refuse_changed_data(the_plan, store)
        return _run_in(
            workspace, the_plan, store, workers, device, engine, address, telling, console, with_images
        )


def _run_in(
    workspace: Workspace,
    the_plan: Plan,
    store: Store,
    workers: int | None,
    device: str,
    engine: str,
    address: str | None,
    telling: Telling,
    console: Console,
    with_images: bool,
) -> int:
    from transferscope.execute.costs import cost_in_short
    from transferscope.execute.interrupts import Interrupts
    from transferscope.execute.loop import Gate, Outcome, execute
    from transferscope.execute.progress.loggers import conclude_all
    from transferscope.report.workspace import read_findings

    study = the_plan.study
    missing = missing_tasks(the_plan, store)
    num_workers = usable_cores() if workers is None else workers
    if missing or not workspace.is_drawn(the_plan, with_images=with_images):
        discard_damaged(the_plan, store, "it is computed again", console)
        missing = missing_tasks(the_plan, store)
    reporter = None
    if missing:
        if engine == "ray" and device == "auto":  # the driver's machine may be another kind than the nodes
            device = "cuda" if study.resources.num_gpus else "cpu"
        else:
            device = resolved_device(device)
        _try_network(the_plan, store, console)
        present = store.present(task.key for task in the_plan.graph)
        console.print(cost_in_short(the_plan, present), highlight=False, soft_wrap=True)
        for note in label_notes(study):
            console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        reporter = reporter_for(workspace, study, telling, console)
        executor = _executor(engine, study, store, num_workers, device, address, reporter)
        gate = Gate(
            keys=[task.key for task in the_plan.graph if task.kind == "given"],
            check=partial(_check_networks, the_plan, store, telling, console),
        )
        try:
            with Interrupts() as stopping:
                outcome = execute(the_plan.graph, store, executor, reporter, stopping, gate)
        except BaseException:
            conclude_all(reporter, [])
            raise
    else:
        outcome = Outcome(cached=list(the_plan.graph))
        if workspace.is_drawn(the_plan, with_images=with_images):
            return tell(
                the_plan, read_findings(workspace.findings_file.read_text()), outcome, {}, workspace, console
            )
    code = conclude(the_plan, workspace, outcome, num_workers, device, console, with_images=with_images)
    if reporter is not None:
        conclude_all(reporter, read_findings(workspace.findings_file.read_text()))
    return code


def _try_network(the_plan: Plan, store: Store, console: Console) -> None:
    """Given weights are fitted, and networks of others tried: a mistake there shows before anything is computed."""
    from transferscope.core.datasets import describe
    from transferscope.core.options import ForeignNetwork

    network = the_plan.study.network
    given = [task for task in the_plan.graph if task.kind in ("weights", "given") and not store.has(task.key)]
    if not given and not isinstance(network, ForeignNetwork):
        return
    import torch

    from transferscope.core.runs import GivenRun
    from transferscope.execute.events import collected_notes
    from transferscope.execute.jobs import run_task
    from transferscope.models.weights.instances import given_states
    from transferscope.models.weights.trial import try_network

    if isinstance(network, ForeignNetwork):
        for target in the_plan.study.targets.values():
            about = describe(target.data)
            shape = (about.num_classes, about.channels, about.image_size_px)
            try_network(network, *shape, trains=the_plan.study.training is not None)
    problems: dict[str, None] = {}  # instances of one init have its problems in common
    for task in given:
        try:
            if isinstance(task.payload, GivenRun):
                about = describe(task.payload.data)
                # a console that isn't quiet prints the notes of the task, which are the same
                with nullcontext() if console.quiet else collected_notes():
                    state, _ = given_states(task.payload, about)
                shape = (about.num_classes, about.channels, about.image_size_px)
                try_network(task.payload.network, *shape, state=state)
            else:
                run_task(task, store, torch.device("cpu"))
        except BadInput as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise BadInput(list(problems))


def _check_networks(the_plan: Plan, store: Store, telling: Telling, console: Console) -> None:
    """Print what each given network reaches, before anything is measured; BadInput where they can't be meant."""
    if the_plan.study.instances is None:
        return
    from rich.console import Console

    from transferscope.report.preflight import checked_networks, lines_of, warnings_of

    networks = checked_networks(the_plan, store)
    lines = lines_of(networks)
    if console.quiet and telling.networks:
        console = Console()
    elif console.quiet:
        console, lines = Console(stderr=True), [f"warning: {warning}" for warning in warnings_of(networks)]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _executor(
    engine: str,
    study: Study,
    store: Store,
    num_workers: int,
    device: str,
    address: str | None,
    reporter: Reporter,
) -> Executor:
    from transferscope.execute.pool import InProcess, Pool

    if engine == "ray":
        from transferscope.execute.ray import RayCluster

        needs = study.resources
        return RayCluster(
            store,
            device,
            address=address,
            num_workers=num_workers,
            num_cpus=needs.num_cpus,
            num_gpus=needs.num_gpus,
        )
    if num_workers == 1:
        return InProcess(store, device, reporter.progressed)
    return Pool(store, device, num_workers)
