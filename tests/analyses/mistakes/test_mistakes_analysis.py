"""The analysis of mistakes on made-up predictions: rows, images, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pytest
import scipy.stats
import torch
from torch import Tensor

from transferscope.analyses.contract import Split
from transferscope.analyses.mistakes import analysis as mistakes
from transferscope.analyses.theme import draw
from transferscope.core.datasets import Description
from transferscope.core.errors import TaskFailed
from transferscope.execute.store.artifacts import DTYPES

N = 60
INSTANCES = ("P-T 0", "P-T 1", "P-T 2", "RI-T 0", "RI-T 1", "RI-T 2")
SETTINGS = mistakes.Settings(bootstrap_draws=100, gallery_images=4)


@dataclass
class Predicted:
    """What the analysis sees of an instance."""

    test_logits: Tensor


@dataclass
class Images:
    """What it sees of the data."""

    description: Description
    test: Split
    test_images_uint8: Tensor | None


def made_up(*, multi_label: bool = False, names: tuple[str, ...] = INSTANCES) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (N,), generator=generator)
    if multi_label:
        labels = (torch.rand(N, 3, generator=generator) < 0.4).float()
    truth = labels if multi_label else torch.nn.functional.one_hot(labels, 3).float()
    subjects = {
        name: Predicted(2 * truth - 1 + 2.0 * torch.randn(N, 3, generator=generator)) for name in names
    }
    split = Split(
        inputs=torch.zeros(N, 3, 8, 8), labels=labels, ids=tuple(f"image-{place}" for place in range(N))
    )
    about = Description(class_names=("cat", "dog", "emu"), image_size_px=8, multi_label=multi_label)
    pixels = torch.randint(256, (N, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return subjects, Images(about, split, pixels)


def measured(subjects: Any, data: Any) -> dict[str, pl.DataFrame]:
    rows = mistakes.measure(subjects, data, SETTINGS, torch.Generator().manual_seed(0))
    tables = {}
    for name, columns in mistakes.TABLES.items():
        schema = {column.name: DTYPES[column.dtype] for column in columns}
        assert all(set(row) == set(schema) for row in rows[name]), name
        frame = pl.DataFrame(list(rows[name]), schema=schema)
        tables[name] = frame.select(pl.lit("pets").alias("target"), pl.all())
    return tables


@pytest.mark.parametrize("multi_label", [False, True])
def test_tables_tell_one_story(multi_label: bool) -> None:
    tables = measured(*made_up(multi_label=multi_label))
    whole = tables["mistakes"].filter(scope="all")
    assert set(tables["mistakes"]["scope"]) == {"all", "cat", "dog", "emu"}
    by_scope = tables["mistakes"].filter(pl.col("scope") != "all").group_by("a", "b", maintain_order=True)
    by_difficulty = tables["mistakes_by_difficulty"].group_by("a", "b", maintain_order=True)
    for column in ("n", "both_wrong", "only_a", "only_b"):
        for parts in (by_scope, by_difficulty):
            assert parts.agg(pl.col(column).sum())[column].to_list() == whole[column].to_list()
    tests = tables["mistakes_tests"]
    near = whole.filter(pair="P-T & P-T")["kappa"].mean()
    assert tests.filter(measure="kappa")["value"].to_list() == pytest.approx([near, near])
    assert tests["n"].unique().to_list() == [N]
    assert tests["relabellings"].unique().to_list() == [20]
    assert tests["p_instances"].is_between(0.05, 1).all()
    assert len(tables["mistakes_matrix"]) == 15
    both = tables["mistakes_matrix"].join(whole, on=["a", "b"])
    assert both["kappa"].to_list() == both["kappa_right"].to_list()


def test_p_t_that_err_alike_are_found_among_the_relabellings() -> None:
    """All P-T give the same predictions: of 20 ways to call three instances P-T, one only is as good."""
    subjects, data = made_up()
    for name in ("P-T 1", "P-T 2"):
        subjects[name] = subjects["P-T 0"]
    tests = measured(subjects, data)["mistakes_tests"]
    assert tests.filter(measure="kappa")["p_instances"].to_list() == [0.05, 0.05]
    assert tests.filter(measure="uncommon_share")["p_instances"].to_list() == [0.05, 0.05]


@pytest.mark.parametrize("multi_label", [False, True])
def test_claims_name_images_not_decisions(multi_label: bool) -> None:
    study: Any = None
    found = mistakes.findings(measured(*made_up(multi_label=multi_label)), study)
    assert [finding.num_images for finding in found] == [N, N]


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_judge_has_its_seed(multi_label: bool) -> None:
    table = measured(*made_up(multi_label=multi_label))["mistakes_difficulty"]
    own = table.filter(pl.col("a") == "P-T 0", pl.col("b") == "RI-T 1", pl.col("wrong") == "both")
    assert own.select("judge", "judge_kind", "seed_judge").rows() == [
        ("P-T 1", "P-T", 1),
        ("P-T 2", "P-T", 2),
        ("RI-T 0", "RI-T", 0),
        ("RI-T 2", "RI-T", 2),
    ]


@pytest.mark.parametrize("multi_label", [False, True])
def test_gallery_shows_the_images_that_it_names(multi_label: bool) -> None:
    subjects, data = made_up(multi_label=multi_label)
    table = measured(subjects, data)["mistakes_gallery"]
    assert set(table["set"]) == {"only P-T", "only RI-T", "both"}
    for row in table.iter_rows(named=True):
        assert row["image_id"] == data.test.ids[row["index"]]
        assert (row["p_t_label"] == row["label"]) == (row["set"] == "only RI-T")
        assert (row["ri_t_label"] == row["label"]) == (row["set"] == "only P-T")
        truth = data.test.labels[row["index"]]
        if multi_label:
            finding = row["label"].removeprefix("no ")
            place = data.description.class_names.index(finding)
            assert row["label"].startswith("no ") == (truth[place] == 0)
        else:
            assert row["label"] == data.description.class_names[int(truth)]
    (gallery,) = mistakes.galleries({"mistakes_gallery": table})
    assert [len(row.pictures) for row in gallery.rows] == [len(table.filter(set=name)) for name in SETS]
    first = gallery.rows[0].pictures[0]
    assert first.png == table["picture"][0]
    assert table["image_id"][0] in first.alt


SETS = ("only P-T", "only RI-T", "both")


def test_gallery_does_without_images() -> None:
    subjects, data = made_up()
    table = measured(subjects, replace(data, test_images_uint8=None))["mistakes_gallery"]
    assert len(table) > 0
    assert table["picture"].is_null().all()


def test_panels_are_drawn() -> None:
    tables = measured(*made_up())
    panels = mistakes.panels(tables)
    assert [panel.name for panel in panels] == ["uncommon", "kappa", "matrix-pets", "difficulty-pets"]
    for panel in panels:
        assert draw(panel.chart).startswith("<svg")
        assert panel.summary


def jackknife(values: list[float], whole: float) -> tuple[float, float]:
    """Ends of the 95 % interval, by the formula: pseudo-values from the numbers with one seed left out."""
    n = len(values)
    pseudo = [n * whole - (n - 1) * value for value in values]
    mean = sum(pseudo) / n
    error = math.sqrt(sum((value - mean) ** 2 for value in pseudo) / (n - 1) / n)
    half = float(scipy.stats.t.ppf(0.975, n - 1)) * error
    return whole - half, whole + half


def test_bands_by_difficulty_are_over_seeds() -> None:
    tables = measured(*made_up())
    table = tables["mistakes_by_difficulty"]
    panel = next(one for one in mistakes.panels(tables) if one.name == "difficulty-pets")
    drawn = panel.chart.layer[0].data
    assert drawn.height >= 3

    def share(rows: pl.DataFrame) -> float:
        return (rows["only_a"].sum() + rows["only_b"].sum()) / rows["n"].sum()

    for row in drawn.iter_rows(named=True):
        part = table.filter(pair=row["pair"], others_wrong=row["others_wrong"])
        seeds = sorted({*part["seed_a"], *part["seed_b"]})
        left = [share(part.filter(pl.col("seed_a") != s, pl.col("seed_b") != s)) for s in seeds]
        low, high = jackknife(left, share(part))
        assert (row["low"], row["high"]) == pytest.approx((low, high), rel=1e-9)
    assert panel.summary.endswith("3 seeds.")


def test_one_seed_has_images_and_no_pairs() -> None:
    tables = measured(*made_up(names=("P-T 0", "RI-T 0")))
    assert [name for name, table in tables.items() if len(table)] == ["mistakes_gallery"]


def test_perfect_networks_have_nothing_to_show() -> None:
    subjects, data = made_up()
    truth = torch.nn.functional.one_hot(data.test.labels, 3).float()
    tables = measured({name: Predicted(9 * truth) for name in subjects}, data)
    assert tables["mistakes_gallery"].is_empty()
    assert tables["mistakes"]["kappa"].is_nan().all()
    for panel in mistakes.panels(tables):
        draw(panel.chart)


def test_predictions_of_other_images_are_refused() -> None:
    subjects, data = made_up()
    short = {**subjects, "RI-T 1": Predicted(subjects["RI-T 1"].test_logits[:-1])}
    with pytest.raises(TaskFailed, match=r"RI-T 1 has predictions of 59 test images.* 60 ids"):
        measured(short, data)
    fewer_ids = replace(data, test=replace(data.test, ids=data.test.ids[:-1]))
    with pytest.raises(TaskFailed, match="59 ids"):
        measured(subjects, fewer_ids)
    twice = replace(data, test=replace(data.test, ids=("image-1", *data.test.ids[1:])))
    with pytest.raises(TaskFailed, match="twice"):
        measured(subjects, twice)


def test_logits_that_are_no_numbers_are_refused() -> None:
    subjects, data = made_up()
    subjects["P-T 2"].test_logits[3, 1] = torch.nan
    with pytest.raises(TaskFailed, match="P-T 2 gives logits that aren't finite"):
        measured(subjects, data)
