"""The trainings of a study that failed: those that diverged, and networks that are hardly better than no network.

Their results stay in all tables and verdicts. The report names them, so that readers can judge what they do to a mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from transferscope.core.runs import KIND_NAMES, Run, kind_of, pretraining_run
from transferscope.core.tables import Column
from transferscope.data.inspect.facts import DataFacts
from transferscope.execute.store.checksums import Damaged
from transferscope.execute.store.local import Store
from transferscope.study.plan import Plan
from transferscope.study.task import Task

MARGIN = 0.1
"""A network is near chance if its metric is below chance + MARGIN * (1 - chance), on the test images and on the
training images: less than a tenth of the way from what needs no image (the share of the commonest class, or an AUC of
0.5) to 1. Ten even classes: 0.19. Mean AUC: 0.55. One that is near chance on test images alone did train, but does not
generalize."""
NEAR_CHANCE = "near chance"
NO_RESULT = "no result"

COLUMNS = (
    Column("target", "str", "Name of the target"),
    Column("kind", "str", "P-T, RI-T, or a control"),
    Column("seed", "int", "Seed of the network"),
    Column("network", "str", "The network, with how its images are shown and what it started from"),
    Column("is_shuffled", "bool", "Whether its images were shuffled, so that there may be little to learn"),
    Column("metric", "str", "accuracy or mean_auc"),
    Column("value", "float", "The metric on the test images at the end; null without a result", "0 to 1"),
    Column("train_value", "float", "The metric on the training images in the last epoch", "0 to 1"),
    Column("chance", "float", "The metric without looking at an image", "0 to 1"),
    Column(
        "problem", "str", f"{NEAR_CHANCE}; or {NO_RESULT}, where the training diverged or failed otherwise"
    ),
    Column("reason", "str", "Why there is no result; null near chance"),
)


def near_chance(value: float, chance: float) -> bool:
    """True if a metric is less than a tenth of the way from chance to 1, or NaN.

    >>> near_chance(0.18, 0.1), near_chance(0.2, 0.1)
    (True, False)
    """
    return not value >= chance + MARGIN * (1 - chance)


def failed_trainings(
    plan: Plan, store: Store, facts: Mapping[str, DataFacts], reasons: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """A row for each training on a target that failed.

    Trainings of a rate search are left out: a rate that is too high is a result there.

    Args:
        plan: the study's.
        store: where results are; those that are only on another machine are not looked at.
        facts: of the targets whose data are decoded.
        reasons: why tasks failed, by key.
    """
    values = {"test_metric": "value", "train_metric": "train_value"}
    for target, task, run in _trainings(plan):
        if target not in facts:
            continue
        about = facts[target]
        row = {
            "target": target,
            "kind": KIND_NAMES[kind_of(run)],
            "seed": run.seed,
            "network": task.title.removeprefix("train "),
            "is_shuffled": run.view.kind != "unshuffled",
            "metric": about.about.metric,
            "chance": about.baseline,
        }
        if task.key in reasons:
            nothing = {"value": None, "train_value": None, "problem": NO_RESULT}
            yield {**row, **nothing, "reason": reasons[task.key]}
            continue
        last = _last_epoch(store, task.key)
        if last is not None and all(near_chance(last[name], about.baseline) for name in values):
            found = {own: last[name] for name, own in values.items()}
            yield {**row, **found, "problem": NEAR_CHANCE, "reason": None}


def failures_in_words(rows: list[dict[str, Any]]) -> Iterator[str]:
    """A note for each target with trainings that failed."""
    for target in dict.fromkeys(row["target"] for row in rows):
        texts = [
            f"{row['network']} ({row['problem']}"
            + ("" if row["value"] is None else f", {row['value']:.3f} where chance is {row['chance']:.3f}")
            + ")"
            for row in rows
            if row["target"] == target
        ]
        yield (
            f"{target}: {len(texts)} {'training' if len(texts) == 1 else 'trainings'} failed: {'; '.join(texts)}. "
            "Networks near chance are part of all means and verdicts. A lower learning rate may help."
        )


def _trainings(plan: Plan) -> Iterator[tuple[str, Task, Run]]:
    """The trainings on targets, each with the first target that has its data."""
    names: dict[Any, str] = {}
    for name, target in plan.study.targets.items():
        names.setdefault(target.data, name)
    source = plan.study.source
    pretraining = None if source is None or source.pretraining is None else pretraining_run(plan.study)
    for task in plan.graph:
        run = task.payload
        if isinstance(run, Run) and not run.is_search and run.data in names and run != pretraining:
            yield names[run.data], task, run


def _last_epoch(store: Store, key: str) -> dict[str, Any] | None:
    """The last row of a training's history; None where it is not here."""
    folder = store.here(key)
    if folder is None:
        return None
    try:
        return pl.read_parquet(folder / "history.parquet").row(-1, named=True)
    except Damaged:  # it is computed again by the next run
        return None
