"""Synthetic images that resemble chest radiographs, with five labels: the multi-label target.

They are drawn from a simple geometry, contain no patient data, and show nothing about the accuracy on real
radiographs. They let the multi-label code (several correlated labels per image, mean AUC, faint or ambiguous
evidence) run offline, on a target that is far from the letters, as CheXpert is far from ImageNet in the paper. For
real results, use real data (`arrays`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from transferscope.core.datasets import Description, ImageData
from transferscope.data.drawn.synthetic import SyntheticOptions, draw_data

if TYPE_CHECKING:
    import torch
    from torch import Tensor

VERSION = 2

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
    """Draw the pictures; bit-identical at every call."""
    return draw_data(options, _draw_findings, _draw_images)


def _draw_findings(count: int, generator: torch.Generator) -> Tensor:
    """(count, 5) float32 of 0 and 1: a Gaussian copula with two factors and the given prevalences."""
    import torch

    from transferscope.data.drawn.random_numbers import normal

    loadings = torch.tensor((HEART_FAILURE, LUNG_DISEASE), dtype=torch.float64)
    own = (1 - loadings.square().sum(dim=0)).sqrt()
    causes = normal((count, 2), generator)
    # Multiplied by hand: a matrix product may round differently from one machine to another.
    common = (causes[:, :, None] * loadings).sum(dim=1)
    severity = common + own * normal((count, len(FINDINGS)), generator)
    thresholds = torch.special.ndtri(1 - torch.tensor(PREVALENCES, dtype=torch.float64))
    return (severity > thresholds).float()


def _draw_images(labels: Tensor, size_px: int, generator: torch.Generator) -> Tensor:
    from transferscope.data.drawn.chest import draw_chests

    return draw_chests(labels, size_px, generator)
