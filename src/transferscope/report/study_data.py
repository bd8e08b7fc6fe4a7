"""The data of a study and the test metric of its networks, from what the store has: tables for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from safetensors import safe_open

from transferscope.core.config import Study
from transferscope.core.datasets import describe
from transferscope.core.instances import given_names
from transferscope.core.options import DatasetOptions
from transferscope.core.runs import CONTROLS, KIND_NAMES, KINDS, GivenRun, Run, given_runs, target_run
from transferscope.core.tables import Column
from transferscope.data.inspect.facts import SPLITS, DataFacts, SplitFacts, split_facts
from transferscope.execute.store.artifacts import DTYPES
from transferscope.execute.store.checksums import Damaged, Folder
from transferscope.execute.store.local import Store
from transferscope.metrics.evaluation.balanced_accuracy import balanced_accuracy
from transferscope.report.failed_trainings import COLUMNS as FAILED_COLUMNS
from transferscope.report.failed_trainings import failed_trainings, failures_in_words
from transferscope.report.preflight import scored
from transferscope.study.plan import Plan

DATA_COLUMNS = (
    Column("data", "str", "Data set, as the study calls it"),
    Column("role", "str", "source or target"),
    Column("split", "str", "train or test"),
    Column("images", "int", "Images"),
    Column("classes", "int", "Classes, or labels of which an image may have several"),
    Column("labels", "str", "one class an image, or several labels an image"),
    Column("largest", "str", "Class with most images of the split"),
    Column("largest_share", "float", "Its share of the images"),
    Column("smallest", "str", "Class with fewest images of the split"),
    Column("smallest_images", "int", "Its images"),
    Column("size", "int", "Side of the square images as the networks see them", "px"),
    Column("channels", "int", "Channels"),
    Column("left_out", "int", "Images of both splits that were left out because they can't be used"),
)
CLASS_COLUMNS = (
    Column("data", "str", "Data set, as the study calls it"),
    Column("class", "str", "Class or label"),
    Column("train_images", "int", "Training images"),
    Column("train_share", "float", "Share of the training images"),
    Column("test_images", "int", "Test images"),
    Column("test_share", "float", "Share of the test images"),
)
METRIC_COLUMNS = (
    Column("target", "str", "Target"),
    Column("network", "str", "Kind and seed, or the name of a network that was given"),
    Column("metric", "str", "accuracy or mean_auc"),
    Column("value", "float", "The metric on all test images"),
    Column(
        "low", "float", "Lower end of its 95 % interval over test images (accuracy: Wilson, AUC: bootstrap)"
    ),
    Column("high", "float", "Upper end"),
    Column("n_test", "int", "Test images"),
    Column(
        "baseline", "float", "The metric without looking at an image: always the commonest class, or chance"
    ),
    Column(
        "balanced_accuracy", "float", "Accuracy of each class that has test images, averaged over the classes"
    ),
)


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """Facts about a study's data."""

    facts: Mapping[str, DataFacts]
    """By name: the source, then the targets; those whose data are not decoded yet are left out."""
    tables: Mapping[str, tuple[Sequence[Column], pl.DataFrame]]
    """data, data_classes, test_metrics and failed_trainings, each where it has rows."""
    notes: Sequence[str]
    """What readers of an accuracy should know, each with the name of its data set."""

    def beside(self, target: str) -> str:
        """The number of test images and the baseline of a target, to stand beside an accuracy."""
        facts = self.facts.get(target)
        return f"{facts.splits['test'].num_images:,} test images; {facts.baseline_in_words}" if facts else ""

    def failed(self) -> list[str]:
        """A sentence for each target with networks that failed to train on unshuffled images."""
        if "failed_trainings" not in self.tables:
            return []
        _, rows = self.tables["failed_trainings"]
        return list(failures_in_words(rows.filter(~pl.col("is_shuffled")).to_dicts()))


