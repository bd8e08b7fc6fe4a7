"""Error consistency of all pairs against `mistakes`, which counts one pair at a time, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.error_consistency import error_consistency
from transferscope.metrics.agreement.mistakes import mistakes


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 60), num_models=st.integers(2, 5))
def test_same_numbers_as_mistakes(seed: int, n: int, num_models: int) -> None:
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(4, (n,), generator=source)
    predictions = {str(i): torch.randint(4, (n,), generator=source) for i in range(num_models)}
    found = error_consistency(predictions, labels)
    expected = mistakes(predictions, labels, bootstrap=0).filter(scope="all")
    for column in found.columns:
        a, b = found[column].to_list(), expected[column].to_list()
        assert a == b or np.array_equal(a, b, equal_nan=True), column


def test_literal_kappa() -> None:
    source = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (200,), generator=source)
    predictions = {name: torch.randint(3, (200,), generator=source) for name in "ab"}
    right = {name: (own == labels).double() for name, own in predictions.items()}
    p, q = right["a"].mean(), right["b"].mean()
    observed = (right["a"] == right["b"]).double().mean()
    expected = p * q + (1 - p) * (1 - q)
    kappa = (observed - expected) / (1 - expected)
    assert error_consistency(predictions, labels)["kappa"][0] == pytest.approx(float(kappa), abs=1e-12)


def classes(n: int) -> torch.Tensor:
    return torch.zeros(n, dtype=torch.int64)


@pytest.mark.parametrize(
    ("predictions", "labels"),
    [
        ({"a": classes(3)}, classes(3)),
        ({"a": classes(3), "b": classes(4)}, classes(3)),
        ({"a": torch.zeros(3, 2), "b": torch.zeros(3, 2)}, torch.zeros(3, 2)),
        ({"a": classes(0), "b": classes(0)}, classes(0)),
    ],
)
def test_what_does_not_go_together_is_refused(predictions: dict, labels: torch.Tensor) -> None:
    with pytest.raises(BadInput, match="at least two models"):
        error_consistency(predictions, labels)
