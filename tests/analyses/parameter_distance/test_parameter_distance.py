"""The analysis of distances: what each instance is compared with, the head apart, no direction without a move."""

from __future__ import annotations

import math
from typing import Any

import polars as pl
import pytest
import torch
from fake_subjects import FakeSubject
from torch import Tensor

from transferscope.analyses.parameter_distance import analysis as parameter_distance
from transferscope.core.instances import PAIR_KINDS

MODULES = {"stem.w": (3, 2), "stem.b": (3,), "stage1.w": (4, 3), "head.w": (2, 4)}


def state(seed: int, **kept: Tensor) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in MODULES.items()}
    return {name: kept.get(name.replace(".", "_"), tensor) for name, tensor in drawn.items()}


@pytest.fixture
def states() -> dict[str, dict[str, Tensor]]:
    """Two seeds; all P share their body."""
    body = {name.replace(".", "_"): tensor for name, tensor in state(0).items() if "head" not in name}
    return {
        "P-T 0": state(1),
        "P-T 1": state(2),
        "RI-T 0": state(3),
        "RI-T 1": state(4),
        "RI-T 1 from init 0": state(5),
        "RI 0": state(6),
        "RI 1": state(7),
        "P 0": state(8, **body),
        "P 1": state(9, **body),
    }


def measure(states: dict[str, dict[str, Tensor]]) -> pl.DataFrame:
    subjects: Any = {name: FakeSubject(torch.empty(0), [], state=tensors) for name, tensors in states.items()}
    found = parameter_distance.measure(subjects, None, parameter_distance.Settings(), torch.Generator())  # type: ignore[arg-type]
    return pl.DataFrame(found["parameter_distance"], infer_schema_length=None)


def flat(tensors: dict[str, Tensor], module: str) -> Tensor:
    names = [name for name in MODULES if name.startswith(module) or (module == "all" and "head" not in name)]
    return torch.cat([tensors[name].double().flatten() for name in names])


INITS = {"P-T 0": "P 0", "P-T 1": "P 1", "RI-T 0": "RI 0", "RI-T 1": "RI 1", "RI-T 1 from init 0": "RI 0"}


def test_every_pair_every_module_against_literals(states: dict[str, dict[str, Tensor]]) -> None:
    table = measure(states)
    assert table["pair"].unique(maintain_order=True).to_list() == list(PAIR_KINDS)
    rows = table.filter(pl.col("pair") == "P-T & P-T")
    assert rows["module"].to_list() == ["all", "stem", "stage1", "head"]
    assert rows["depth"].to_list() == [None, 0, 1, 2]
    assert rows["is_head"].to_list() == [False, False, False, True]
    for row in table.iter_rows(named=True):
        module = row["module"]
        b_name = INITS[row["a"]] if row["b"] == "P" else row["b"]
        a, b = flat(states[row["a"]], module), flat(states[b_name], module)
        assert row["distance"] == pytest.approx((a - b).norm().item(), rel=1e-12)
        assert row["relative"] == pytest.approx(((a - b).norm() / a.norm()).item(), rel=1e-12)
        assert row["num_parameters"] == len(a)
        if row["b"] in INITS:
            moved = [x - flat(states[INITS[row[i]]], module) for x, i in ((a, "a"), (b, "b"))]
            lengths = [float(update.norm()) for update in moved]
            assert (row["travelled_a"], row["travelled_b"]) == pytest.approx(lengths, rel=1e-12)
            expected = row["distance"] / (sum(lengths) / 2)
            assert row["relative_to_travelled"] == pytest.approx(expected, rel=1e-12)
            cosine = torch.dot(*moved) / lengths[0] / lengths[1]
            assert row["cosine"] == pytest.approx(cosine.item(), abs=1e-12)
        else:
            for column in ("travelled_a", "travelled_b", "relative_to_travelled", "cosine"):
                assert row[column] is None


def test_a_module_that_did_not_move_has_no_direction(states: dict[str, dict[str, Tensor]]) -> None:
    for name in ("P-T 0", "P-T 1"):
        states[name]["stage1.w"] = states["P 0"]["stage1.w"]
    row = measure(states).row(
        by_predicate=(pl.col("pair") == "P-T & P-T") & (pl.col("depth") == 1), named=True
    )
    assert row["distance"] == row["travelled_a"] == 0
    assert math.isnan(row["cosine"])
    assert math.isnan(row["relative_to_travelled"])
