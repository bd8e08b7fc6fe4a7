"""Mixed and smoothed labels against PyTorch's own soft targets, and a literal sum, in float64."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.scores import per_example_loss
from transferscope.train.targets import drawn_mix, mixed_loss, soft_targets

N, K = 13, 5


def drawn() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(N, K, generator=generator, dtype=torch.float64)
    labels, others = (torch.randint(K, (N,), generator=generator) for _ in range(2))
    return logits, labels, others


@pytest.mark.parametrize("smoothing", [0.05, 0.1, 0.9])
def test_smoothing_is_that_of_cross_entropy(smoothing: float) -> None:
    logits, labels, others = drawn()
    found = mixed_loss(logits, labels, others, weight=1.0, smoothing=smoothing)
    expected = F.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_mixed_labels_are_soft_targets(weight: float, smoothing: float) -> None:
    logits, labels, others = drawn()
    found = mixed_loss(logits, labels, others, weight=weight, smoothing=smoothing)
    literal = []
    for row in range(N):
        target = [smoothing / K] * K
        target[labels[row]] += (1 - smoothing) * weight
        target[others[row]] += (1 - smoothing) * (1 - weight)
        log_sum = math.log(sum(math.exp(logit) for logit in logits[row].tolist()))
        literal.append(-sum(t * (z - log_sum) for t, z in zip(target, logits[row].tolist(), strict=True)))
    assert found.tolist() == pytest.approx(literal, abs=1e-12)
    soft = weight * F.one_hot(labels, K).double() + (1 - weight) * F.one_hot(others, K).double()
    torchs = F.cross_entropy(logits, soft, label_smoothing=smoothing, reduction="none")
    assert torch.allclose(found, torchs, rtol=0, atol=1e-12)


def test_several_labels_mix_linearly_too() -> None:
    logits = drawn()[0]
    generator = torch.Generator().manual_seed(1)
    labels, others = ((torch.rand(N, K, generator=generator) < 0.5).float() for _ in range(2))
    found = mixed_loss(logits, labels, others, weight=0.7, smoothing=0.0)
    expected = 0.7 * per_example_loss(logits, labels) + 0.3 * per_example_loss(logits, others)
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


def test_labels_as_they_are_have_the_loss_that_is_measured_everywhere() -> None:
    logits, labels, others = drawn()
    assert torch.equal(
        mixed_loss(logits, labels, others, weight=1.0, smoothing=0.0), per_example_loss(logits, labels)
    )


def test_several_labels_are_not_smoothed() -> None:
    with pytest.raises(BadInput, match="label_smoothing is for single labels"):
        soft_targets(torch.ones(3, 2), 2, 0.1)


@pytest.mark.parametrize("alpha", [0.2, 0.7, 2.0])
def test_weights_are_drawn_from_the_beta_distribution(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [drawn_mix(2, alpha, generator).weight for _ in range(2000)]
    assert stats.kstest(weights, stats.beta(alpha, alpha).cdf).pvalue > 0.01


def test_partners_are_a_permutation_from_the_generator() -> None:
    one, two = (drawn_mix(20, 0.7, torch.Generator().manual_seed(3)) for _ in range(2))
    assert sorted(one.partner.tolist()) == list(range(20))
    assert (one.weight, one.partner.tolist()) == (two.weight, two.partner.tolist())
