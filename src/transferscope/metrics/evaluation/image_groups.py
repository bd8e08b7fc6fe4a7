"""Scores without one group of test images at a time: what a delete-a-group jackknife over images needs.

The statistic T of a study is computed again from the scores without group g, for each of J = 20 groups. With T_g these
values, the variance of T that other test images would cause is about

    V = (J - 1) / J * sum over g of (T_g - mean of all T_g)^2

(Kott, "The delete-a-group jackknife", Journal of Official Statistics 17, 2001). The groups are the same for all
networks of a target, so that V contains how much the networks err on the same images.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.evaluate import Evaluation
from transferscope.metrics.evaluation.resampled_auc import resampled_auc
from transferscope.metrics.evaluation.scores import check_labels, is_correct, is_multi_label, unranked

NUM_GROUPS = 20
"""Number of groups. With fewer images, the rest of the groups is empty, and the score without an empty group is that of
all images: so the statistic of several targets can be computed without group g whatever their numbers of images, and V
is too large by at most the factor n / (n - 1)."""


def image_groups(count: int, clusters: Sequence[Hashable] | None = None) -> Tensor:
    """The group of each test image: image i is in group i mod 20.

    Images of one cluster, such as a patient, are in one group: of the clusters, in the order of their first images, the
    i-th is in group i mod 20. The first images of a data set are in the same groups as in the whole data set.

    Args:
        count: number of images, in the order of the data set.
        clusters: (count,) what each image belongs to; default: each image is a cluster of its own.

    Returns:
        (count,) int64, from 0 to 19.

    Raises:
        BadInput: another number of clusters than of images.

    >>> image_groups(23).tolist()[-4:], image_groups(4, ["patient 1", "patient 2", "patient 1", "patient 3"]).tolist()
    ([19, 0, 1, 2], [0, 1, 0, 2])
    """
    if clusters is None:
        return torch.arange(count) % NUM_GROUPS
    if len(clusters) != count:
        raise BadInput(f"Expected the cluster of each image, got {len(clusters)} for {count} images.")
    places: dict[Hashable, int] = {}
    return torch.tensor([places.setdefault(name, len(places)) for name in clusters]).long() % NUM_GROUPS


def means_without(values: Tensor, groups: Tensor) -> Tensor:
    """The mean over the images without each group.

    Args:
        values: (..., n) one number per image.
        groups: (n,) from `image_groups`.

    Returns:
        (..., 20) float64 on the CPU; NaN if a value is NaN, or if no image is left.

    >>> means_without(torch.tensor([1.0, 0.0, 0.0]), image_groups(3))[:4].tolist()
    [0.0, 0.5, 0.5, 0.3333333333333333]
    """
    return sums_without(values, groups) / (1 - _members(groups)).sum(0)


def sums_without(values: Tensor, groups: Tensor) -> Tensor:
    """(..., 20) float64: the sum of (..., n) values over the images without each group."""
    # sums of the groups first: whether images are right are whole numbers, whose sums are exact in any order
    sums = values.double().cpu() @ _members(groups)
    return sums.sum(-1, keepdim=True) - sums


def scores_without(logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
    """The score of a network without each group of images: accuracy, or mean AUC for multi-label data.

    The mean AUC is always over the same labels, those that have both classes among all images.

    Args:
        logits: (n, k).
        labels: (n,) int64 class indices, or (n, k) float of 0 and 1.
        groups: (n,) from `image_groups`.

    Returns:
        (20,) float64 on the CPU. NaN if `score` of all images is NaN; without a group that leaves no image; for
        multi-label data without a group that contains all positives or all negatives of a label.

    Raises:
        BadInput: as `score`.

    >>> logits = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])
    >>> scores_without(logits, torch.tensor([0, 1, 1]), image_groups(3))[:4].tolist()
    [0.5, 0.5, 1.0, 0.6666666666666666]
    """
    check_labels(logits, labels)
    if not is_multi_label(labels):
        right = is_correct(logits, labels).double().masked_fill(unranked(logits), math.nan)
        return means_without(right, groups)
    logits, labels = logits.cpu(), labels.cpu()
    known = labels.amin(0) != labels.amax(0) if len(labels) else labels.new_zeros(labels.shape[1]).bool()
    if not known.any() or unranked(logits).any():
        return torch.full((NUM_GROUPS,), math.nan, dtype=torch.float64)
    return resampled_auc(logits[:, known], labels[:, known], 1 - _members(groups).T).mean(1)


def metric_without(evaluation: Evaluation, groups: Tensor) -> Tensor:
    """(20,) `scores_without` of a network that was evaluated."""
    if evaluation.correct is not None:
        return means_without(evaluation.correct, groups)
    if evaluation.logits is None:
        return torch.full((NUM_GROUPS,), math.nan, dtype=torch.float64)
    return scores_without(evaluation.logits, evaluation.labels, groups)


def _members(groups: Tensor) -> Tensor:
    """(n, 20) float64: 1 where an image is in a group."""
    return torch.nn.functional.one_hot(groups.cpu(), NUM_GROUPS).double()
