"""Scores on resampled test images, one resample at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.score_interval import percentile_interval, resampled_scores
from transferscope.metrics.evaluation.scores import score
from transferscope.metrics.statistics.intervals import resampling_weights

DRAWS = 40


def drawn(n: int, seed: int) -> list[np.ndarray]:
    """The images of each resample, as a list of indices."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.cat(list(resampling_weights(n, DRAWS, generator)))
    return [np.repeat(np.arange(n), (row * n).round().int().numpy()) for row in weights]


def replicates(networks: dict[str, Tensor], labels: Tensor, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return resampled_scores(networks, labels, draws=DRAWS, generator=generator)


@pytest.mark.parametrize("n", [7, 60])
def test_accuracy_on_each_resample(n: int) -> None:
    generator = torch.Generator().manual_seed(n)
    labels = torch.randint(3, (n,), generator=generator)
    networks = {name: torch.randn(n, 3, generator=generator) for name in ("a", "b", "c")}
    ours = replicates(networks, labels, seed=n)
    for name, logits in networks.items():
        predicted = logits.argmax(1).numpy()
        literal = [accuracy_score(labels.numpy()[images], predicted[images]) for images in drawn(n, n)]
        np.testing.assert_allclose(ours[name].numpy(), literal, rtol=0, atol=1e-12)


def test_mean_auc_on_each_resample() -> None:
    generator = torch.Generator().manual_seed(1)
    labels = (torch.rand(50, 2, generator=generator) < 0.5).float()
    logits = torch.randn(50, 2, generator=generator).round(decimals=1)
    ours = replicates({"a": logits}, labels, seed=3)["a"]
    literal = [roc_auc_score(labels.numpy()[images], logits.numpy()[images]) for images in drawn(50, 3)]
    np.testing.assert_allclose(ours.numpy(), literal, rtol=0, atol=1e-12)


def test_a_finding_with_one_class_has_no_say() -> None:
    """As in the score: the mean over the findings that have both classes, on every resample."""
    generator = torch.Generator().manual_seed(4)
    labels = (torch.rand(60, 3, generator=generator) < 0.5).float()
    labels[:, 1] = 1
    logits = torch.randn(60, 3, generator=generator)
    ours = replicates({"a": logits}, labels)["a"]
    kept = [0, 2]
    assert torch.equal(ours, replicates({"a": logits[:, kept]}, labels[:, kept])["a"])
    none = replicates({"a": logits}, torch.ones_like(labels))["a"]
    assert none.isnan().all()
    interval = percentile_interval(score(logits, torch.ones_like(labels)), none, n=60)
    assert all(math.isnan(x) for x in (interval.estimate, interval.low, interval.high))


def test_a_resample_that_lost_a_class_has_no_number() -> None:
    """One positive in 30: a third of the resamples have none; the mean over the other findings is another number."""
    generator = torch.Generator().manual_seed(5)
    labels = (torch.rand(30, 2, generator=generator) < 0.5).float()
    labels[:, 1] = 0
    labels[7, 1] = 1
    logits = torch.randn(30, 2, generator=generator)
    ours = replicates({"a": logits}, labels)["a"].numpy()
    lost = np.array([7 not in images for images in drawn(30, 0)])
    assert 5 < lost.sum() < 25
    np.testing.assert_array_equal(np.isnan(ours), lost)
    literal = [
        np.nan if gone else roc_auc_score(labels.numpy()[images], logits.numpy()[images])
        for gone, images in zip(lost, drawn(30, 0), strict=True)
    ]
    np.testing.assert_allclose(ours, literal, rtol=0, atol=1e-12)
    assert math.isnan(percentile_interval(score(logits, labels), torch.from_numpy(ours), n=30).low)


def test_equal_logits_have_a_score_by_convention_and_no_interval() -> None:
    labels = (torch.arange(40)[:, None] % torch.tensor([2, 3]) == 0).float()
    same = torch.tensor([0.3, -2.0]).expand(40, 2)
    assert score(same, labels) == 0.5  # ties count half, as in scikit-learn
    ours = replicates({"same": same, "fine": labels + 0.0}, labels)
    assert ours["same"].isnan().all()
    assert (ours["fine"] == 1).all()
    # what is computed from it has none either
    interval = percentile_interval(0.5, ours["fine"] - ours["same"], n=40)
    assert math.isnan(interval.low)
    # one finding that is ranked is enough: the other adds a constant half
    half = torch.stack([labels[:, 0], torch.zeros(40)], 1)
    assert (replicates({"half": half}, labels)["half"] == 0.75).all()


def test_networks_are_seen_on_the_same_resamples() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (80,), generator=generator)
    logits = torch.randn(80, 4, generator=generator)
    ours = replicates({"one": logits, "same": 2 * logits}, labels)
    assert torch.equal(ours["one"], ours["same"])
    alone = replicates({"same": 2 * logits}, labels)
    assert torch.equal(alone["same"], ours["same"])


def test_a_network_that_gives_no_number_has_none() -> None:
    labels = torch.tensor([0, 1, 1])
    broken = torch.tensor([[0.0, 1.0], [math.nan, 1.0], [1.0, 0.0]])
    ours = replicates({"broken": broken, "fine": torch.zeros(3, 2)}, labels)
    assert ours["broken"].isnan().all()
    assert ours["fine"].isfinite().all()
    assert replicates({"a": torch.zeros(0, 2)}, torch.zeros(0, dtype=torch.int64))["a"].isnan().all()


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(BadInput, match="same examples"):
        replicates({"a": torch.zeros(3, 2)}, torch.zeros(4, dtype=torch.int64))


def test_an_interval_is_where_the_middle_of_the_replicates_lies() -> None:
    numbers = torch.arange(1001.0)
    interval = percentile_interval(400.0, numbers[torch.randperm(1001)], n=5, level=0.9)
    assert (interval.low, interval.high) == pytest.approx((50, 950))
    assert (interval.estimate, interval.n) == (400, 5)
    for estimate, values in ((math.nan, numbers), (1.0, torch.tensor([1.0, math.nan]))):
        nothing = percentile_interval(estimate, values, n=5)
        assert math.isnan(nothing.low)
        assert math.isnan(nothing.high)
