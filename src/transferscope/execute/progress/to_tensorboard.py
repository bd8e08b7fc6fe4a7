"""Event files for TensorBoard: a folder for each training, so that curves of the same name share a chart."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

from transferscope.execute.progress.loggers import About, Logger


class TensorBoard:
    """Writes below a folder."""

    def __init__(self, folder: Path, about: About) -> None:
        self._folder = folder / _plain(about.study)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writers: dict[str, SummaryWriter] = {}

    def epoch(self, training: str, epoch: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer(training).add_scalar(name, value, epoch)

    def summary(self, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer("summary").add_scalar(name, value, 0)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def _writer(self, name: str) -> SummaryWriter:
        if name not in self._writers:
            self._writers[name] = SummaryWriter(str(self._folder / _plain(name)), flush_secs=5)
        return self._writers[name]


def make(where: str, about: About) -> Logger:
    """A logger that writes below a folder."""
    return TensorBoard(Path(where), about)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip("-.") or "study"
