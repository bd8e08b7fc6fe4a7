"""Subjects and images of a cell, made up, for analyses that read logits and histories only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl
import torch
from torch import Tensor

from transferscope.analyses.contract import Split
from transferscope.core.datasets import Description
from transferscope.models.modules.find import Module


@dataclass
class FakeSubject:
    """What `measure` may ask of a set of weights."""

    test_logits: Tensor
    train_metrics: list[float | None]
    """From epoch 1 on."""
    epoch: int = 0
    state: dict[str, Tensor] = field(default_factory=dict)
    test_metrics: list[float | None] | None = None

    @property
    def history(self) -> pl.DataFrame:
        epochs = len(self.train_metrics) + 1
        return pl.DataFrame(
            {
                "epoch": range(epochs),
                "learning_rate": [None, *[0.1] * (epochs - 1)],
                "train_metric": [None, *self.train_metrics],
                "test_metric": self.test_metrics or [None] * epochs,
            },
            schema_overrides={"train_metric": pl.Float64, "test_metric": pl.Float64},
        )

    @property
    def modules(self) -> dict[str, Module]:
        """Each first part of the names of its tensors."""
        return {
            name: Module((name,), name) for name in dict.fromkeys(key.partition(".")[0] for key in self.state)
        }

    def model(self) -> Any:
        raise AssertionError("no network is looked at")


@dataclass
class FakeData:
    """The test images of a cell."""

    test: Split
    description: Description
    test_images_uint8: Tensor | None = None

    @property
    def train(self) -> Split:
        raise AssertionError("no training image is looked at")


def single_label(n: int, num_classes: int, seed: int) -> FakeData:
    """n random pictures of 4 px with random labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(num_classes, (n,), generator=generator)
    images = torch.randint(256, (n, 3, 4, 4), generator=generator, dtype=torch.uint8)
    names = tuple(f"class {index}" for index in range(num_classes))
    return FakeData(
        test=Split(inputs=images.float(), labels=labels, ids=tuple(f"image {i}" for i in range(n))),
        description=Description(class_names=names, image_size_px=4, multi_label=False, channels=3),
        test_images_uint8=images,
    )


def findings_data(n: int, num_findings: int, seed: int) -> FakeData:
    """n random pictures of 4 px, each with any number of findings."""
    data = single_label(n, 2, seed)
    labels = (torch.rand(n, num_findings, generator=torch.Generator().manual_seed(seed + 1)) < 0.4).float()
    names = tuple(f"finding {index}" for index in range(num_findings))
    return FakeData(
        test=Split(inputs=data.test.inputs, labels=labels, ids=data.test.ids),
        description=Description(class_names=names, image_size_px=4, multi_label=True, channels=3),
        test_images_uint8=data.test_images_uint8,
    )
