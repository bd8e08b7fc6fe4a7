"""Checks of your checkpoints before anything is measured: does each reach the metric that you expect?

One function computes what console, Python and report show. Certain mistakes are refused; what is only suspicious
becomes a remark beside the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import polars as pl
from safetensors.torch import load_file
from torch import Tensor

from transferscope.core.errors import BadInput, shortened
from transferscope.core.files import sha256_of
from transferscope.core.runs import KIND_NAMES, UNSHUFFLED, GivenRun
from transferscope.core.tables import Column
from transferscope.data.inspect.facts import split_facts, wilson_interval
from transferscope.execute.store.artifacts import DTYPES, read_data, read_description
from transferscope.execute.store.checksums import Damaged, Folder
from transferscope.execute.store.local import Store
from transferscope.metrics.evaluation.class_order import better_class_order, better_label_order
from transferscope.metrics.evaluation.score_interval import percentile_interval, resampled_scores
from transferscope.metrics.evaluation.scores import is_multi_label, score
from transferscope.study.plan import Plan

TABLE = "networks"
ROUNDED = 0.005
"""How far an expected value may be rounded: 0.93 stands for 0.925 to 0.935."""
LOW_AUC = 0.55
"""Mean AUC below which a network is no better than chance."""
DRAWS = 200
"""Resamples of the test images for the interval of a mean AUC."""

Code = Literal["not as expected", "class order", "chance level"]


@dataclass(frozen=True, kw_only=True)
class Remark:
    """A suspicion about a network; `text` makes a sentence of it."""

    code: Code
    network: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class CheckedNetwork:
    """The metrics of a given network."""

    name: str
    kind: str
    """P-T or RI-T."""
    metric: Literal["accuracy", "mean AUC"]
    value: float
    low: float
    """95 % interval over the test images."""
    high: float
    num_images: int
    train_value: float
    baseline: float
    """Of naming the commonest class for each image; 0.5 for the mean AUC."""
    commonest: str = ""
    """Name of that class; empty for the mean AUC."""
    expected: float | None = None
    remarks: tuple[Remark, ...] = ()


COLUMNS = (
    Column("network", "str", "Name of the network, as it was given"),
    Column("kind", "str", "P-T or RI-T"),
    Column("metric", "str", "What is measured: accuracy, or the mean AUC of multi-label data"),
    Column("value", "float", "The metric on the test images", "0 to 1"),
    Column("low", "float", "Lower end of its 95 % interval over the test images", "0 to 1"),
    Column("high", "float", "Upper end", "0 to 1"),
    Column("n", "int", "Number of test images"),
    Column("train_value", "float", "The metric on the training images", "0 to 1"),
    Column(
        "baseline", "float", "Accuracy of naming the commonest class for each image; 0.5 of AUC", "0 to 1"
    ),
    Column("expected", "float", "What the user expected", "0 to 1"),
    Column("remarks", "str", "What is suspicious about it"),
)


def checked_networks(plan: Plan, store: Store) -> list[CheckedNetwork]:
    """The networks of a study of given instances whose results are in the store; empty for other studies.

    Raises:
        BadInput: two of the networks, or a network and what it was started from, are the same.
    """
    tasks = {
        task.payload.name: (task, task.payload) for task in plan.graph if isinstance(task.payload, GivenRun)
    }
    there = store.present(task.key for task, _ in tasks.values())
    found: list[CheckedNetwork] = []
    digests: dict[str, list[str]] = {}
    for name, given in (plan.study.instances or {}).items():
        if name not in tasks:
            continue
        task, run = tasks[name]
        if task.key not in there:
            continue
        folder = store.result(task.key)
        try:
            network = _checked(name, folder, store.result(task.inputs[0]), given.expected)
            digests[name] = [
                sha256_of(folder / f"checkpoint-{epoch}.safetensors") for epoch in (1, 0)[: 1 + run.has_init]
            ]
        except Damaged:  # the measurement that reads it has it computed again
            continue
        found.append(replace(network, kind=KIND_NAMES[given.kind]))
    check_different(digests)
    return found


def check_different(digests: Mapping[str, Sequence[str]]) -> None:
    """Raises BadInput for networks with the same tensors: of each name the final network's digest, and the init's."""
    problems = []
    names_of: dict[str, list[str]] = {}
    for name, (final, *init) in digests.items():
        names_of.setdefault(final, []).append(name)
        if final in init:
            problems.append(
                f"{name} is what it was started from: all tensors are the same, so there is nothing that a training "
                "changed. Give the weights after the training."
            )
    for names in names_of.values():
        if len(names) > 1:
            problems.append(
                f"{' and '.join(names)} are the same network: all their tensors are equal. Expected different ones, "
                "as the distance and the barrier between them would be 0. Was the right file given to each?"
            )
    if problems:
        raise BadInput(problems)


def _checked(name: str, result: Folder, data: Folder, expected: float | None) -> CheckedNetwork:
    logits = load_file(result / "test_logits.safetensors")["logits"]
    labels = read_data(data, UNSHUFFLED).test.labels
    train_value = pl.read_parquet(result / "history.parquet")["train_metric"][-1]
    network = judged(name, logits, labels, read_description(data).class_names, expected)
    return replace(network, train_value=train_value)


def judged(
    name: str, logits: Tensor, labels: Tensor, class_names: Sequence[str], expected: float | None = None
) -> CheckedNetwork:
    """The metrics of a network from its outputs, with remarks.

    Args:
        name: of the network.
        logits: (n, k) outputs on the test images.
        labels: (n,) int64, or (n, k) float of 0 and 1.
        class_names: (k,)
        expected: the accuracy or mean AUC that the user knows.
    """
    value, low, high = scored(logits, labels)
    baseline, commonest = 0.5, ""
    if not is_multi_label(labels):
        facts = split_facts(labels.numpy(), len(class_names))
        baseline, commonest = facts.share(facts.commonest), class_names[facts.commonest]
    network = CheckedNetwork(
        name=name,
        kind="",
        metric="mean AUC" if is_multi_label(labels) else "accuracy",
        value=value,
        low=low,
        high=high,
        num_images=len(labels),
        train_value=math.nan,
        baseline=baseline,
        commonest=commonest,
        expected=expected,
    )
    return replace(network, remarks=_remarks(network, logits, labels, class_names))


def scored(logits: Tensor, labels: Tensor) -> tuple[float, float, float]:
    """The score on the test images and the ends of its 95 % interval: Wilson's of an accuracy, bootstrap of an AUC."""
    value, n = score(logits, labels), len(labels)
    if math.isnan(value):
        return value, value, value
    if not is_multi_label(labels):
        return value, *wilson_interval(value, n)
    interval = percentile_interval(value, resampled_scores({"": logits}, labels, draws=DRAWS)[""], n)
    return value, interval.low, interval.high


