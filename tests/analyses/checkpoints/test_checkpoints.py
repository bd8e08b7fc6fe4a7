"""Which checkpoint to take: the rule of one standard error, and the correlation of jumps, against literal versions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from fake_subjects import FakeSubject, single_label
from scipy import stats

from transferscope.analyses.checkpoints import analysis as checkpoints
from transferscope.analyses.checkpoints.analysis import Settings, measure

SOURCE = {0: 0.1, 1: 0.5, 2: 0.6, 4: 0.9}


def rows(metrics: Mapping[int, Sequence[float]], source: Mapping[int, float | None] = SOURCE) -> pl.DataFrame:
    """Rows of one target: pre-training epoch -> target metric of each seed."""
    found = [
        {
            "target": "t",
            "pretrain_epoch": epoch,
            "seed": seed,
            "source_metric": source[epoch],
            "target_metric": metric,
            "target_metric_low": metric - 0.02,
            "target_metric_high": metric + 0.02,
            "speed": 0.5,
            "distance": 1.0 + epoch,
            "after_rate_drop": epoch == 4,
            "n_test": 100,
        }
        for epoch, own in metrics.items()
        for seed, metric in enumerate(own)
    ]
    return pl.DataFrame(found, infer_schema_length=None)


def choice(table: pl.DataFrame) -> dict[str, Any]:
    (row,) = checkpoints.summarize({"checkpoints": table})["checkpoints_choice"]
    return row


def test_the_earliest_within_one_standard_error_of_the_best() -> None:
    metrics = {0: [0.5, 0.5, 0.5], 1: [0.67, 0.72, 0.68], 2: [0.68, 0.72, 0.70], 4: [0.66, 0.74, 0.73]}
    row = choice(rows(metrics))
    assert row["best_epoch"] == 4
    assert row["best_metric"] == pytest.approx(0.71)
    assert row["standard_error"] == pytest.approx(stats.sem(metrics[4]))  # .0252
    assert row["recommended_epoch"] == 1  # .69 is at least .71 - .0252
    difference = np.subtract(metrics[1], metrics[4])
    interval = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    assert row["difference"] == pytest.approx(difference.mean())
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["num_seeds"], row["last_epoch"], row["num_steps"]) == (3, 4, 3)
    chosen = pl.DataFrame(checkpoints.summarize({"checkpoints": rows(metrics)})["checkpoints_over_seeds"])
    assert set(chosen.filter("is_recommended")["pretrain_epoch"]) == {1}
    assert set(chosen.filter("is_best")["pretrain_epoch"]) == {4}


def test_where_seeds_agree_nothing_but_the_best_will_do() -> None:
    row = choice(rows({0: [0.5] * 3, 1: [0.7] * 3, 2: [0.7] * 3, 4: [0.69] * 3}))
    assert (row["best_epoch"], row["recommended_epoch"]) == (1, 1)
    assert row["standard_error"] == pytest.approx(0, abs=1e-12)


def test_equal_means_are_equal_in_any_order_of_the_seeds() -> None:
    """0.1 + 0.2 + 0.3 is more than 0.3 + 0.2 + 0.1 in floating point; the earlier epoch is the best."""
    row = choice(rows({0: [0.05] * 3, 1: [0.3, 0.2, 0.1], 2: [0.1, 0.2, 0.3], 4: [0.1, 0.1, 0.1]}))
    assert row["best_epoch"] == 1


def test_one_seed_recommends_nothing() -> None:
    row = choice(rows({0: [0.5], 1: [0.6], 2: [0.7], 4: [0.7]}))
    assert (row["best_epoch"], row["recommended_epoch"]) == (2, None)
    assert all(math.isnan(row[name]) for name in ("standard_error", "difference", "recommended_metric"))


def test_a_seed_that_lacks_a_checkpoint_is_left_out() -> None:
    table = rows({0: [0.5, 0.5, 0.9], 1: [0.6, 0.6, 0.9], 2: [0.7, 0.8, 0.9], 4: [0.7, 0.7]})
    row = choice(table)
    assert row["num_seeds"] == 2
    assert row["best_metric"] == pytest.approx(0.75)


def test_the_correlation_of_jumps() -> None:
    rng = np.random.default_rng(0)
    metrics = {epoch: rng.uniform(0.4, 0.9, 3).tolist() for epoch in SOURCE}
    steps = np.diff(list(SOURCE.values()))

    def correlation(seeds: list[int]) -> float:
        means = [np.mean([own[seed] for seed in seeds]) for own in metrics.values()]
        return float(stats.pearsonr(steps, np.diff(means)).statistic)

    row = choice(rows(metrics))
    whole = correlation([0, 1, 2])
    left_out = [correlation(seeds) for seeds in ([1, 2], [0, 2], [0, 1])]
    error = 2 * np.std(left_out, ddof=1) / math.sqrt(3)
    assert row["jump_correlation"] == pytest.approx(whole)
    assert row["jump_correlation_high"] == pytest.approx(whole + stats.t.ppf(0.975, 2) * error)


@pytest.mark.parametrize(
    "source",
    [{0: 0.1, 1: 0.5, 2: 0.9}, {0: 0.1, 1: None, 2: 0.5, 4: 0.9}, {0: 0.1, 1: 0.2, 2: 0.3, 4: 0.4}],
    ids=["two steps", "a gap", "steps of one size"],
)
def test_jumps_that_can_not_be_correlated(source: dict[int, float | None]) -> None:
    metrics = {epoch: [0.1 * epoch**2, 0.2 * epoch] for epoch in source}
    assert math.isnan(choice(rows(metrics, source))["jump_correlation"])


def test_a_metric_that_is_no_number_chooses_nothing() -> None:
    table = rows({0: [0.5, math.nan], 1: [0.6, 0.7], 2: [0.6, 0.7], 4: [0.6, 0.7]})
    found = checkpoints.summarize({"checkpoints": table})
    assert found["checkpoints_choice"] == []
    assert not any(row["is_recommended"] for row in found["checkpoints_over_seeds"])


def test_the_numbers_of_a_cell() -> None:
    data = single_label(50, 3, seed=0)
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    weights = {"stem.w": torch.ones(3), "head.w": torch.ones(2)}
    source = FakeSubject(logits, [0.2, 0.4], epoch=2, test_metrics=[0.1, 0.3, 0.45])
    subjects = {
        "p_t": FakeSubject(logits, [0.25, 0.75], state={**weights, "stem.w": torch.tensor([1.0, 4.0, 5.0])}),
        "init": FakeSubject(logits, [], state={**weights, "head.w": torch.zeros(2)}),
        "source": source,
    }
    tables = measure(subjects, data, Settings(bootstrap_draws=200), torch.Generator().manual_seed(0))  # pyright: ignore[reportArgumentType]
    (row,) = tables["checkpoints"]
    accuracy = float((logits.argmax(1) == data.test.labels).double().mean())
    assert (row["source_metric"], row["target_metric"], row["speed"]) == pytest.approx((0.45, accuracy, 0.5))
    assert row["distance"] == pytest.approx(5.0)
    assert row["target_metric_low"] < accuracy < row["target_metric_high"]
    assert row["after_rate_drop"] is False
