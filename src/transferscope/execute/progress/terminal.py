"""Telling how a run goes: a live bar on a terminal, a line a task elsewhere, nothing where quiet."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from transferscope.core.errors import unmarked
from transferscope.core.machine import duration
from transferscope.execute.events import Event
from transferscope.study.task import Task

AGAIN = ("died", "damaged")
"""Ends after which a task is run again, as long as it isn't too often."""


class LiveProgress:
    """A bar for the whole run with the time left, and a bar for each task under way."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
        )
        self._clock = RemainingTime()
        self._bars: dict[str, TaskID] = {}
        self._done = 0
        self._total = 0

    def begin(self, to_do: list[Task], num_cached: int) -> None:
        self._clock.begin(to_do)
        self._total = len(to_do)
        cached = f", {num_cached} cached" if num_cached else ""
        self._cached = cached
        self._whole = self._progress.add_task(f"0/{self._total} tasks{cached}", total=1.0, left="")
        self._progress.start()

    def added(self, tasks: list[Task]) -> None:
        self._clock.added(tasks)
        self._total += len(tasks)

    def started(self, task: Task) -> None:
        self._clock.started(task)
        self._bars[task.key] = self._progress.add_task(f"  {unmarked(task.title)}", total=1.0, left="")

    def progressed(self, task: Task, share: float, row: Mapping[str, float]) -> None:
        self._clock.progressed(task, share)
        loss = row.get("train_loss")
        seen = "" if loss is None else f", loss {loss:.3g}"
        self._progress.update(
            self._bars[task.key], completed=share, description=f"  {unmarked(task.title)}{seen}"
        )
        self._refresh()

    def ended(self, task: Task, event: Event) -> None:
        self._clock.ended(task, event)
        self._progress.remove_task(self._bars.pop(task.key))
        if event.what == "done":
            self._done += 1
        else:
            self._progress.console.print(
                f"[red]{event.what}[/red] {unmarked(task.title)}: {unmarked(event.reason)}", highlight=False
            )
        self._refresh()

    def finish(self) -> None:
        self._progress.stop()

    def _refresh(self) -> None:
        left = self._clock.seconds_left()
        text = "" if left is None else f"about {duration(left)} left"
        self._progress.update(
            self._whole,
            completed=self._clock.share,
            description=f"{self._done}/{self._total} tasks{self._cached}",
            left=text,
        )


class LineProgress:
    """One line a finished task, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._clock = RemainingTime()
        self._ended = 0
        self._total = 0

    def begin(self, to_do: list[Task], num_cached: int) -> None:
        self._clock.begin(to_do)
        self._total = len(to_do)
        if to_do:
            self._console.print(f"{len(to_do)} tasks to run, {num_cached} cached", highlight=False)

    def added(self, tasks: list[Task]) -> None:
        self._clock.added(tasks)
        self._total += len(tasks)

    def started(self, task: Task) -> None:
        self._clock.started(task)

    def progressed(self, task: Task, share: float, _row: Mapping[str, float]) -> None:
        self._clock.progressed(task, share)

    def ended(self, task: Task, event: Event) -> None:
        self._clock.ended(task, event)
        self._ended += event.what not in AGAIN
        left = self._clock.seconds_left()
        end = f"{event.seconds:.1f} s" if event.what == "done" else f"{event.what}: {event.reason}"
        about = ", about" if event.what == "done" else " About"  # a reason is a sentence of its own
        tail = "" if left is None else f"{about} {duration(left)} left"
        self._console.print(
            f"[{self._ended}/{self._total}] {task.title}: {end}{tail}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def finish(self) -> None:
        pass


class VerboseLines:
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


@contextmanager
def drawing(console: Console) -> Iterator[Callable[[float, str], None]]:
    """A bar with the time left while the report is drawn, on a terminal; told the share, and what comes next."""
    with _bar(console, "drawing the report:") as progress:
        bar = progress.add_task("tables", total=1.0)
        yield lambda share, what: progress.update(bar, completed=share, description=what)


@contextmanager
def reading(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the time left while images are decoded, on a terminal; told how many of how many are.

    A data set that is drawn or held in arrays decodes nothing, and has the spinner alone.
    """
    with _bar(console, "reading the images of") as progress:
        bar = progress.add_task(unmarked(what), total=None)

        def told(done: int, count: int) -> None:
            if done == 1:  # of the next split
                progress.reset(bar, total=count)
            progress.update(bar, completed=done, total=count)

        yield told


def _bar(console: Console, doing: str) -> Progress:
    """A bar that goes when it is done, on a terminal; the description of its task stands behind what is being done."""
    return Progress(
        SpinnerColumn(),
        TextColumn(f"{doing} {{task.description}}"),
        BarColumn(bar_width=28),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or console.quiet,
    )


class RemainingTime:
    """How long it will take, from how long tasks took so far for their estimated cost."""

    WARM_UP_SECONDS = 3.0
    """Nothing is said before so much time has passed."""
    LEAST_SHARE, PATIENCE_SECONDS = 0.01, 600.0
    """Nor before so much of the work is done, for so long: the first small tasks say little of the large ones."""

    def begin(self, to_do: list[Task]) -> None:
        self._total = sum(task.cost for task in to_do)
        self._done = 0.0
        self._shares: dict[str, tuple[float, float]] = {}
        self._since = time.monotonic()

    def added(self, tasks: list[Task]) -> None:
        self._total += sum(task.cost for task in tasks)

    def started(self, task: Task) -> None:
        self._shares[task.key] = (task.cost, 0.0)

    def progressed(self, task: Task, share: float) -> None:
        self._shares[task.key] = (task.cost, share)

    def ended(self, task: Task, event: Event) -> None:
        del self._shares[task.key]
        if event.what not in AGAIN:
            self._done += task.cost

    @property
    def share(self) -> float:
        """Share of the whole cost that is done, 0 to 1."""
        under_way = sum(cost * share for cost, share in self._shares.values())
        return (self._done + under_way) / self._total if self._total else 1.0

    def seconds_left(self) -> float | None:
        """Estimated seconds to the end, or None while nothing can be said."""
        elapsed = time.monotonic() - self._since
        if elapsed < self.WARM_UP_SECONDS or self.share <= 0:
            return None
        if self.share < self.LEAST_SHARE and elapsed < self.PATIENCE_SECONDS:
            return None
        return elapsed * (1 - self.share) / self.share
