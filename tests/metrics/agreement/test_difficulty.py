"""Difficulty judged by other models against a loop over the decisions."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.difficulty import judged_difficulty


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), shape=st.sampled_from([(1,), (40,), (15, 3)]))
def test_against_a_loop(seed, shape):
    generator = torch.Generator().manual_seed(seed)
    a, b, *others = (torch.rand(5, *shape, generator=generator) < 0.4).unbind()
    judges = dict(zip("xyz", others, strict=True))
    found = judged_difficulty(a, b, judges)
    assert [one.wrong for one in found] == ["only a", "only b", "both"]
    for one, where in zip(found, (a & ~b, b & ~a, a & b), strict=True):
        places = where.flatten().nonzero()[:, 0].tolist()
        assert one.n == len(places)
        for name, judge in judges.items():
            hits = [bool(judge.flatten()[place]) for place in places]
            share = sum(hits) / len(hits) if hits else math.nan
            assert one.judged_wrong[name] == pytest.approx(share, abs=1e-12, nan_ok=True)


def test_other_decisions():
    a = torch.tensor([True, False])
    with pytest.raises(BadInput, match="same decisions"):
        judged_difficulty(a, a, {"x": torch.tensor([True])})
