"""Running a study, from the plan to the report: what the command line, Python and notebooks call."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.api.preflight import check_networks, refuse_changed_data, try_networks
from transferscope.core.config import Study
from transferscope.core.errors import BadInput
from transferscope.core.files import write_atomically
from transferscope.core.machine import resolved_device, usable_cores
from transferscope.execute.loop import Executor, Gate, Outcome, execute
from transferscope.execute.store.remote_folder import checked_url
from transferscope.report.workspace import Workspace, outputs_key, provenance, read_findings
from transferscope.study.checks import label_notes
from transferscope.study.plan import Plan, plan

if TYPE_CHECKING:
    from rich.console import Console

    from transferscope.analyses.claims import Finding
    from transferscope.execute.progress.several import Several

ENGINES = ("local", "ray")


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a study is run; the options of the commands that run one have these names."""

    out: Path
    """Folder for results and report."""
    workers: int | None = None
    """Processes; as many as cores by default. 1: in this process."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda or cuda:N."""
    engine: str = "local"
    """local, or ray."""
    address: str | None = None
    """Of a running Ray cluster; without one, Ray is started here."""
    store: str | None = None
    """URL of a place where results go too, for machines without a common disk; the folder remembers it."""
    log: Sequence[str] = ()
    """Loggers, as in "tensorboard:DIR"."""
    images: bool = True
    """Show test images in the report, and keep them in its tables."""
    verbose: bool = False
    """Print a line for each task that starts and for each epoch of a training."""
    networks: bool = False
    """Print what each given network reaches even if the console is quiet."""

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise BadInput(f"--engine {self.engine}: unknown. Valid: {', '.join(ENGINES)}.")
        if self.address is not None and self.engine != "ray":
            raise BadInput("--address is of a Ray cluster; add --engine ray.")


def run_study(study: Study, options: RunOptions, console: Console) -> int:
    """Run a study, then write its tables, findings, figures and report.

    Args:
        study: the study.
        options: how.
        console: where to print; nothing but failures, and those to stderr, if it is quiet.

    Returns:
        The exit code: 0, or 1 if a task failed.

    Raises:
        BadInput: the study or the folder can't be used.
    """
    from transferscope.execute.progress.records import sweep_records

    the_plan = plan(study)
    if the_plan.assumed:
        raise BadInput(f"{', '.join(the_plan.assumed)}: the data aren't at hand; their sizes were assumed.")
    workspace = Workspace(options.out, None if options.store is None else checked_url(options.store))
    workspace.prepare(the_plan)
    sweep_records(options.out)
    with workspace.store.in_use():
        workspace.store.share(task.key for task in the_plan.graph)
        refuse_changed_data(the_plan, workspace.store)
        outcome = Outcome(cached=list(the_plan.graph))
        if not workspace.missing(the_plan) and workspace.is_drawn(the_plan, with_images=options.images):
            findings = read_findings(workspace.findings_file.read_text())
            return _tell(the_plan, findings, outcome, {}, workspace, console)
        workspace.discard_damaged(the_plan, "it is computed again", console)
        if not workspace.missing(the_plan):
            return conclude(the_plan, workspace, outcome, options, console)
        return _compute(the_plan, workspace, options, console)


def _compute(the_plan: Plan, workspace: Workspace, options: RunOptions, console: Console) -> int:
    """Check the networks, run the tasks that are missing, and write the report; the exit code."""
    from transferscope.execute.costs import cost_in_short
    from transferscope.execute.interrupts import Interrupts
    from transferscope.execute.progress.loggers import conclude_all

    study, store, device = the_plan.study, workspace.store, options.device
    if (
        options.engine == "ray" and device == "auto"
    ):  # the driver's machine may be another kind than the nodes
        device = "cuda" if study.resources.num_gpus else "cpu"
    else:
        device = resolved_device(device)
    options = replace(options, device=device)
    try_networks(the_plan, store, with_notes=console.quiet)
    present = store.present(task.key for task in the_plan.graph)
    console.print(cost_in_short(the_plan, present), highlight=False, soft_wrap=True)
    for note in label_notes(study):
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    reporter = _reporter(study, options, console)
    executor = _executor(workspace, study, options, reporter)
    gate = Gate(
        keys=[task.key for task in the_plan.graph if task.kind == "given"],
        check=partial(check_networks, the_plan, store, console, always=options.networks),
    )
    try:
        with Interrupts() as stopping:
            outcome = execute(the_plan.graph, store, executor, reporter, stopping, gate)
    except BaseException:
        conclude_all(reporter, [])
        raise
    code = conclude(the_plan, workspace, outcome, options, console)
    conclude_all(reporter, read_findings(workspace.findings_file.read_text()))
    return code


