"""Networks that failed to train are named, and no others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import tiny

from transferscope.core.datasets import describe
from transferscope.data.inspect.facts import DataFacts, SplitFacts
from transferscope.report.failed_trainings import COLUMNS, failed_trainings, failures_in_words
from transferscope.study.plan import Plan, plan


@dataclass(frozen=True)
class Histories:
    """A store that holds the last test metric of each training, in files of their own."""

    folder: Path

    def here(self, key: str) -> Path | None:
        return self.folder / key if (self.folder / key).is_dir() else None

    def put(self, key: str, *test_metrics: float | None, train: float = 0.15) -> None:
        (self.folder / key).mkdir()
        frame = pl.DataFrame({"train_metric": [train] * len(test_metrics), "test_metric": test_metrics})
        frame.write_parquet(self.folder / key / "history.parquet")


def rows(the_plan: Plan, store: Histories, reasons: dict[str, str]) -> list[dict[str, Any]]:
    facts = {}
    for name, target in the_plan.study.targets.items():
        about = describe(target.data)
        split = SplitFacts(num_images=100, counts=(100 // about.num_classes,) * about.num_classes)
        facts[name] = DataFacts(about=about, splits={"train": split, "test": split})
    return list(failed_trainings(the_plan, store, facts, reasons))  # type: ignore[arg-type]


def test_a_network_near_chance_and_one_without_a_result_are_named(tmp_path: Path) -> None:
    the_plan = plan(tiny.study(tmp_path, "feature_reuse", seeds=2))
    keys = {task.title: task.key for task in the_plan.graph}
    store = Histories(tmp_path)
    store.put(keys["train P-T digits seed 0"], 0.1, 0.3, 0.189)  # ten even classes
    store.put(keys["train P-T digits seed 1"], 0.1, 0.191)
    store.put(keys["train RI-T scans seed 1"], 0.9, 0.54)  # mean AUC
    store.put(keys["train RI-T scans blocks 4 px seed 0"], 0.551)
    store.put(keys["train P-T scans seed 0"], 0.5, train=0.6)  # it trained, and does not generalize
    store.put(keys["pre-train on letters"], 0.01)
    failed = rows(the_plan, store, {keys["train RI-T digits blocks 4 px seed 1"]: "the training loss is nan"})
    assert [(row["network"], row["problem"], row["value"]) for row in failed] == [
        ("P-T digits seed 0", "near chance", 0.189),
        ("RI-T digits blocks 4 px seed 1", "no result", None),
        ("RI-T scans seed 1", "near chance", 0.54),
    ]
    assert [row["is_shuffled"] for row in failed] == [False, True, False]
    assert [row["chance"] for row in failed] == [0.1, 0.1, 0.5]
    assert all({*row} == {column.name for column in COLUMNS} for row in failed)
    notes = list(failures_in_words(failed))
    assert len(notes) == 2, "one a target"
    assert "P-T digits seed 0 (near chance, 0.189 where chance is 0.100)" in notes[0]
    assert "RI-T digits blocks 4 px seed 1 (no result)" in notes[0]


def test_what_is_not_here_is_not_called_failed(tmp_path: Path) -> None:
    the_plan = plan(tiny.study(tmp_path, "feature_reuse", seeds=2))
    assert rows(the_plan, Histories(tmp_path), {}) == []