def study_data(plan: Plan, store: Store, reasons: Mapping[str, str]) -> StudyData:
    """The data of the study as far as they are decoded; nothing is fetched from another machine.

    Args:
        plan: the study's.
        store: where its results are.
        reasons: why tasks failed, by key.
    """
    tasks = {
        task.payload: task for task in plan.graph if isinstance(task.payload, DatasetOptions | Run | GivenRun)
    }
    named = dict(_named(plan.study))
    keys = {name: tasks[options].key for name, (_, options) in named.items() if options in tasks}
    infos = store.infos(keys.values())
    facts = {
        name: found
        for name, key in keys.items()
        if (found := _facts(named[name][1], key, infos.get(key), store))
    }
    rows: dict[str, list[dict[str, Any]]] = {
        "data": [row for name, one in facts.items() for row in _data_rows(name, named[name][0], one)],
        "data_classes": [row for name, one in facts.items() for row in _class_rows(name, one)],
        "test_metrics": [
            row
            for target in plan.study.targets
            if target in facts
            for row in _metric_rows(plan.study, target, facts[target], keys[target], tasks, store)
        ],
        "failed_trainings": list(failed_trainings(plan, store, facts, reasons)),
    }
    columns = {
        "data": DATA_COLUMNS,
        "data_classes": CLASS_COLUMNS,
        "test_metrics": METRIC_COLUMNS,
        "failed_trainings": FAILED_COLUMNS,
    }
    notes = [f"{name}: {note}" for name, one in facts.items() for note in (_in_short(one), *one.notes())]
    return StudyData(
        facts=facts,
        tables={
            name: (
                columns[name],
                pl.DataFrame(found, schema={one.name: DTYPES[one.dtype] for one in columns[name]}),
            )
            for name, found in rows.items()
            if found
        },
        notes=[
            *notes,
            *_no_better(rows["test_metrics"], facts),
            *_elsewhere(plan.study, rows["test_metrics"], tasks, store),
            *failures_in_words(rows["failed_trainings"]),
        ],
    )


def _named(study: Study) -> Iterator[tuple[str, tuple[str, DatasetOptions]]]:
    if study.source is not None and study.source.data is not None:
        yield study.source.name or "source", ("source", study.source.data)
    for name, target in study.targets.items():
        yield name, ("target", target.data)


def _in_short(facts: DataFacts) -> str:
    train, test = (facts.splits[name].num_images for name in SPLITS)
    noun = "labels, several an image" if facts.about.multi_label else "classes"
    baseline = (
        "Baseline" if facts.about.multi_label else "Majority baseline, the accuracy of always the same class"
    )
    return (
        f"{train:,} training images and {test:,} test images of {facts.about.num_classes:,} {noun}. "
        f"{baseline}: {facts.baseline_in_words}."
    )


def _facts(
    options: DatasetOptions, key: str, info: Mapping[str, Any] | None, store: Store
) -> DataFacts | None:
    """The facts stored when the data were decoded; computed from the labels if an earlier version stored none."""
    if info is None:
        return None
    about = describe(options)
    if "facts" in info:
        splits = {
            name: SplitFacts(num_images=one["num_images"], counts=tuple(one["counts"]))
            for name, one in info["facts"].items()
        }
        return DataFacts(about=about, splits=splits, left_out=sum(info.get("left_out", {}).values()))
    folder = store.here(key)
    if folder is None:
        return None
    splits = {name: split_facts(_labels(folder.folder, name).numpy(), about.num_classes) for name in SPLITS}
    return DataFacts(about=about, splits=splits, left_out=sum(info.get("left_out", {}).values()))


def _labels(folder: Folder, split: str) -> Any:
    """The labels of a stored split; read without the images, and so without the checksum of both."""
    with safe_open(folder / f"{split}.safetensors", framework="pt") as file:
        return file.get_tensor("labels")


