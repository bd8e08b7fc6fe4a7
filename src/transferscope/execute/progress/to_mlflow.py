"""A run in MLflow: an experiment for the study, a metric for each column of each training."""

from __future__ import annotations

import re
from collections.abc import Mapping

from mlflow import MlflowClient  # pyright: ignore[reportMissingImports]  # not where types are checked

from transferscope.execute.progress.loggers import About, Logger


class MLflow:
    """Writes to one run of a tracking server, or of a file such as sqlite:///runs/mlflow.db."""

    def __init__(self, uri: str, about: About) -> None:
        # without the library's global state: a run of the caller's own stays what it was
        self._client = MlflowClient(tracking_uri=uri)
        found = self._client.get_experiment_by_name(about.study)
        experiment = found.experiment_id if found else self._client.create_experiment(about.study)
        run = self._client.create_run(experiment, run_name=about.out.name)
        self._run = run.info.run_id
        for name, value in {"variant": about.variant, "out": about.out, "seeds": about.seeds}.items():
            self._client.log_param(self._run, name, str(value))

    def epoch(self, training: str, epoch: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._client.log_metric(self._run, f"{_plain(training)}/{name}", value, step=epoch)

    def summary(self, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._client.log_metric(self._run, _plain(name), value)

    def close(self) -> None:
        self._client.set_terminated(self._run)


def make(where: str, about: About) -> Logger:
    """A logger to a tracking URI."""
    return MLflow(where, about)


def _plain(text: str) -> str:
    """MLflow takes letters, digits and _-./: and space in the name of a metric."""
    return re.sub(r"[^\w\-./ ]+", "-", text)
