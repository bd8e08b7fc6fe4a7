"""Experiment 7: which pre-training checkpoint to start from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.analyses.checkpoints.claims import CLAIMS as CLAIMS
from transferscope.analyses.checkpoints.claims import findings as findings
from transferscope.analyses.checkpoints.first_page import advice as advice
from transferscope.analyses.checkpoints.summary import SUMMARIES as SUMMARIES
from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Panel, Row, Subject
from transferscope.analyses.shared.image_groups import WITHOUT_GROUP, groups_of, rows_without
from transferscope.core.config import AnalysisConfig, NaturalInt, Study
from transferscope.core.options import Frozen
from transferscope.core.runs import Point, chosen_seeds, chosen_targets, pretraining_run, target_run
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 7
FIRST_PAGE_ORDER = 3
VERSION = 5
TRAINS = True
"""It asks for trainings of its own, so networks that were trained elsewhere can't have it."""
TITLE = "Choice of the checkpoint"
SHOWS = (
    "P-T is trained from checkpoints along the pre-training. Source metric, target metric and optimization speed "
    "are set side by side by pre-training epoch."
)
HOW_TO_READ = (
    "Where the target's curve flattens before the source's, a shorter pre-training would have done: the rule marks "
    "the earliest checkpoint within one standard error (over seeds) of the best. Epoch 0 is a pre-trained network "
    "that has learned nothing: the same as RI up to its seed. Points are seeds and lines their mean; the light band "
    "is its 95 % interval over seeds, the dark one what other test images could change."
)
CAVEATS = (
    "There is one pre-training run, so its own chance is not in the intervals. Where the rate of the pre-training "
    "never drops at once, nothing can be said of sudden jumps."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 4.3 and figure 8"

KEYS = (
    Column("target", "str", "Name of the target"),
    Column("pretrain_epoch", "int", "Epochs of pre-training before the fine-tuning"),
    Column("seed", "int", "Seed of the P-T"),
)
TABLES = {
    "checkpoints": (
        Column("source_metric", "float", "Test metric of the checkpoint on the source", "0 to 1"),
        Column("target_metric", "float", "Final test metric of the P-T on the target", "0 to 1"),
        Column(
            "target_metric_low",
            "float",
            "Lower end of its 95 % bootstrap interval over test images",
            "0 to 1",
        ),
        Column("target_metric_high", "float", "Upper end", "0 to 1"),
        Column(
            "speed", "float", "Optimization speed: training metric of the P-T, mean over epochs", "0 to 1"
        ),
        Column(
            "distance", "float", "L2 distance that the P-T travelled from the checkpoint, without the head"
        ),
        Column(
            "after_rate_drop", "bool", "Whether the pre-training rate dropped since the checkpoint before"
        ),
        Column("n_test", "int", "Test images of the target"),
    ),
    "checkpoints_images": (
        WITHOUT_GROUP,
        Column(
            "source_metric",
            "float",
            "Test metric of the checkpoint on all test images of the source",
            "0 to 1",
        ),
        Column("target_metric", "float", "Final test metric of the P-T on the target", "0 to 1"),
        Column(
            "after_rate_drop", "bool", "Whether the pre-training rate dropped since the checkpoint before"
        ),
    ),
}


class Settings(Frozen):
    """What decides the numbers of a cell."""

    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the interval of the target metric."""


class Config(AnalysisConfig, Settings):
    """Options of checkpoints."""

    pretrain_epochs: tuple[NaturalInt, ...] | None = None
    """Pre-training epochs to start from; all that the pre-training keeps by default."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Weights that come without a pre-training, and epochs that it doesn't keep."""
    pretraining = None if study.source is None else study.source.pretraining
    if pretraining is None:
        yield ConfigProblem(
            "",
            "needs the checkpoints along the pre-training, and weights that are given (source.weights) have none. "
            "Leave this analysis out, or let the pre-training run here: source.data and source.pretraining.",
        )
        return
    kept = pretraining.kept_epochs
    for epoch in config.pretrain_epochs or ():
        if epoch not in kept:
            yield ConfigProblem(
                "pretrain_epochs",
                f"the pre-training keeps no checkpoint of epoch {epoch}, only of {', '.join(map(str, kept))}. "
                "Add it to source.pretraining.keep_epochs.",
            )


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, pre-training epoch and seed."""
    pretraining = pretraining_run(study)
    epochs = sorted(set(config.pretrain_epochs or pretraining.recipe.kept_epochs))
    for target in chosen_targets(study, config):
        for epoch in epochs:
            for seed in chosen_seeds(study, config, target):
                run = target_run(study, "p_t", target, seed, pretrain_epoch=epoch)
                before = [e for e in epochs if e < epoch]
                subjects = {"p_t": run.final, "init": run.init, "source": Point(run=pretraining, epoch=epoch)}
                if before:
                    subjects["source_before"] = Point(run=pretraining, epoch=before[-1])
                yield Cell(
                    keys={"target": target, "pretrain_epoch": epoch, "seed": seed},
                    subjects=subjects,
                    data=study.targets[target].data,
                    cost=0.05,
                )


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Source and target metric of one checkpoint."""
    import polars as pl

    from transferscope.metrics.evaluation.image_groups import scores_without
    from transferscope.metrics.evaluation.score_interval import percentile_interval, resampled_scores
    from transferscope.metrics.evaluation.scores import score
    from transferscope.metrics.landscape.distance import l2_distance
    from transferscope.models.modules.find import HEAD, prefixes_of

    p_t, source = subjects["p_t"], subjects["source"]
    modules = prefixes_of(p_t.modules)
    body = [prefix for name, prefixes in modules.items() if name != HEAD for prefix in prefixes]
    distance = l2_distance(p_t.state, subjects["init"].state, by_module=True, modules={"body": body})
    at_epoch = source.history.row(by_predicate=pl.col("epoch") == source.epoch, named=True)
    before = subjects.get("source_before")
    labels = data.test.labels
    metric = score(p_t.test_logits, labels)
    resampled = resampled_scores(
        {"p_t": p_t.test_logits}, labels, draws=settings.bootstrap_draws, generator=generator
    )
    interval = percentile_interval(metric, resampled["p_t"], len(labels))
    row: Row = {
        "source_metric": at_epoch["test_metric"],
        "target_metric": metric,
        "target_metric_low": interval.low,
        "target_metric_high": interval.high,
        "speed": p_t.history["train_metric"].mean(),
        "distance": distance["distance"].item(),
        "after_rate_drop": before is not None and _rate_dropped(source.history, before.epoch, source.epoch),
        "n_test": len(labels),
    }
    without = {
        "source_metric": row["source_metric"],
        "target_metric": scores_without(p_t.test_logits, labels, groups_of(data.test)),
        "after_rate_drop": row["after_rate_drop"],
    }
    return {"checkpoints": [row], "checkpoints_images": rows_without(without)}


def _rate_dropped(history: pl.DataFrame, before: int, epoch: int) -> bool:
    """Whether the rate fell to less than half at once in the epochs after `before`, up to `epoch`."""
    rates = dict(zip(history["epoch"], history["learning_rate"], strict=True))
    return any(
        rates[e] < rates[e - 1] / 2 for e in range(max(before, 1) + 1, epoch + 1) if rates[e] and rates[e - 1]
    )


def summarize(tables: Mapping[str, pl.DataFrame]) -> dict[str, list[Row]]:
    """Numbers over seeds by epoch, and which checkpoint to take."""
    from transferscope.analyses.checkpoints.summary import summary_rows

    return summary_rows(tables["checkpoints"])


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: metrics and speed, distance, and steps, by pre-training epoch."""
    from transferscope.analyses.checkpoints.panels import checkpoint_panels

    return checkpoint_panels(tables)
