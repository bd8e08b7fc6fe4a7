"""Difficulty judged by other models against a loop over the decisions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.errors import BadInput
from transferscope.metrics.difficulty import judged_difficulty


def literal(where, judges):
    shares = []
    for group in judges.values():
        hits = [float(judge[place]) for judge in group for place in where]
        shares.append(sum(hits) / len(hits) if hits else math.nan)
    return shares, sum(shares) / len(shares)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from([(1,), (40,), (15, 3)]))
def test_against_a_loop(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    a, b, *others = (torch.rand(7, *shape, generator=generator) < 0.4).unbind()
    judges = {"near": others[:2], "far": others[2:]}
    found = judged_difficulty(a, b, judges)
    assert [one.wrong for one in found] == ["only a", "only b", "both"]
    flat = {group: [own.flatten() for own in members] for group, members in judges.items()}
    for one, where in zip(found, (a & ~b, b & ~a, a & b), strict=True):
        places = where.flatten().nonzero()[:, 0].tolist()
        shares, mean = literal(places, flat)
        assert one.n == len(places)
        assert list(one.judged_wrong.values()) == pytest.approx(shares, abs=1e-12, nan_ok=True)
        assert one.difficulty == pytest.approx(mean, abs=1e-12, nan_ok=True)


def test_a_group_without_judges_is_nan():
    a = torch.tensor([True, False])
    (only_a, _, _) = judged_difficulty(a, ~a, {"near": [a], "far": []})
    assert only_a.judged_wrong["near"] == 1
    assert math.isnan(only_a.judged_wrong["far"])
    assert math.isnan(only_a.difficulty)


def test_other_decisions():
    a = torch.tensor([True, False])
    with pytest.raises(BadInput, match="same decisions"):
        judged_difficulty(a, a, {"near": [torch.tensor([True])]})
