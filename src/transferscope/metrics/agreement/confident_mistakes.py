"""Images that one or both groups of models misclassify, the most confident mistakes first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.arguments import decision_problems, tensor, whole_number


@dataclass(frozen=True, kw_only=True)
class Mistaken:
    """A wrong decision of one or both groups of models."""

    who: str
    """The group that is wrong: first, second or both."""
    rank: int
    """Position in the list; 1 is the most confident mistake."""
    index: int
    """Index of the image."""
    finding: int | None
    """Index of the label in multi-label data; None for single labels."""
    first_label: int
    """The prediction of the first group; in multi-label data 0 (absent) or 1 (present)."""
    first_confidence: float
    """Mean probability of that label over the group's models."""
    second_label: int
    second_confidence: float


def confident_mistakes(
    first: Sequence[Tensor], second: Sequence[Tensor], labels: Tensor, *, count: int
) -> list[Mistaken]:
    """Images that only the first group misclassifies, only the second, and both: at most `count` images each.

    A group is wrong if more than half of its models are wrong, and right if more than half are right; if it is split
    evenly, the decision is omitted. The prediction of a wrong group is the wrong label with the highest mean
    probability over its models; that of a right group is the true label. The mean probability is its confidence. Each
    list is ordered by the confidence of the wrong group (the mean, if both are wrong), and ties by index. In
    multi-label data, only the most confident mistake of each image counts.

    Args:
        first, second: the logits of each model of a group, (n, k).
        labels: (n,) int64 classes, or (n, k) labels of 0 and 1.
        count: maximum number of images in each list.

    Raises:
        BadInput: an empty group, logits that aren't finite, or shapes that don't match.

    >>> import torch
    >>> sure, unsure, right = (torch.tensor([row]) for row in ([9.0, 0, 0], [1.0, 0, 0], [0, 0, 3.0]))
    >>> labels = torch.tensor([2, 2])
    >>> found = confident_mistakes([torch.cat([unsure, sure])], [torch.cat([right, right])], labels, count=2)
    >>> [(one.who, one.index, one.first_label, round(one.second_confidence, 2)) for one in found]
    [('first', 1, 0, 0.91), ('first', 0, 0, 0.91)]
    """
    first, second = (_logits(group, name) for group, name in ((first, "first"), (second, "second")))
    labels, count = tensor(labels, "labels"), whole_number(count, "count", least=0)
    _check(first, second, labels)
    truth = labels.long().cpu().flatten()
    probabilities = [torch.stack([_probabilities(own, labels) for own in group]) for group in (first, second)]
    wrong, right = zip(*(_majority(group, truth) for group in probabilities), strict=True)
    wrong_label, right_label = [_wrong_label(group.mean(0), truth) for group in probabilities], truth
    means = [group.mean(0) for group in probabilities]
    found = []
    for who, where, erring in (
        ("first", wrong[0] & right[1], (0,)),
        ("second", wrong[1] & right[0], (1,)),
        ("both", wrong[0] & wrong[1], (0, 1)),
    ):
        said = [wrong_label[side] if side in erring else right_label for side in (0, 1)]
        confidence = [means[side].gather(1, said[side][:, None])[:, 0] for side in (0, 1)]
        strength = torch.stack([confidence[side] for side in erring]).mean(0)
        per_image = labels.shape[1] if labels.ndim == 2 else 1
        for rank, place in enumerate(_strongest(strength, where, per_image, count), start=1):
            found.append(
                Mistaken(
                    who=who,
                    rank=rank,
                    index=place // per_image,
                    finding=place % per_image if labels.ndim == 2 else None,
                    first_label=int(said[0][place]),
                    first_confidence=float(confidence[0][place]),
                    second_label=int(said[1][place]),
                    second_confidence=float(confidence[1][place]),
                )
            )
    return found


def _probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """(decisions, labels) float64: of the classes of an image, or of the absence and presence of each label."""
    wide = logits.double().cpu()
    if labels.ndim == 1:
        return wide.softmax(1)
    present = wide.flatten()
    return torch.stack([(-present).sigmoid(), present.sigmoid()], 1)


def _majority(probabilities: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Where more than half of (models, decisions, labels) are wrong, and where more than half are right."""
    num_wrong = (probabilities.argmax(2) != truth).sum(0)
    return 2 * num_wrong > len(probabilities), 2 * num_wrong < len(probabilities)


def _wrong_label(mean: Tensor, truth: Tensor) -> Tensor:
    return mean.scatter(1, truth[:, None], -1.0).argmax(1)


def _strongest(strength: Tensor, where: Tensor, per_image: int, count: int) -> list[int]:
    """Places of the highest strength among those that count, at most one an image."""
    chosen: dict[int, int] = {}
    for place in strength.masked_fill(~where, -1.0).argsort(descending=True, stable=True).tolist():
        if not where[place] or len(chosen) == count:
            break
        chosen.setdefault(place // per_image, place)
    return list(chosen.values())


def _logits(group: Sequence[Tensor], name: str) -> list[Tensor]:
    if isinstance(group, Tensor) or not isinstance(group, Sequence):
        raise BadInput(
            f"{name} is a list of logits (n, k), one tensor a model, got a {type(group).__name__}."
        )
    return [tensor(own, f"{name}[{place}]") for place, own in enumerate(group)]


def _check(first: Sequence[Tensor], second: Sequence[Tensor], labels: Tensor) -> None:
    problems = []
    if not labels.ndim:
        raise BadInput("Expected labels (n,) of class indices or (n, k) of 0 and 1, got a single number.")
    single = labels.ndim == 1
    if labels.ndim not in (1, 2) or (single and labels.is_floating_point()):
        problems.append(
            f"Expected labels (n,) of class indices or (n, k) of 0 and 1, got {tuple(labels.shape)} {labels.dtype}."
        )
    else:
        problems += decision_problems(labels, "labels")
    if not first or not second:
        problems.append(f"Both groups need a model, got {len(first)} and {len(second)}.")
    for own in (*first, *second):
        if own.ndim != 2 or len(own) != len(labels) or (labels.ndim == 2 and own.shape != labels.shape):
            problems.append(
                f"Logits have shape {tuple(own.shape)}, the labels {tuple(labels.shape)}; expected (n, k) logits "
                "for (n,) classes or (n, k) findings."
            )
        elif not own.isfinite().all():
            problems.append("Logits hold numbers that aren't finite.")
        elif single and len(labels) and labels.max() >= own.shape[1]:
            problems.append(f"Class indices must lie in 0..{own.shape[1] - 1}, got {int(labels.max())}.")
    if problems:
        raise BadInput(problems)
