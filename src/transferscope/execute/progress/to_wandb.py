"""A run in Weights & Biases; offline where WANDB_MODE=offline says so."""

from __future__ import annotations

from collections.abc import Mapping

import wandb  # pyright: ignore[reportMissingImports]  # not where types are checked

from transferscope.execute.progress.loggers import About, Logger


class WandB:
    """Writes to one run of a project."""

    def __init__(self, project: str, about: About) -> None:
        self._run = wandb.init(
            project=project,
            name=f"{about.study} {about.out.name}",
            dir=str(about.out),
            config={"variant": about.variant, "out": str(about.out), "seeds": list(about.seeds)},
            settings=wandb.Settings(console="off", silent=True),
        )
        self._known: set[str] = set()

    def epoch(self, training: str, epoch: int, numbers: Mapping[str, float]) -> None:
        step = f"{training}/epoch"
        if training not in self._known:
            self._known.add(training)
            self._run.define_metric(step, hidden=True)
            self._run.define_metric(f"{training}/*", step_metric=step)
        self._run.log({step: epoch, **{f"{training}/{name}": value for name, value in numbers.items()}})

    def summary(self, numbers: Mapping[str, float]) -> None:
        self._run.summary.update(dict(numbers))

    def close(self) -> None:
        self._run.finish()


def make(where: str, about: About) -> Logger:
    """A logger to a project."""
    return WandB(where, about)
