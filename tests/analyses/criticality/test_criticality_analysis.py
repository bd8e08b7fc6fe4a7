"""The rows of the analysis against copies of the networks, module by module."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from functools import cached_property

import polars as pl
import pytest
import torch
from torch import nn

from transferscope.analyses.contract import Split
from transferscope.analyses.criticality import analysis as criticality
from transferscope.models.build import FixupResNetOptions, build
from transferscope.models.modules.find import find_modules

OPTIONS = FixupResNetOptions(depths=(1, 1), widths=(4, 4))
MODULES = ("stem", "stage1", "stage2", "head")
SETTINGS = criticality.Settings(
    alphas=(0, 0.5, 1),
    sigmas=(0, 0.1),
    relative_sigmas=(0, 1),
    draws=2,
    num_images=20,
    num_images_over_epochs=30,
    acceptable_drop=0.05,
    bootstrap_draws=100,
)


@dataclass(frozen=True)
class Subject:
    """A network drawn at random, all of it."""

    epoch: int
    draw: int

    def model(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(self.draw)
            net = build(OPTIONS, 3)
            for parameter in net.parameters():
                nn.init.normal_(parameter, std=0.3)
        return net.double().eval()

    @cached_property
    def state(self):
        return self.model().state_dict()

    @property
    def modules(self):
        return find_modules(self.model(), num_classes=3)


class Data:
    def __init__(self, labels):
        generator = torch.Generator().manual_seed(1)
        x = torch.randn(90, 3, 8, 8, generator=generator, dtype=torch.float64)
        self.train, self.test = (
            Split(inputs=x[part], labels=labels[part], ids=()) for part in (slice(40), slice(40, None))
        )


SUBJECTS = {f"epoch {epoch}": Subject(epoch, draw) for epoch, draw in ((0, 0), (3, 3), (5, 5))}
SUBJECTS["fresh draw"] = Subject(0, 9)


def accuracy(members, to, split, final=5):
    """Of a copy of the network of a draw with modules put back to another draw."""
    net = copy.deepcopy(Subject(0, final).model())
    for name in members:
        getattr(net, name).load_state_dict(getattr(Subject(0, to).model(), name).state_dict())
    with torch.no_grad():
        return (net(split.inputs).argmax(1) == split.labels).double().mean().item()


@pytest.fixture(scope="module")
def data():
    # labels that the final network gets mostly right, so that drops are drops
    plain = Data(torch.zeros(90, dtype=torch.int64))
    x = torch.cat([plain.train.inputs, plain.test.inputs])
    with torch.no_grad():
        labels = SUBJECTS["epoch 5"].model()(x).argmax(1)
    labels[::7] = (labels[::7] + 1) % 3
    return Data(labels)


@pytest.fixture(scope="module")
def tables(data):
    rows = criticality.measure(SUBJECTS, data, SETTINGS, torch.Generator().manual_seed(0))
    return {name: pl.DataFrame(found, infer_schema_length=None) for name, found in rows.items()}


def test_rewinding(tables, data):
    table = tables["criticality_rewinding"]
    assert len(table) == 2 * 2 * len(MODULES)
    for row in table.iter_rows(named=True):
        members = MODULES[: row["depth"] + 1] if row["together"] else (row["module"],)
        draw = {"init": 0, "fresh draw": 9}[row["to"]]
        for split, examples in (("train", data.train), ("test", data.test)):
            expected = accuracy(members, draw, examples)
            assert row[f"{split}_metric"] == pytest.approx(expected, abs=1e-12)
            drop = accuracy((), 0, examples) - expected
            assert row[f"{split}_drop"] == pytest.approx(drop, abs=1e-12)
        assert (row["n_train"], row["n_test"]) == (40, 50)
        assert row["test_drop_low"] <= row["test_drop"] <= row["test_drop_high"]
    assert table["test_drop"].max() > 0.2


def test_the_first_table_says_the_same(tables, data):
    table, rewinding = tables["criticality"], tables["criticality_rewinding"].filter(to="init")
    assert table["module"].to_list() == list(MODULES)
    assert table["depth"].to_list() == [0, 1, 2, 3]
    assert table["is_head"].to_list() == [False, False, False, True]
    alone, together = (rewinding.filter(together=value) for value in (False, True))
    for column in ("train_drop", "train_rise_loss", "test_drop", "test_drop_low", "test_drop_high"):
        assert table[column].to_list() == alone[column].to_list()
    assert table["test_drop_cumulative"].to_list() == together["test_drop"].to_list()
    assert table["test_metric"].unique().to_list() == [accuracy((), 0, data.test)]
    sizes = [sum(p.numel() for p in getattr(Subject(0, 0).model(), name).parameters()) for name in MODULES]
    assert table["num_parameters"].to_list() == sizes


def test_epochs(tables, data):
    some = data.test.first(30)
    path, training = tables["criticality_path"], tables["criticality_training"]
    assert path["epoch"].unique(maintain_order=True).to_list() == [0, 3]
    assert training["epoch"].unique(maintain_order=True).to_list() == [3, 5]
    for row in path.iter_rows(named=True):
        expected = accuracy((row["module"],), row["epoch"], some)
        assert (row["test_metric"], row["n_test"]) == (pytest.approx(expected, abs=1e-12), 30)
    for row in training.iter_rows(named=True):
        final = row["epoch"]
        expected = accuracy((), 0, some, final) - accuracy((row["module"],), 0, some, final)
        assert (row["test_drop"], row["epochs"]) == (pytest.approx(expected, abs=1e-12), 5)


def test_maps(tables, data):
    cells = tables["criticality_map"]
    assert len(cells) == len(MODULES) * 2 * 3 * 4
    for split, examples in (("train", data.train), ("test", data.test)):
        at_final = cells.filter((pl.col("split") == split) & (pl.col("alpha") == 1) & (pl.col("sigma") == 0))
        assert at_final["metric"].to_list() == pytest.approx([accuracy((), 0, examples.first(20))] * 8)
        at_init = cells.filter(
            (pl.col("split") == split) & (pl.col("alpha") == 0) & (pl.col("sigma") == 0), scale="absolute"
        )
        expected = [accuracy((name,), 0, examples.first(20)) for name in MODULES]
        assert at_init["metric"].to_list() == pytest.approx(expected, abs=1e-12)
    assert cells["n"].unique().to_list() == [20]
    (network,) = tables["criticality_network"].iter_rows(named=True)
    assert network["mu"] == pytest.approx(math.fsum(tables["criticality"]["mu"]))
    assert network["epsilon"] == pytest.approx(network["train_loss"] * 2)


def test_sets(tables, data):
    sets = tables["criticality_freezing"]
    assert not sets["modules"].str.contains("head").any()
    assert sets.filter(chosen=True)["order"].to_list() == ["bottom up", "greedy"]
    for row in sets.iter_rows(named=True):
        members = () if row["modules"] == "none" else tuple(row["modules"].split(", "))
        for split, examples in (("train", data.train), ("test", data.test)):
            drop = accuracy((), 0, examples) - accuracy(members, 0, examples)
            assert row[f"{split}_drop"] == pytest.approx(drop, abs=1e-12)
        assert row["acceptable"] == (row["train_drop"] <= 0.05 + 1e-9)


def test_without_a_second_seed_there_is_no_fresh_draw(data):
    subjects = {role: subject for role, subject in SUBJECTS.items() if role != "fresh draw"}
    rows = criticality.measure(subjects, data, SETTINGS, torch.Generator().manual_seed(0))
    assert {row["to"] for row in rows["criticality_rewinding"]} == {"init"}


def test_the_same_generator_gives_the_same_rows(tables, data):
    rows = criticality.measure(SUBJECTS, data, SETTINGS, torch.Generator().manual_seed(0))
    for name, table in tables.items():
        assert table.equals(pl.DataFrame(list(rows[name]), infer_schema_length=None)), name


def test_drops_without_a_group_of_images_are_those_of_the_others(tables, data):
    whole, some = data.test, data.test.first(30)
    for row in tables["criticality_images"].iter_rows(named=True):
        fewer = others(whole, row["without_group"])
        expected = accuracy((), 0, fewer) - accuracy((row["module"],), 0, fewer)
        assert row["test_drop"] == pytest.approx(expected, abs=1e-12)
    assert len(tables["criticality_images"]) == 20 * len(MODULES)
    course = tables["criticality_training_images"]
    assert course["epoch"].unique(maintain_order=True).to_list() == [3, 5]
    for row in course.filter(pl.col("without_group").is_in([0, 13])).iter_rows(named=True):
        fewer, final = others(some, row["without_group"]), row["epoch"]
        drops = [
            accuracy((), 0, fewer, final) - accuracy((name,), 0, fewer, final) for name in list(MODULES)[:-1]
        ]
        assert row["test_drop"] == pytest.approx(sum(drops) / len(drops), abs=1e-12)


def others(split, group):
    """The images of the other groups."""
    kept = torch.arange(len(split.labels)) % 20 != group
    return Split(inputs=split.inputs[kept], labels=split.labels[kept], ids=())
