"""Numbers that are known, computed here: in ten seconds it shows whether this machine and these libraries give them.

Each is compared with a closed form or with a value that was stored; none needs a disk, a network or a browser.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

ROUNDING = 1e-9
"""Relative, for what is computed in float64 by any order of summation."""
SINGLE = 1e-5
"""Relative, for a few steps in float32."""
TRAINING = 2e-2
"""Relative, for a small training: other kernels round otherwise, and it grows with every step."""
TRAINED_LOSS = 1.6276111796307446
"""Training loss of `_trained_loss` at its last epoch, on an x86 CPU; 2.48 untrained. Weights that start 1e-4 of
themselves elsewhere move it by 0.2 %."""
SHUFFLED = "3af62e05055b5ccbeb77b0296f40e218a3de222ccf4c4903dd737e4f94c0aac7"
"""SHA-256 of the image of `_shuffled` shuffled in blocks, as the paper's code gives it."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """One known number, and what came out here."""

    name: str
    expected: float
    found: float
    tolerance: float
    """Relative."""
    seconds: float
    error: str = ""
    """Why there is no number, where there is none."""

    @property
    def deviation(self) -> float:
        """|found - expected| / |expected|, or the plain difference where 0 is expected; NaN where nothing was found."""
        difference = abs(self.found - self.expected)
        return difference / abs(self.expected) if self.expected else difference

    @property
    def is_right(self) -> bool:
        return self.deviation <= self.tolerance


def self_test(device: torch.device) -> list[Known]:
    """Compute all known numbers.

    Args:
        device: where to train and to evaluate; what is always computed on the CPU is computed there.
    """
    measured: list[tuple[str, float, Callable[[], float], float]] = [
        ("block shuffle, 1 where it is that of the paper's code", 1.0, _shuffled, 0.0),
        ("debiased linear CKA of rotated features", 1.0, _cka_of_rotated, ROUNDING),
        ("biased linear CKA against its formula", 1.0, _cka_by_formula, ROUNDING),
        ("loss between two networks, 5 places, largest error", 0.0, lambda: _interpolation(device), SINGLE),
        ("distance of weights (3, 4, 12)", 13.0, _distance, ROUNDING),
        ("singular values of a 1 x 1 convolution, largest error", 0.0, _spectrum, ROUNDING),
        ("Student interval of 1, 2, 3: upper end", 2 + 4.302652729696142 / math.sqrt(3), _interval, ROUNDING),
        ("one step of training, largest error of a weight", 0.0, lambda: _one_step(device), SINGLE),
        ("loss after a small training", TRAINED_LOSS, lambda: _trained_loss(device), TRAINING),
    ]
    return [_known(*one) for one in measured]


def _known(name: str, expected: float, compute: Callable[[], float], tolerance: float) -> Known:
    started = time.perf_counter()
    error = ""
    try:
        found = compute()
    except Exception as caught:  # a library that can't be imported, say: the others are still tried
        found, error = math.nan, f"{type(caught).__name__}: {caught}".splitlines()[0]
    return Known(
        name=name,
        expected=expected,
        found=found,
        tolerance=tolerance,
        seconds=time.perf_counter() - started,
        error=error,
    )


def _shuffled() -> float:
    from transferscope.data.shuffle import block_shuffle

    image = torch.arange(3 * 16 * 16).remainder(251).to(torch.uint8).view(1, 3, 16, 16)
    found = block_shuffle(image, 4, seed=1234).numpy().tobytes()
    return float(hashlib.sha256(found).hexdigest() == SHUFFLED)


def _features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((24, 6))


def _cka_of_rotated() -> float:
    from transferscope.metrics.similarity.cka import linear_cka

    features = _features(0)
    rotation, _ = np.linalg.qr(_features(1)[:6])
    return linear_cka(torch.from_numpy(features), torch.from_numpy(3 * features @ rotation + 5))


def _cka_by_formula() -> float:
    """Found by expected: |Xc' Yc|^2 / (|Xc' Xc| |Yc' Yc|), Frobenius norms, X and Y centred."""
    from transferscope.metrics.similarity.cka import linear_cka

    x, y = _features(2), _features(3)
    xc, yc = x - x.mean(0), y - y.mean(0)
    norm = np.linalg.norm
    expected = norm(xc.T @ yc) ** 2 / (norm(xc.T @ xc) * norm(yc.T @ yc))
    return linear_cka(torch.from_numpy(x), torch.from_numpy(y), debiased=False) / float(expected)