def _reporter(study: Study, options: RunOptions, console: Console) -> Several:
    """Who is told how the run goes: the terminal or a log, the records that others read, and loggers.

    Raises:
        BadInput: there is no such logger, or it can't be used.
    """
    from transferscope.execute.progress.loggers import About, Logging, make_logger
    from transferscope.execute.progress.records import Recorder
    from transferscope.execute.progress.several import Several
    from transferscope.execute.progress.terminal import LineProgress, LiveProgress, VerboseLines

    about = About(study=study.name, variant=study.variant, out=options.out, seeds=tuple(study.seeds))
    others: dict[str, Any] = {"noting how the run goes": Recorder(options.out)}
    for text in options.log:
        others[f"--log {text}"] = Logging(make_logger(text, about))
    if options.verbose:
        others["--verbose"] = VerboseLines(console)
    in_place = console.is_terminal and not console.quiet
    shown = LiveProgress(console) if in_place else LineProgress(console)
    return Several(
        shown, others, lambda text: console.print(text, style="yellow", highlight=False, markup=False)
    )


def _executor(workspace: Workspace, study: Study, options: RunOptions, reporter: Several) -> Executor:
    """Where the tasks are computed."""
    from transferscope.execute.pool import InProcess, Pool

    if options.engine == "ray":
        from transferscope.execute.ray import RayCluster

        return RayCluster(
            workspace.store,
            options.device,
            address=options.address,
            num_workers=_num_workers(options),
            num_cpus=study.resources.num_cpus,
            num_gpus=study.resources.num_gpus,
        )
    if _num_workers(options) == 1:
        return InProcess(workspace.store, options.device, reporter.progressed)
    return Pool(workspace.store, options.device, _num_workers(options))


def _num_workers(options: RunOptions) -> int:
    return usable_cores() if options.workers is None else options.workers


def conclude(
    the_plan: Plan, workspace: Workspace, outcome: Outcome, options: RunOptions, console: Console
) -> int:
    """Write what people read from the stored results, and print the findings and where the report is; the exit code."""
    from transferscope.execute.progress.terminal import drawing
    from transferscope.report.write import write_outputs

    with workspace.writing():
        logs = workspace.write_logs(outcome.failed)
        origin: dict[str, Any] = provenance(
            the_plan, workspace.store, outcome, num_workers=_num_workers(options), device=options.device
        )
        write_atomically(workspace.provenance_file, json.dumps(origin, indent=1) + "\n")
        with drawing(console) as on_progress:
            written = write_outputs(the_plan, workspace, origin, on_progress, with_images=options.images)
        if outcome.complete:
            # last, so that a run that was stopped while it drew draws again
            origin |= {
                "outputs_key": outputs_key(the_plan, with_images=options.images),
                "outputs": workspace.outputs(),
            }
            write_atomically(workspace.provenance_file, json.dumps(origin, indent=1) + "\n")
    return _tell(the_plan, written.findings, outcome, logs, workspace, console)


def _tell(
    the_plan: Plan,
    findings: Sequence[Finding],
    outcome: Outcome,
    logs: Mapping[str, Path],
    workspace: Workspace,
    console: Console,
) -> int:
    """Print the findings, how the tasks ended, and where the report is; the exit code."""
    from rich.console import Console

    from transferscope.report.console import print_findings, print_notes, print_outcome, print_waiting
    from transferscope.report.given_names import counted

    print_findings(findings, console, counted(the_plan.study.instances))
    if console.quiet and not outcome.complete:
        print_outcome(outcome, logs, Console(stderr=True, width=console.width))
    print_outcome(outcome, logs, console)
    infos = [workspace.store.info(task.key) for task in outcome.succeeded]
    print_notes(infos, console)
    print_waiting((info for info in infos if info["kind"] == "train"), console)
    console.print(f"report: {workspace.report}", highlight=False, soft_wrap=True)
    return 0 if outcome.complete else 1
