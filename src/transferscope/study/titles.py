"""What tasks are called for people: with the names that the study gives its source, targets and instances.

Two targets may be of one data set type, so its name alone would not tell their tasks apart. Titles are in no key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from transferscope.analyses.contract import Cell
from transferscope.core.config import Recipe, Study
from transferscope.core.errors import visible
from transferscope.core.options import DatasetOptions
from transferscope.core.runs import KIND_NAMES, Point, Run, View, kind_of


@dataclass(frozen=True, kw_only=True)
class Titles:
    """The names of a study's data and instances, and the titles made of them."""

    data_names: Mapping[DatasetOptions, str]
    """Of each data set of the study; several, joined, where they stand for the same data."""
    source_name: str
    """What is pre-trained on."""
    instance_names: Mapping[str, str]
    """The user's names of given instances, by those of `transferscope.core.instances`."""

    @classmethod
    def of(cls, study: Study, instance_names: Mapping[str, str]) -> Titles:
        """Those of a study."""
        names: dict[DatasetOptions, list[str]] = {}
        source, source_name = study.source, ""
        if source is not None and source.data is not None:
            source_name = visible(source.name or source.data.dataset)
            names[source.data] = [source_name]
        for name, target in study.targets.items():
            names.setdefault(target.data, []).append(visible(name))
        joined = {data: " and ".join(dict.fromkeys(known)) for data, known in names.items()}
        return cls(data_names=joined, source_name=source_name, instance_names=instance_names)

    def data(self, options: DatasetOptions) -> str:
        """What the study calls a data set; its type where it has no name there."""
        return self.data_names.get(options, options.dataset)

    def training(self, run: Run, *, is_source: bool) -> str:
        """Title of a training."""
        if is_source:
            return f"pre-train on {self.source_name or self.data(run.data)}"
        return f"{'search' if run.is_search else 'train'} {self.run(run)}"

    def group(self, run: Run, *, is_source: bool) -> str:
        """What a training is counted with: trainings of one kind and data set, shuffled ones apart."""
        if is_source:
            return self.training(run, is_source=True)
        kind, data = KIND_NAMES[kind_of(run)], self.data(run.data)
        if run.is_search:
            return f"search the rate of {kind} on {data}"
        return f"train {kind} on {data}{'' if run.view.kind == 'unshuffled' else ', shuffled'}"

    def run(self, run: Run) -> str:
        """A run's name: kind, data, view and seeds."""
        parts = [KIND_NAMES[kind_of(run)], self.data(run.data)]
        if run.view.kind != "unshuffled":
            parts.append(_view(run.view))
        source = run.source
        if isinstance(source, Point) and isinstance(source.run, Run) and source != source.run.outcome:
            parts.append(f"from epoch {source.epoch}")
        if run.is_search and isinstance(run.recipe, Recipe):
            parts.append(f"rate {run.recipe.learning_rate:g}")
        parts.append(f"seed {run.seed}")
        if run.init_seed != run.seed:
            parts.append(f"init seed {run.init_seed}")
        return " ".join(parts)

    def cell(self, cell: Cell) -> str:
        """What a cell measures: instances by name, without the seeds that are in it."""
        keys = {key: value for key, value in cell.keys.items() if not key.startswith("seed_")}
        if {"kind", "seed"} <= keys.keys():
            keys["kind"] = f"{keys['kind']} {keys.pop('seed')}"
        units = {"seed": "seed {}", "block_size_px": "{} px", "pretrain_epoch": "pre-training epoch {}"}
        texts = (units.get(key, "{}").format(value) for key, value in keys.items() if value is not None)
        return ", ".join(dict.fromkeys(self.instance_names.get(text, text) for text in texts))


def _view(view: View) -> str:
    return "pixels and channels shuffled" if view.block_size_px is None else f"blocks {view.block_size_px} px"
