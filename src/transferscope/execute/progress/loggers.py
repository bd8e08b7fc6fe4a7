"""Loggers of others: TensorBoard, MLflow, Weights & Biases. None is imported unless it was asked for.

A logger is told each epoch of each training that is computed, how each task ended, and the findings. It is chosen by
`KIND:WHERE`, as in `tensorboard:runs/tb`. One that can't be used is refused before anything is computed; one that
fails later is said once, and the run goes on without it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from transferscope.analyses.claims import Finding
from transferscope.core.errors import BadInput, did_you_mean
from transferscope.execute.events import Event
from transferscope.execute.loop import Reporter
from transferscope.execute.progress.several import Several
from transferscope.study.task import Task

WHERE = {"tensorboard": "DIR", "mlflow": "URI", "wandb": "PROJECT"}
"""What follows the colon, by kind; each is a module here, and an extra."""


@dataclass(frozen=True, kw_only=True)
class About:
    """What a logger is told at the start."""

    study: str
    variant: str | None
    out: Path
    seeds: tuple[int, ...]


class Logger(Protocol):
    """What takes numbers for others to look at."""

    def epoch(self, training: str, epoch: int, numbers: Mapping[str, float]) -> None:
        """A row of a training's history.

        Args:
            training: its title, with the first digits of its key.
            epoch: 0 is the init.
            numbers: by name, as train_loss or test_metric; all finite.
        """
        ...

    def summary(self, numbers: Mapping[str, float]) -> None:
        """Numbers of the whole run, by name."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


def make_logger(text: str, about: About) -> Logger:
    """A logger from `KIND:WHERE`.

    Raises:
        BadInput: unknown kind, nothing after the colon, the extra isn't installed, or the place can't be used.
    """
    kind, _, where = text.partition(":")
    forms = ", ".join(f"{name}:{place}" for name, place in WHERE.items())
    if kind not in WHERE:
        raise BadInput(f"--log {text}: unknown.{did_you_mean(kind, WHERE)} Valid: {forms}.")
    if not where:
        raise BadInput(f"--log {text}: say where, as in {kind}:{WHERE[kind]}. Valid: {forms}.")
    try:
        return importlib.import_module(f"transferscope.execute.progress.to_{kind}").make(where, about)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("transferscope"):
            raise
        raise BadInput(
            f"--log {text} needs {error.name}, which is not installed: pip install 'transferscope[{kind}]'."
        ) from None
    except Exception as error:  # whatever its library raises where a place can't be used
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise BadInput(f"--log {text}: {reason}") from None


class Logging:
    """Tells a logger how a run goes; a reporter."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._counts: dict[str, int] = {}

    def begin(self, to_do: list[Task], num_cached: int) -> None:
        self._counts = {
            "tasks_to_run": len(to_do),
            "tasks_cached": num_cached,
            "tasks_done": 0,
            "tasks_failed": 0,
        }

    def added(self, tasks: list[Task]) -> None:
        self._counts["tasks_to_run"] += len(tasks)

    def started(self, task: Task) -> None:
        """Nothing to log yet."""

    def progressed(self, task: Task, _share: float, row: Mapping[str, float], /) -> None:
        numbers = {name: value for name, value in row.items() if name != "epoch" and _is_number(value)}
        if numbers:
            self._logger.epoch(f"{task.title} {task.key[:8]}", int(row["epoch"]), numbers)

    def ended(self, task: Task, event: Event) -> None:  # noqa: ARG002
        if event.what in ("done", "failed"):
            self._counts[f"tasks_{event.what}"] += 1

    def finish(self) -> None:
        self._logger.summary(self._counts)

    def conclude(self, findings: Sequence[Finding]) -> None:
        """The findings' effects, and the end; without findings where the run was stopped."""
        effects = {f"finding/{one.claim.id}": one.effect for one in findings if _is_number(one.effect)}
        self._logger.summary(effects)
        self._logger.close()


def conclude_all(several: Several, findings: Sequence[Finding]) -> None:
    """Tell all loggers among the listeners the end."""

    def conclude(one: Reporter) -> None:
        if isinstance(one, Logging):
            one.conclude(findings)

    several.tell(conclude)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
