"""The analysis of features on tiny networks: what each similarity is held against, and what is refused."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
import pytest
import torch
from torch import Tensor, nn

from transferscope.analyses.contract import Split, all_claims
from transferscope.analyses.feature_similarity import analysis as feature_similarity
from transferscope.analyses.theme import draw
from transferscope.core.errors import TaskFailed
from transferscope.execute.store.artifacts import DTYPES
from transferscope.models.modules.find import Module, find_modules

BY_ID = {claim.id: claim for claim in all_claims()}

N = 40
TRAINED = ("P-T 0", "P-T 1", "P-T 2", "RI-T 0", "RI-T 1", "RI-T 2")
EVERYTHING = (*TRAINED, "P", "RI 0", "RI 1", "RI 2")
SETTINGS = feature_similarity.Settings(permutations=3, neighbours=5)


class Net(nn.Module):
    def __init__(self, seed: int, noise: float, *, dead: bool) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(99)
            self.stem = nn.Linear(6, 5)
            self.stage1 = nn.Linear(5, 4)
            self.head = nn.Linear(4, 2)
            self.MODULES = {name: name for name, _ in self.named_children()}
            torch.manual_seed(seed)
            with torch.no_grad():
                for parameter in self.parameters():
                    parameter.add_(noise * torch.randn(parameter.shape))
                if dead:
                    self.stage1.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stage1(self.stem(x.flatten(1)).relu()))


@dataclass
class Subject:
    seed: int
    noise: float
    dead: bool = False

    @property
    def history(self) -> pl.DataFrame:
        return pl.DataFrame({"train_metric": [None, 0.25, 0.75]})

    @property
    def modules(self) -> dict[str, Module]:
        return find_modules(self.model(), num_classes=2)

    def model(self) -> nn.Module:
        return Net(self.seed, self.noise, dead=self.dead).eval()


@dataclass
class Images:
    test: Split


def made_up(names: tuple[str, ...] = EVERYTHING) -> tuple[Any, Any]:
    noise = {"P-T": 0.05, "P": 0.0, "RI-T": 0.4, "RI": 1.0}
    subjects = {name: Subject(seed, noise[name.split()[0]]) for seed, name in enumerate(names)}
    inputs = torch.randn(N, 6, 1, 1, generator=torch.Generator().manual_seed(0))
    ids = tuple(f"image-{place}" for place in range(N))
    return subjects, Images(Split(inputs=inputs, labels=torch.zeros(N, dtype=torch.int64), ids=ids))


def measured(subjects: Any, data: Any, settings: Any = SETTINGS) -> pl.DataFrame:
    rows = feature_similarity.measure(subjects, data, settings, torch.Generator().manual_seed(0))
    columns = feature_similarity.TABLES["feature_similarity"]
    schema = {column.name: DTYPES[column.dtype] for column in columns}
    assert all(set(row) == set(schema) for row in rows["feature_similarity"])
    frame = pl.DataFrame(list(rows["feature_similarity"]), schema=schema)
    return frame.select(pl.lit("pets").alias("target"), pl.all())


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return measured(*made_up())


def literal_mean(table: pl.DataFrame, kind: str, first: str, second: str) -> float:
    """Mean over all ordered pairs of networks of a kind."""
    values = []
    for layers in ((first, second), (second, first)):
        for row in table.filter(pair=kind).iter_rows(named=True):
            if (row["layer_a"], row["layer_b"]) == layers:
                values.append(row["linear_cka"])
    return math.fsum(values) / len(values)


def test_every_cell_has_its_baseline_and_ceiling(table: pl.DataFrame) -> None:
    ceilings = {"P-T": "P-T & P-T", "P": "P-T & P-T", "RI-T": "RI-T & RI-T"}
    assert set(table["pair"]) == {*feature_similarity.CEILINGS, "RI & RI"}
    for row in table.iter_rows(named=True):
        layers = row["layer_a"], row["layer_b"]
        assert row["baseline"] == pytest.approx(literal_mean(table, "RI & RI", *layers), abs=1e-12)
        kinds = row["pair"].split(" & ")
        if row["pair"] == "RI & RI":
            assert row["ceiling"] is None
            continue
        same = {ceilings[kind] for kind in kinds if kind != "RI"}
        expected = sum(literal_mean(table, kind, *layers) for kind in same) / len(same)
        assert row["ceiling"] == pytest.approx(expected, abs=1e-12)


def test_all_layers_of_all_pairs_stand_there(table: pl.DataFrame) -> None:
    assert table.group_by("a", "b").len()["len"].unique().to_list() == [4]
    assert table["layer_a"].unique(maintain_order=True).to_list() == ["stem", "stage1"]
    assert table.filter(layer_a="stage1")["depth_a"].unique().to_list() == [1]
    assert table["status"].unique().to_list() == ["ok"]
    assert table.filter(pair="P-T & P")["train_metric_a"].unique().to_list() == [0.75]
    assert table.filter(pair="P-T & P")["train_metric_b"].unique().to_list() == [None]
    assert table.filter(pair="P-T & P-T")["linear_cka"].min() is not None
    assert table["mutual_knn"].is_between(0, 1).all()
    assert (table["null_max"] >= table["null"]).all()


def test_influence_names_an_image(table: pl.DataFrame) -> None:
    subjects, data = made_up()
    row = table.filter(layer_a="stem", layer_b="stage1").row(0, named=True)
    kept = [image != row["influence_image"] for image in data.test.ids]
    assert sum(kept) == N - 1
    fewer = Split(
        inputs=data.test.inputs[kept],
        labels=data.test.labels[kept],
        ids=tuple(itertools.compress(data.test.ids, kept)),
    )
    again = measured({name: subjects[name] for name in (row["a"], row["b"])}, Images(fewer))
    left = again.filter(layer_a="stem", layer_b="stage1")["linear_cka"][0]
    # features are float32, and those of another number of images may be rounded otherwise
    assert row["influence"] == pytest.approx(left - row["linear_cka"], abs=1e-6)


def test_batches_bound_the_memory(table: pl.DataFrame) -> None:
    streamed = measured(*made_up(), SETTINGS.model_copy(update={"batch_size": 20}))
    assert streamed["influence"].is_finite().all()
    assert streamed["influence_image"].is_not_null().all()
    assert streamed["mutual_knn"].is_between(0, 1).all()
    assert streamed["smallest_batch"].unique().to_list() == [20]
    assert table["smallest_batch"].unique().to_list() == [N]
    assert (streamed["linear_cka"] - table["linear_cka"]).abs().max() < 0.2
    assert streamed["n"].unique().to_list() == [N]


def test_a_dead_layer_says_so_and_breaks_nothing() -> None:
    subjects, data = made_up()
    subjects["RI-T 1"] = replace(subjects["RI-T 1"], dead=True)
    table = measured(subjects, data)
    dead = ((pl.col("a") == "RI-T 1") & (pl.col("layer_a") == "stage1")) | (
        (pl.col("b") == "RI-T 1") & (pl.col("layer_b") == "stage1")
    )
    assert table.filter(dead)["status"].unique().to_list() == ["constant"]
    assert table.filter(~dead)["status"].unique().to_list() == ["ok"]
    assert table.filter(dead)["linear_cka"].is_nan().all()
    for panel in feature_similarity.panels({"feature_similarity": table}):
        assert draw(panel.chart).startswith("<svg")


def test_panels_are_drawn(table: pl.DataFrame) -> None:
    panels = feature_similarity.panels({"feature_similarity": table})
    assert [panel.name for panel in panels] == ["pets", "layers-pets", "pairs-pets"]
    for panel in panels:
        assert draw(panel.chart).startswith("<svg")


def test_one_seed_has_nothing_to_be_held_against() -> None:
    table = measured(*made_up(("P-T 0", "RI-T 0", "P", "RI 0")))
    assert set(table["pair"]) == {"P-T & P", "RI-T & RI"}
    assert table["baseline"].is_null().all()
    assert table["ceiling"].is_null().all()
    alone = measured(*made_up(("P-T 0",)))
    assert alone.is_empty()


def test_images_without_ids_of_their_own_are_refused() -> None:
    subjects, data = made_up()
    for ids in (data.test.ids[:-1], ("image-1", *data.test.ids[1:])):
        with pytest.raises(TaskFailed, match="can't be matched by image"):
            measured(subjects, Images(replace(data.test, ids=ids)))


def test_more_neighbours_than_images_are_a_problem_of_the_configuration() -> None:
    config = feature_similarity.Config(num_images=8, neighbours=8)
    (problem,) = feature_similarity.check(None, config)  # type: ignore[arg-type]
    assert problem.key == "neighbours"
    assert not list(feature_similarity.check(None, feature_similarity.Config()))  # type: ignore[arg-type]


def similarities(p_t: float, mixed: float, ri_t: float, ri: float) -> pl.DataFrame:
    """A table in which every pair of a kind has one similarity, but for a little of P-T, with three seeds."""
    rows = [
        {
            "target": target,
            "pair": kind,
            "seed_a": a,
            "seed_b": b,
            "depth_a": depth,
            "depth_b": depth,
            "linear_cka": value + 0.001 * (a + b - 2) * (kind == "P-T & P-T"),
            "n": N,
        }
        for target in ("pets", "cars")
        for kind, value in (
            ("P-T & P-T", p_t),
            ("P-T & RI-T", mixed),
            ("RI-T & RI-T", ri_t),
            ("RI & RI", ri),
        )
        for a, b in itertools.combinations(range(3), 2)
        for depth in range(2)
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(
    ("values", "verdict", "effect"),
    [
        ((0.9, 0.3, 0.4, 0.2), "holds", 0.4 - 0.55),
        ((0.9, 0.3, 0.6, 0.2), "does not hold", 0.6 - 0.55),  # one of the two kinds is enough
        (
            (0.98, 0.9, 0.91, 0.9),
            "holds",
            0.91 - 0.94,
        ),  # high in itself, but no higher than untrained networks
        ((0.8, 0.5, 0.5, 0.9), "holds", 0.5 - 0.85),
    ],
)
def test_low_is_near_the_untrained_networks(values: tuple[float, ...], verdict: str, effect: float) -> None:
    table = similarities(*values)
    found = {
        finding.claim.id: finding
        for finding in feature_similarity.findings({"feature_similarity": table}, None)  # type: ignore[arg-type]
    }
    finding = found["ri_t_features_are_dissimilar"]
    assert finding.claim is BY_ID["ri_t_features_are_dissimilar"]
    assert finding.effect == pytest.approx(effect)
    assert finding.verdict == verdict
    assert f"RI & RI {values[3]:.2f}" in finding.note
    assert ("no more alike" in finding.note) == (values[3] >= values[0])
