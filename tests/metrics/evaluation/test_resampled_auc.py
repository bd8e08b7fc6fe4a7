"""The fast AUC of resamples against the plain one, bit for bit, and scikit-learn on the resamples themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation import resampled_auc as module
from transferscope.metrics.evaluation.resampled_auc import resampled_auc
from transferscope.metrics.evaluation.scores import auc_per_finding


def sample(seed, n, decimals=None, draws=7):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, 3, generator=generator)
    labels = (torch.rand(n, 3, generator=generator) < torch.tensor([0.1, 0.5, 0.8])).float()
    drawn = torch.randint(n, (draws, n), generator=generator)
    counts = torch.zeros(draws, n, dtype=torch.int64).scatter_add_(1, drawn, torch.ones_like(drawn))
    return logits if decimals is None else logits.round(decimals=decimals), labels, counts


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 80), decimals=st.sampled_from([None, 0, 1]))
def test_the_same_bits_as_the_slow_twin(seed, n, decimals):
    logits, labels, counts = sample(seed, n, decimals)
    found = resampled_auc(logits, labels, counts)
    assert found.dtype == torch.float64
    assert torch.equal(found.nan_to_num(nan=-1), auc_per_finding(logits, labels, counts).nan_to_num(nan=-1))


@pytest.mark.parametrize("decimals", [None, 1])
def test_many_examples_are_as_exact(decimals):
    """Where float32 is no longer exact: twice the product of the classes beyond 2^24."""
    logits, labels, counts = sample(0, 20_001, decimals, draws=3)
    assert torch.equal(resampled_auc(logits, labels, counts), auc_per_finding(logits, labels, counts))


def test_float32_is_left_before_it_rounds(monkeypatch):
    logits, labels, counts = sample(0, 20_001, draws=3)
    expected = auc_per_finding(logits, labels, counts)
    monkeypatch.setattr(module, "EXACT_IN_FLOAT32", 2**60)
    assert not torch.equal(resampled_auc(logits, labels, counts), expected)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_resamples_one_at_a_time(seed):
    logits, labels, counts = sample(seed, 60, decimals=1)
    found = resampled_auc(logits, labels, counts)
    for draw, row in enumerate(counts):
        index = torch.repeat_interleave(torch.arange(60), row)
        for k in range(3):
            y = labels[index, k].numpy()
            if 0 < y.sum() < 60:
                assert found[draw, k].item() == pytest.approx(
                    roc_auc_score(y, logits[index, k].numpy()), abs=1e-12
                )
            else:
                assert found[draw, k].isnan()


def test_what_cannot_be_ranked_is_nan():
    logits, labels, counts = sample(0, 20)
    logits[3, 1] = torch.nan
    assert resampled_auc(logits, labels, counts).isnan().all()


def test_bad_input():
    logits, labels, counts = sample(0, 20)
    with pytest.raises(BadInput, match="labels"):
        resampled_auc(logits, labels / 2, counts)
    with pytest.raises(BadInput, match="counts"):
        resampled_auc(logits, labels, counts[:, 1:])
