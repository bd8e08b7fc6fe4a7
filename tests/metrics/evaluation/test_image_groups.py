"""Scores without one group of images, against scores of the images that are left; the variance that they give."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.evaluate import Evaluation
from transferscope.metrics.evaluation.image_groups import (
    NUM_GROUPS,
    image_groups,
    means_without,
    metric_without,
    scores_without,
)
from transferscope.metrics.evaluation.scores import auc_per_finding, per_example_loss, score


def network(n: int, *, multi_label: bool, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits that are right more often than by chance, many of them equal; labels."""
    generator = torch.Generator().manual_seed(seed)
    if multi_label:
        labels = (torch.rand(n, 3, generator=generator) < 0.4).float()
        truth = labels
    else:
        labels = torch.randint(3, (n,), generator=generator)
        truth = torch.nn.functional.one_hot(labels, 3).float()
    return (truth + 1.5 * torch.randn(n, 3, generator=generator)).mul(4).round(), labels


@pytest.mark.parametrize("multi_label", [False, True], ids=["single", "multi"])
@pytest.mark.parametrize("n", [1, 2, 19, 20, 47, 300])
def test_each_is_the_score_of_the_images_that_are_left(n: int, multi_label: bool) -> None:
    logits, labels = network(n, multi_label=multi_label)
    groups = image_groups(n)
    assert groups.tolist() == [i % NUM_GROUPS for i in range(n)]
    found = scores_without(logits, labels, groups)
    for group in range(NUM_GROUPS):
        kept = groups != group
        if multi_label and n > 1:
            known = labels.amin(0) != labels.amax(0)
            expected = float(auc_per_finding(logits[kept], labels[kept])[known].mean())
        else:
            expected = score(logits[kept], labels[kept])
        assert float(found[group]) == pytest.approx(expected, abs=1e-12, nan_ok=True), group


def test_a_label_that_is_lost_with_a_group_gives_no_number() -> None:
    logits, labels = network(100, multi_label=True)
    labels[:, 2] = 0
    assert scores_without(logits, labels, image_groups(100))[0] == pytest.approx(
        score(logits[1:], labels[1:]), abs=0.05
    )
    labels[7, 2] = 1
    found = scores_without(logits, labels, image_groups(100))
    assert found.isnan().nonzero().flatten().tolist() == [7]


def test_images_of_a_cluster_stay_together_and_the_first_images_have_the_same_groups() -> None:
    rng = np.random.default_rng(0)
    clusters = [f"patient {number}" for number in rng.integers(40, size=200)]
    groups = image_groups(200, clusters)
    by_cluster = {
        name: {int(g) for g, own in zip(groups, clusters, strict=True) if own == name} for name in clusters
    }
    assert all(len(own) == 1 for own in by_cluster.values())
    assert torch.bincount(groups, minlength=NUM_GROUPS).min() > 0
    assert image_groups(50, clusters[:50]).tolist() == groups[:50].tolist()
    with pytest.raises(BadInput, match="3 for 4 images"):
        image_groups(4, clusters[:3])


def test_logits_that_cannot_be_ranked_have_no_score() -> None:
    for multi_label in (False, True):
        logits, labels = network(40, multi_label=multi_label)
        logits[3, 1] = math.nan
        assert scores_without(logits, labels, image_groups(40)).isnan().all()


@pytest.mark.parametrize("multi_label", [False, True], ids=["single", "multi"])
def test_an_evaluation_gives_the_same(multi_label: bool) -> None:
    logits, labels = network(60, multi_label=multi_label)
    right = (logits.argmax(1) == labels).double() if not multi_label else None
    evaluation = Evaluation(
        losses=per_example_loss(logits, labels),
        correct=right,
        logits=logits if multi_label else None,
        labels=labels,
    )
    groups = image_groups(60)
    assert torch.equal(metric_without(evaluation, groups), scores_without(logits, labels, groups))


def variance(without: Tensor) -> float:
    """The V of the module's docstring."""
    return (NUM_GROUPS - 1) / NUM_GROUPS * float((without - without.mean()).square().sum())


@pytest.mark.parametrize("n", [10, 20, 25, 400])
def test_the_variance_of_a_difference_is_that_of_other_images(n: int) -> None:
    """Two networks on the same images: their errors are correlated, and V is that of the paired difference."""
    rng = np.random.default_rng(1)
    draws = 400
    hard = rng.random((draws, n, 1)) < 0.3
    right = torch.from_numpy(
        np.where(hard, rng.random((draws, n, 2)) < 0.3, rng.random((draws, n, 2)) < [0.95, 0.9])
    )
    without = means_without(right.double().movedim(-1, 1), image_groups(n))
    found = [variance(own[0] - own[1]) for own in without]
    difference = right[..., 0].double() - right[..., 1].double()
    true = float(difference.var()) / n
    # the mean of 400 estimates, each good to sqrt(2 / 19) or worse, and the factor for fewer than 20 images
    assert 0.85 * true < np.mean(found) < 1.15 * true * n / (n - 1)


def test_clusters_widen_the_variance() -> None:
    rng = np.random.default_rng(2)
    draws, patients, images = 300, 40, 5
    skill = rng.random((draws, patients, 1)) < 0.6
    right = torch.from_numpy(
        np.broadcast_to(skill, (draws, patients, images)).reshape(draws, -1).astype(float).copy()
    )
    names = [str(i // images) for i in range(patients * images)]
    apart, together = (
        np.mean([variance(own) for own in means_without(right, groups)])
        for groups in (image_groups(len(names)), image_groups(len(names), names))
    )
    assert together == pytest.approx(0.24 / patients, rel=0.15)
    assert apart < together / 3
