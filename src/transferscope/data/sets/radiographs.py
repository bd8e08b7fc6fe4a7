"""Synthetic pictures in the manner of chest radiographs, with five findings: the multi-label target.

Drawn from a simple geometry by this project. They hold no patient's data and say nothing about how well a
network reads real radiographs. They are there so that the multi-label path (several labels an image, mean
AUC, labels that go together, evidence that is faint or ambiguous) runs offline and has a target far from the
letters, as CheXpert was far from ImageNet in the paper. For real findings, bring real data (`arrays`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from transferscope.core.datasets import Description, ImageData
from transferscope.data.drawn.synthetic import SyntheticOptions, draw_data

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 1

FINDINGS = ("Cardiomegaly", "Edema", "Consolidation", "Atelectasis", "Pleural Effusion")
PREVALENCES = (0.25, 0.30, 0.25, 0.35, 0.40)
# How strongly each finding goes with two common causes, in the order of FINDINGS.
HEART_FAILURE = (0.6, 0.6, 0.0, 0.1, 0.45)
LUNG_DISEASE = (0.0, 0.1, 0.5, 0.45, 0.35)


class Options(SyntheticOptions):
    """The options of the synthetic radiographs."""

    dataset: Literal["radiographs"] = "radiographs"
    """Name of the data set."""


def describe(options: Options) -> Description:
    """The five findings of the paper's CheXpert task; any number of them an image."""
    return Description(
        class_names=FINDINGS,
        image_size_px=options.image_size_px,
        multi_label=True,
        num_train=options.train_size,
        num_test=options.test_size,
    )


def load(options: Options) -> ImageData:
    """Draw the pictures; the same to the bit at every call."""
    return draw_data(options, _draw_findings, _draw_images)


def _draw_findings(count: int, generator: torch.Generator) -> Tensor:
    """(count, 5) float32 of 0 and 1: a Gaussian copula with two factors and the given prevalences."""
    import torch

    loadings = torch.tensor((HEART_FAILURE, LUNG_DISEASE))
    own = (1 - loadings.square().sum(dim=0)).sqrt()
    causes = torch.randn(count, 2, generator=generator)
    # Multiplied by hand: a matrix product may round differently from one machine to another.
    common = (causes[:, :, None] * loadings).sum(dim=1)
    severity = common + own * torch.randn(count, len(FINDINGS), generator=generator)
    thresholds = torch.special.ndtri(1 - torch.tensor(PREVALENCES))
    return (severity > thresholds).float()


def _draw_images(labels: Tensor, size_px: int, generator: torch.Generator) -> Tensor:
    from transferscope.data.drawn.chest import draw_chests

    return draw_chests(labels, size_px, generator)
