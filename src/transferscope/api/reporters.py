"""Who is told how a run goes: the terminal or a log, the records that others read, and loggers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from transferscope.core.config import Study
    from transferscope.execute.events import Event
    from transferscope.execute.loop import Reporter
    from transferscope.execute.progress.several import Several
    from transferscope.report.workspace import Workspace
    from transferscope.study.task import Task


@dataclass(frozen=True, kw_only=True)
class Telling:
    """What is told besides how the tasks get on."""

    verbose: bool = False
    """A line for each task that starts and for each epoch of a training."""
    networks: bool = False
    """What each given network reaches is printed even if the console is quiet."""
    log: Sequence[str] = ()
    """Loggers, as in "tensorboard:DIR"."""


def reporter_for(workspace: Workspace, study: Study, telling: Telling, console: Console) -> Several:
    """All who are told.

    Raises:
        BadInput: there is no such logger, or it can't be used.
    """
    from transferscope.execute.progress.loggers import About, Logging, make_logger
    from transferscope.execute.progress.records import Recorder
    from transferscope.execute.progress.several import Several
    from transferscope.execute.progress.terminal import LineProgress, LiveProgress

    about = About(study=study.name, variant=study.variant, out=workspace.root, seeds=tuple(study.seeds))
    others: dict[str, Reporter] = {"noting how the run goes": Recorder(workspace.root)}
    for text in telling.log:
        others[f"--log {text}"] = Logging(make_logger(text, about))
    if telling.verbose:
        others["--verbose"] = Lines(console)
    in_place = console.is_terminal and not console.quiet
    shown = LiveProgress(console) if in_place else LineProgress(console)

    def say(text: str) -> None:
        console.print(text, style="yellow", highlight=False, markup=False)

    return Several(shown, others, say)


class Lines:
    """A line for each task that starts, and for each epoch; a reporter."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def begin(self, to_do: list[Task], num_cached: int) -> None:
        """Said by others."""

    def added(self, tasks: list[Task]) -> None:
        for task in tasks:
            self._say(f"again {task.title}")

    def started(self, task: Task) -> None:
        self._say(f"start {task.title} ({task.key[:8]})")

    def progressed(self, task: Task, _share: float, row: Mapping[str, float], /) -> None:
        numbers = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in row.items() if name != "epoch"]
        if numbers:
            self._say(f"{task.title} epoch {row['epoch']}: {', '.join(numbers)}")

    def ended(self, task: Task, event: Event) -> None:
        """Said by others."""

    def finish(self) -> None:
        """Said by others."""

    def _say(self, text: str) -> None:
        self._console.print(text, style="dim", highlight=False, markup=False, soft_wrap=True)
