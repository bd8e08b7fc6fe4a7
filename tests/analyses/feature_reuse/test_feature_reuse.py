"""Feature reuse: numbers of a cell against literal ones, numbers over seeds, and what is said where there are none."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from fake_subjects import FakeData, FakeSubject, findings_data, single_label
from PIL import Image
from scipy import stats
from sklearn.metrics import accuracy_score, roc_auc_score

from transferscope.analyses.feature_reuse import analysis as feature_reuse
from transferscope.analyses.feature_reuse.analysis import Settings, epochs_to_reach, measure
from transferscope.analyses.shared.over_seeds import over_seeds, share_over_seeds

ROLES = ("p_t", "ri_t", "p_t_unshuffled", "ri_t_unshuffled")


def subjects(data: FakeData, seed: int = 0) -> dict[str, FakeSubject]:
    generator = torch.Generator().manual_seed(seed)
    labels = data.test.labels
    truth = (
        labels if labels.ndim == 2 else torch.nn.functional.one_hot(labels, len(data.description.class_names))
    )
    found = {}
    for strength, role in enumerate(ROLES, start=1):
        noise = torch.randn(truth.shape, generator=generator)
        metrics = [round(0.1 * strength * epoch, 2) for epoch in range(1, 4)]
        found[role] = FakeSubject(test_logits=0.4 * strength * truth + noise, train_metrics=metrics)
    return found


def measured(
    data: FakeData, **settings: Any
) -> tuple[dict[str, FakeSubject], dict[str, list[dict[str, Any]]]]:
    made = subjects(data)
    chosen = Settings(bootstrap_draws=300, **settings)
    return made, measure(made, data, chosen, torch.Generator().manual_seed(1))  # pyright: ignore[reportArgumentType]


def literal_metric(data: FakeData, subject: FakeSubject) -> float:
    labels, logits = data.test.labels.numpy(), subject.test_logits.numpy()
    if labels.ndim == 2:
        return float(roc_auc_score(labels, logits))
    return float(accuracy_score(labels, logits.argmax(1)))


@pytest.mark.parametrize(
    "data", [single_label(80, 3, seed=0), findings_data(80, 2, seed=0)], ids=["single", "multi"]
)
def test_the_numbers_of_a_cell(data: FakeData) -> None:
    made, tables = measured(data)
    (row,) = tables["feature_reuse"]
    metric = {role: literal_metric(data, subject) for role, subject in made.items()}
    expected = {
        "p_t": metric["p_t"],
        "ri_t": metric["ri_t"],
        "gain": metric["p_t"] - metric["ri_t"],
        "relative_gain": 1 - metric["ri_t"] / metric["p_t"],
        "p_t_relative_drop": 1 - metric["p_t"] / metric["p_t_unshuffled"],
        "ri_t_relative_drop": 1 - metric["ri_t"] / metric["ri_t_unshuffled"],
        "p_t_speed": 0.2,
        "ri_t_speed": 0.4,
        "speed_gain": -0.2,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert row["n_test"] == 80
    for name in ("p_t", "gain", "relative_gain", "p_t_relative_drop"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_the_interval_of_a_gain_is_that_of_paired_differences() -> None:
    data = single_label(400, 3, seed=2)
    made, tables = measured(data)
    right = {
        role: (made[role].test_logits.argmax(1) == data.test.labels).double() for role in ("p_t", "ri_t")
    }
    error = float((right["p_t"] - right["ri_t"]).std()) / math.sqrt(400)
    row = tables["feature_reuse"][0]
    assert row["gain_high"] - row["gain_low"] == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_a_metric_of_0_has_no_relative_number() -> None:
    data = single_label(20, 2, seed=0)
    wrong = torch.nn.functional.one_hot(1 - data.test.labels, 2).float()
    made = {role: FakeSubject(test_logits=wrong, train_metrics=[0.5]) for role in ROLES}
    tables = measure(made, data, Settings(bootstrap_draws=100), torch.Generator())  # pyright: ignore[reportArgumentType]
    row = tables["feature_reuse"][0]
    assert row["gain"] == 0
    for name in ("relative_gain", "p_t_relative_drop"):
        assert all(math.isnan(row[column]) for column in (name, f"{name}_low", f"{name}_high"))


@pytest.mark.parametrize(
    ("level", "metrics", "epochs"),
    [
        (0.5, [0.1, 0.5, 0.4], 2),
        (0.5, [0.6], 1),
        (0.9, [0.1, 0.89], None),
        (0.5, [], None),
        (0.5, [math.nan, 0.7], 2),
    ],
)
def test_epochs_to_reach_a_level(level: float, metrics: list[float], epochs: int | None) -> None:
    assert epochs_to_reach(level, metrics) == epochs


def test_levels_and_examples_of_a_cell() -> None:
    data = single_label(10, 3, seed=0)
    _, tables = measured(data, levels=(0.2, 0.5), num_examples=2)
    assert tables["feature_reuse_levels"] == [
        {"kind": "P-T", "level": 0.2, "epochs": 2},
        {"kind": "P-T", "level": 0.5, "epochs": None},
        {"kind": "RI-T", "level": 0.2, "epochs": 1},
        {"kind": "RI-T", "level": 0.5, "epochs": 3},
    ]
    shown = tables["feature_reuse_examples"]
    assert [row["image_id"] for row in shown] == ["image 0", "image 1"]
    assert shown[0]["label"] == f"class {int(data.test.labels[0])}"
    picture = np.asarray(Image.open(io.BytesIO(shown[1]["picture"])))
    assert data.test_images_uint8 is not None
    assert np.array_equal(picture, data.test_images_uint8[1].permute(1, 2, 0).numpy())
    _, none = measured(FakeData(test=data.test, description=data.description))
    assert none["feature_reuse_examples"] == []


def test_the_findings_of_an_example_are_named() -> None:
    data = findings_data(30, 2, seed=3)
    _, tables = measured(data, num_examples=30)
    for row, label in zip(tables["feature_reuse_examples"], data.test.labels.tolist(), strict=True):
        named = [f"finding {i}" for i in (0, 1) if label[i]]
        assert row["label"] == (", ".join(named) or "no finding")


# Over seeds

VIEWS = (("unshuffled", 32), ("blocks", 4), ("pixels_and_channels", None))


def study_tables(gains: dict[str | None, list[float]]) -> dict[str, pl.DataFrame]:
    """Rows of one target with these gains a seed, by view; all other numbers follow from them."""
    rows, levels = [], []
    for (view, block), own in zip(VIEWS, gains.values(), strict=False):
        for seed, gain in enumerate(own):
            keys = {"target": "t", "likeness_rank": 1, "view": view, "block_size_px": block, "seed": seed}
            row: dict[str, Any] = {**keys, "metric": "accuracy", "n_test": 100, "speed_gain": 2 * gain}
            row |= {"p_t_speed": 0.9, "ri_t_speed": 0.9 - 2 * gain}
            numbers = {"p_t": 0.8, "ri_t": 0.8 - gain, "gain": gain, "relative_gain": gain / 0.8}
            numbers |= {"p_t_relative_drop": 0.0, "ri_t_relative_drop": 0.1}
            for name, value in numbers.items():
                row |= {name: value, f"{name}_low": value - 0.01, f"{name}_high": value + 0.03}
            rows.append(row)
            for kind, epochs in (("P-T", 2), ("RI-T", None if seed == 0 else 5)):
                levels.append({**keys, "kind": kind, "level": 0.5, "epochs": epochs})
    return {
        "feature_reuse": pl.DataFrame(rows, infer_schema_length=None),
        "feature_reuse_levels": pl.DataFrame(levels, infer_schema_length=None),
    }


def summary(gains: dict[str | None, list[float]]) -> pl.DataFrame:
    rows = feature_reuse.summarize(study_tables(gains))["feature_reuse_over_seeds"]
    return pl.DataFrame(rows, infer_schema_length=None)


def only(table: pl.DataFrame, view: str, quantity: str) -> dict[str, Any]:
    return table.row(by_predicate=(pl.col("view") == view) & (pl.col("quantity") == quantity), named=True)


def test_a_number_over_seeds_has_both_intervals() -> None:
    gains = [0.2, 0.25, 0.24]
    row = only(summary({"whole": gains}), "unshuffled", "gain")
    interval = stats.ttest_1samp(gains, 0).confidence_interval(0.95)
    assert row["mean"] == pytest.approx(np.mean(gains))
    assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
    assert (row["images_low"], row["images_high"]) == pytest.approx(
        (np.mean(gains) - 0.01, np.mean(gains) + 0.03)
    )
    assert (row["num_seeds"], row["note"]) == (3, "")


def test_the_share_that_survives() -> None:
    table = summary({"whole": [0.2, 0.21, 0.19], "blocks": [0.1, 0.1, 0.1], "all": [-0.1, 0.0, 0.1]})
    row = only(table, "blocks", "surviving_gain")
    assert row["mean"] == pytest.approx(0.5)
    assert row["low"] < 0.5 < row["high"]
    assert only(table, "blocks", "surviving_speed_gain")["mean"] == pytest.approx(0.5)
    assert only(table, "pixels_and_channels", "surviving_gain")["mean"] == pytest.approx(0)
    assert table.filter(
        (pl.col("view") == "unshuffled") & (pl.col("quantity") == "surviving_gain")
    ).is_empty()


@pytest.mark.parametrize(
    ("whole", "note"),
    [
        ([0.1, -0.1, 0.02], "the gain itself is not clearly above 0"),
        ([-0.2, -0.21, -0.19], "P-T is worse than RI-T: there is no gain to share"),
        ([0.2], "one seed does not show whether there is a gain"),
    ],
)
def test_where_there_is_no_gain_there_is_no_share(whole: list[float], note: str) -> None:
    row = only(summary({"whole": whole, "blocks": [0.1] * len(whole)}), "blocks", "surviving_gain")
    assert all(math.isnan(row[name]) for name in ("mean", "low", "high"))
    assert row["note"] == note


def test_epochs_that_a_seed_never_takes_have_no_mean() -> None:
    table = summary({"whole": [0.2, 0.2, 0.2]})
    assert only(table, "unshuffled", "p_t_epochs")["mean"] == 2
    row = only(table, "unshuffled", "ri_t_epochs")
    assert math.isnan(row["mean"])
    assert row["note"] == "2 of 3 seeds have one"


def test_one_seed_has_a_mean_and_no_interval() -> None:
    row = over_seeds([0.3])
    assert row["mean"] == 0.3
    assert math.isnan(row["low"])
    assert row["note"] == "one seed has no interval"
    assert share_over_seeds([], [])["num_seeds"] == 0


def test_nothing_measured_gives_no_rows() -> None:
    empty = {name: table.clear() for name, table in study_tables({"whole": [0.1]}).items()}
    assert feature_reuse.summarize(empty) == {"feature_reuse_over_seeds": []}


def test_a_gallery_says_whether_anything_is_shuffled() -> None:
    row = {"seed": 0, "image_id": "1", "label": "cat", "picture": b""}
    views = [("plain", "unshuffled", 8), ("cut", "unshuffled", 8), ("cut", "blocks", 2)]
    table = pl.DataFrame(
        [row | {"target": target, "view": view, "block_size_px": px} for target, view, px in views]
    )
    plain, cut = feature_reuse.galleries({"feature_reuse_examples": table})
    assert "none of which is shuffled" in plain.summary
    assert "shuffled as for the first seed" in cut.summary
    assert [row.title for row in cut.rows] == ["as is", "2 px"]


def test_seeds_without_shuffled_images_are_left_out_of_the_claims() -> None:
    rows = [
        {"target": target, "likeness_rank": rank, "view": view, "block_size_px": size, "seed": seed}
        | {"gain": gain + 0.01 * seed, "speed_gain": 0.1 + 0.02 * seed, "n_test": 100}
        for target, rank in (("near", 1), ("far", 2))
        for seed in range(6)
        for view, size, gain in (("unshuffled", 32, 0.3), ("blocks", 8, 0.2), ("blocks", 1, 0.1))
    ]
    shuffled = [row for row in rows if row["seed"] < 4]
    more = [row for row in rows if row["seed"] < 4 or row["view"] == "unshuffled"]
    effects = [
        {
            one.claim.id: one.effect
            for one in feature_reuse.findings({"feature_reuse": pl.DataFrame(part)}, None)
        }
        for part in (shuffled, more)
    ]
    assert effects[1] == pytest.approx(effects[0])
    assert effects[0]["gain_falls_along_block_sizes"] > 0
