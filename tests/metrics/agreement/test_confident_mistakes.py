"""The most confident mistakes against a plain loop over models, images and findings."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.confident_mistakes import confident_mistakes

few = settings(deadline=None, max_examples=25)


def softmax(row):
    largest = max(row)
    powers = [math.exp(value - largest) for value in row]
    return [power / math.fsum(powers) for power in powers]


def group_says(models, truth):
    """Wrong, right or split; the label said; its mean probability. From each model's probabilities."""
    said = [max(range(len(own)), key=own.__getitem__) for own in models]
    wrong = sum(label != truth for label in said)
    mean = [math.fsum(own[label] for own in models) / len(models) for label in range(len(models[0]))]
    others = [label for label in range(len(mean)) if label != truth]
    most = max(others, key=mean.__getitem__)
    if 2 * wrong > len(models):
        return "wrong", most, mean[most]
    return ("right" if 2 * wrong < len(models) else "split"), truth, mean[truth]


def literal(first, second, labels, count):
    lists = {"first": [], "second": [], "both": []}
    for place in range(labels.numel()):
        if labels.ndim == 1:
            index, finding, truth = place, None, int(labels[place])
            probabilities = [[softmax(own[place].tolist()) for own in group] for group in (first, second)]
        else:
            index, finding = divmod(place, labels.shape[1])
            truth = int(labels[index, finding])
            probabilities = [
                [softmax([0.0, float(own[index, finding])]) for own in group] for group in (first, second)
            ]
        (state_1, label_1, sure_1), (state_2, label_2, sure_2) = (
            group_says(own, truth) for own in probabilities
        )
        entry = (index, finding, label_1, sure_1, label_2, sure_2)
        if (state_1, state_2) == ("wrong", "right"):
            lists["first"].append((sure_1, entry))
        elif (state_1, state_2) == ("right", "wrong"):
            lists["second"].append((sure_2, entry))
        elif (state_1, state_2) == ("wrong", "wrong"):
            lists["both"].append(((sure_1 + sure_2) / 2, entry))
    chosen = []
    for who, entries in lists.items():
        seen = Counter()
        for _, entry in sorted(entries, key=lambda item: -item[0]):
            seen[entry[0]] += 1
            if seen[entry[0]] == 1 and len(seen) <= count:
                chosen.append((who, len(seen), entry))
    return chosen


@few
@given(
    seed=st.integers(0, 2**31),
    models=st.sampled_from([(1, 1), (2, 3), (3, 3)]),
    findings=st.sampled_from([None, 3]),
    count=st.sampled_from([0, 2, 100]),
)
def test_against_a_loop(seed, models, findings, count):
    generator = torch.Generator().manual_seed(seed)
    first, second = ([3 * torch.randn(40, 3, generator=generator) for _ in range(m)] for m in models)
    labels = torch.randint(3, (40,), generator=generator)
    if findings:
        labels = (torch.rand(40, findings, generator=generator) < 0.4).float()
    found = confident_mistakes(first, second, labels, count=count)
    expected = literal([own.double() for own in first], [own.double() for own in second], labels, count)
    assert len(found) == len(expected)
    for one, (who, rank, entry) in zip(found, expected, strict=True):
        assert (one.who, one.rank) == (who, rank)
        assert (one.index, one.finding, one.first_label, one.second_label) == (
            entry[0],
            entry[1],
            entry[2],
            entry[4],
        )
        assert (one.first_confidence, one.second_confidence) == pytest.approx((entry[3], entry[5]), abs=1e-12)


def test_an_image_stands_there_once():
    """Both findings of image 0 are wrong; the surer one counts."""
    sure = torch.tensor([[2.0, 5.0], [1.0, -3.0]])
    right = torch.tensor([[-1.0, -1.0], [-1.0, -1.0]])
    found = confident_mistakes([sure], [right], torch.zeros(2, 2), count=8)
    assert [(one.index, one.finding, one.first_label) for one in found] == [(0, 1, 1), (1, 0, 1)]


def test_ties_stand_in_the_order_of_the_images():
    wrong = torch.tensor([[2.0, 0.0]]).repeat(300, 1)
    found = confident_mistakes([wrong], [-wrong], torch.ones(300, dtype=torch.int64), count=300)
    assert [one.index for one in found] == list(range(300))


def test_bad_input():
    logits, labels = torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)
    with pytest.raises(BadInput, match="need a model"):
        confident_mistakes([], [logits], labels, count=1)
    with pytest.raises(BadInput, match="shape"):
        confident_mistakes([logits[:1]], [logits], labels, count=1)
    with pytest.raises(BadInput, match="finite"):
        confident_mistakes([logits / 0], [logits], labels, count=1)