def _data_rows(name: str, role: str, facts: DataFacts) -> Iterator[dict[str, Any]]:
    about = facts.about
    for split, one in facts.splits.items():
        order = sorted(range(len(one.counts)), key=one.counts.__getitem__)
        yield {
            "data": name,
            "role": role,
            "split": split,
            "images": one.num_images,
            "classes": about.num_classes,
            "labels": "several labels an image" if about.multi_label else "one class an image",
            "largest": about.class_names[order[-1]],
            "largest_share": one.share(order[-1]),
            "smallest": about.class_names[order[0]],
            "smallest_images": one.counts[order[0]],
            "size": about.image_size_px,
            "channels": about.channels,
            "left_out": facts.left_out,
        }


def _class_rows(name: str, facts: DataFacts) -> Iterator[dict[str, Any]]:
    train, test = facts.splits["train"], facts.splits["test"]
    for number in sorted(range(facts.about.num_classes), key=lambda number: -train.counts[number]):
        yield {
            "data": name,
            "class": facts.about.class_names[number],
            "train_images": train.counts[number],
            "train_share": train.share(number),
            "test_images": test.counts[number],
            "test_share": test.share(number),
        }


def _metric_rows(
    study: Study,
    target: str,
    facts: DataFacts,
    data_key: str,
    tasks: Mapping[Any, Any],
    store: Store,
) -> Iterator[dict[str, Any]]:
    """A row for each finished network whose results are on this machine."""
    data = store.here(data_key)
    if data is None:
        return
    labels = None
    for name, run in _networks(study, target):
        folder = store.here(tasks[run].key) if run in tasks else None
        if folder is None:
            continue
        labels = _labels(data.folder, "test") if labels is None else labels
        try:
            with safe_open(folder / "test_logits.safetensors", framework="pt") as file:
                logits = file.get_tensor("logits")
        except Damaged:  # it is computed again by the next run
            continue
        value, low, high = scored(logits, labels)
        yield {
            "target": target,
            "network": name,
            "metric": facts.about.metric,
            "value": value,
            "low": low,
            "high": high,
            "n_test": len(labels),
            "baseline": facts.baseline,
            "balanced_accuracy": None if facts.about.multi_label else balanced_accuracy(logits, labels),
        }


def _elsewhere(
    study: Study, rows: Sequence[Mapping[str, Any]], tasks: Mapping[Any, Any], store: Store
) -> Iterator[str]:
    """A note for each target with finished networks that have no row because other machines have their predictions."""
    networks = {
        target: {name: tasks[run].key for name, run in _networks(study, target) if run in tasks}
        for target in study.targets
    }
    finished = store.present(key for keys in networks.values() for key in keys.values())
    for target, keys in networks.items():
        shown = {row["network"] for row in rows if row["target"] == target}
        missing = [name for name, key in keys.items() if key in finished and name not in shown]
        if missing:
            yield (
                f"{target}: test_metrics lacks {len(missing)} of {len(keys)} networks, as their predictions or the "
                "test labels are not on this machine: they stay where they were computed. Other tables are complete."
            )


def _networks(study: Study, target: str) -> Iterator[tuple[str, Run | GivenRun]]:
    """The networks of intact images that a study compares, by name."""
    if study.instances is not None:
        names = given_names(study)
        for kind, number, run in given_runs(study, target):
            yield names.get(f"{KIND_NAMES[kind]} {number}", run.name), run
        return
    for kind in (*KINDS, *CONTROLS):
        for seed in study.seeds:
            yield f"{KIND_NAMES[kind]} {seed}", target_run(study, kind, target, seed)


def _no_better(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, DataFacts]) -> Iterator[str]:
    """A note for each target with networks that are not clearly better than the baseline."""
    for target, one in facts.items():
        here = [row for row in rows if row["target"] == target]
        weak = [row["network"] for row in here if not row["low"] > row["baseline"]]
        if weak:
            who = "no network" if len(weak) == len(here) else f"not every network ({', '.join(weak)} not)"
            yield (
                f"{target}: {who} is clearly better than an answer without looking at the image: "
                f"{one.baseline_in_words}, and its 95 % interval over test images does not lie above that."
            )