def _remarks(
    network: CheckedNetwork, logits: Tensor, labels: Tensor, class_names: Sequence[str]
) -> tuple[Remark, ...]:
    found: list[tuple[Code, dict[str, Any]]] = []
    expected = network.expected
    if expected is not None and not network.low - ROUNDED <= expected <= network.high + ROUNDED:
        found.append(("not as expected", {"expected": expected}))
    better_order = better_label_order if network.metric == "mean AUC" else better_class_order
    order = better_order(logits, labels)
    if order is not None:
        names = [class_names[index] for index in order.order]
        found.append(("class order", {"classes": names, "value": order.value}))
    elif network.low <= network.baseline if network.metric == "accuracy" else network.value < LOW_AUC:
        found.append(("chance level", {"inverted": network.metric == "mean AUC" and network.high < 0.5}))
    return tuple(Remark(code=code, network=network.name, fields=fields) for code, fields in found)


def text(network: CheckedNetwork, remark: Remark) -> str:
    """A remark as a sentence or two."""
    value = f"{network.metric} {network.value:.3f} on {network.num_images:,} test images"
    interval = f"95 % interval {network.low:.3f} to {network.high:.3f}"
    if remark.code == "not as expected":
        return (
            f"{value}, expected {remark.fields['expected']:.3f}: the difference is larger than sampling explains "
            f"({interval}). Check the preprocessing (image_size_px, resize, normalization), the class order and the "
            "test images."
        )
    if remark.code == "class order":
        classes = ",".join(remark.fields["classes"])
        things = "labels" if network.metric == "mean AUC" else "classes"
        return (
            f"{value}, but {remark.fields['value']:.3f} if its outputs stand for the {things} in another order. Was "
            f"it trained with that order? Then set data.classes=[{shortened(classes, 1000)}]."
        )
    if network.metric == "mean AUC":
        if remark.fields["inverted"]:
            return f"{value}, clearly below 0.5. Do its labels mean the opposite, or are the findings in another order?"
        return f"{value}, no better than chance (0.5). {CAUSES}"
    baseline = f"{network.baseline:.3f}; {interval}"
    return f"{value}, no better than naming the commonest class each time ({baseline}). {CAUSES}"


CAUSES = (
    "Likely causes: the images are not made as in its training (image_size_px, resize, normalization), the classes are "
    "in another order, or the file lacks the trained head."
)


def warnings_of(networks: Sequence[CheckedNetwork]) -> list[str]:
    """All remarks, each with the name of its network."""
    return [f"{network.name}: {text(network, remark)}" for network in networks for remark in network.remarks]


def lines_of(networks: Sequence[CheckedNetwork]) -> list[str]:
    """The metric of each network as lines for the console; the remarks come first."""
    if not networks:
        return []
    first = networks[0]
    widest = max(len(network.name) for network in networks)
    lines = [f"warning: {warning}" for warning in warnings_of(networks)]
    chance = (
        "chance 0.5" if first.metric == "mean AUC" else f"always '{first.commonest}' {first.baseline:.3f}"
    )
    lines.append(f"your networks, {first.metric} on {first.num_images:,} test images ({chance}):")
    for network in networks:
        expected = "" if network.expected is None else f", expected {network.expected:.3f}"
        lines.append(
            f"  {network.name:<{widest}}  {network.value:.3f} [{network.low:.3f}, {network.high:.3f}], "
            f"{network.train_value:.3f} on the training images{expected}"
        )
    return lines


def caption_of(networks: Sequence[CheckedNetwork]) -> str:
    """The caption below the table: the baseline to compare the networks with."""
    first = networks[0]
    baseline = (
        "An order of the images by chance has a mean AUC of 0.5."
        if first.metric == "mean AUC"
        else f"Always answering '{first.commonest}' has an accuracy of {first.baseline:.3f}."
    )
    return (
        f"{first.num_images:,} test images. {baseline} If a number differs from the one you know, check the "
        "preprocessing (image_size_px, resize, normalization) and the class order."
    )


def table_of(networks: Sequence[CheckedNetwork]) -> pl.DataFrame:
    """One row a network, with the columns of `COLUMNS`."""
    rows = [
        (
            network.name,
            network.kind,
            network.metric,
            network.value,
            network.low,
            network.high,
            network.num_images,
            network.train_value,
            network.baseline,
            network.expected,
            " ".join(text(network, remark) for remark in network.remarks),
        )
        for network in networks
    ]
    return pl.DataFrame(rows, schema={column.name: DTYPES[column.dtype] for column in COLUMNS}, orient="row")