def _linear(seed: int) -> nn.Linear:
    model = nn.Linear(6, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(np.random.default_rng(seed).standard_normal((3, 6))))
    return model


def _interpolation(device: torch.device) -> float:
    """The outputs of a linear network are linear in its weights: the loss between two is that of mixed outputs."""
    from transferscope.metrics.landscape.interpolation import interpolate

    inputs, labels = _features(4), np.arange(24) % 3
    a, b = _linear(5).to(device), _linear(6).to(device)
    alphas = [0.0, 0.25, 0.5, 0.75, 1.0]
    data = (torch.from_numpy(inputs).float().to(device), torch.from_numpy(labels).to(device))
    found = interpolate(a, dict(a.state_dict()), dict(b.state_dict()), data, alphas=alphas)["loss"].to_list()
    ends = [inputs.astype(np.float32) @ one.weight.detach().cpu().numpy().T for one in (a, b)]
    expected = [_cross_entropy((1 - alpha) * ends[0] + alpha * ends[1], labels) for alpha in alphas]
    return max(abs(one - other) for one, other in zip(found, expected, strict=True))


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def _cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(-np.log(_softmax(logits)[np.arange(len(labels)), labels]).mean())


def _distance() -> float:
    from transferscope.metrics.landscape.distance import l2_distance

    zero = {"a.weight": torch.zeros(1, 2), "b.weight": torch.zeros(1, 1)}
    other = {"a.weight": torch.tensor([[3.0, 4.0]]), "b.weight": torch.tensor([[12.0]])}
    return float(l2_distance(zero, other))


def _spectrum() -> float:
    """A 1 x 1 convolution has the singular values of its matrix, once for every place."""
    from transferscope.metrics.landscape.spectrum import conv_singular_values

    matrix = _features(7)[:6]
    found = conv_singular_values(torch.from_numpy(matrix)[:, :, None, None], 2).flatten().sort().values
    expected = np.sort(np.repeat(np.linalg.svd(matrix, compute_uv=False), 4))
    return float(np.abs(found.numpy() - expected).max())


def _interval() -> float:
    from transferscope.metrics.statistics.intervals import t_interval

    return t_interval([1.0, 2.0, 3.0]).high


def _one_step(device: torch.device) -> float:
    """From weights of zero, a step of rate r on softmax cross-entropy gives r / n X' (Y - 1 / c)."""
    from transferscope.core.config import Recipe
    from transferscope.core.datasets import ImageSplit
    from transferscope.train.loop import train

    images = torch.randint(256, (20, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(8))
    labels = torch.arange(20) % 4
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 4))
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    split = ImageSplit(images=images, labels=labels, ids=tuple(map(str, range(20))))
    recipe = Recipe(
        epochs=1, batch_size=20, learning_rate=0.5, schedule="constant", momentum=0.0, weight_decay=0.0
    )
    found = train(model, split, split, recipe, normalization="unit", seed=0, device=device)
    inputs = images.numpy().reshape(20, -1) / 127.5 - 1
    expected = 0.5 / 20 * (np.eye(4)[labels.numpy()] - 1 / 4).T @ inputs
    return float(np.abs(found.checkpoints[1]["1.weight"].numpy() - expected).max() / np.abs(expected).max())


def _trained_loss(device: torch.device) -> float:
    from transferscope.core.config import Recipe
    from transferscope.core.datasets import dataset_module, describe, load
    from transferscope.models.init import random_init
    from transferscope.models.networks.fixup_resnet import FixupResNetOptions
    from transferscope.train.loop import train

    options = dataset_module("symbols").Options(
        dataset="symbols", image_size_px=16, train_size=120, test_size=50
    )
    data, about = load(options), describe(options)
    network = FixupResNetOptions(depths=(1, 1), widths=(8, 16))
    model = random_init(network, about.num_classes, about.channels, 0, 16)
    recipe = Recipe(epochs=24, batch_size=20, learning_rate=0.2, schedule="cosine")
    found = train(model, data.train, data.test, recipe, normalization="unit", seed=0, device=device)
    return found.history["train_loss"][-1]
