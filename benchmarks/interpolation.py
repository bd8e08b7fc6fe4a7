"""Loss and accuracy on the lines between 4 networks: 6 pairs x 21 alphas, 2,000 images of 32 px (JPEG: 512).

The running statistics of BatchNorm are the same in all four, so that the ways, which treat them differently,
can agree; that costs nobody anything.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from benchmarks.measure import Candidate, Case, Result, Size, compare_all, largest_difference
from benchmarks.networks import ResNet, images, settle
from benchmarks.peers import has, name_of, note_missing, peer
from transferscope.data.normalize import normalize
from transferscope.metrics.landscape.path import paths

JOB = "interpolation"
MODULE = "loss_landscapes"
NUM_CLASSES, BATCH_SIZE, WIDTH = 10, 128, 4
OURS, FOLDED, PAPER = "paths", "paths, folded and channels_last", "the paper's way"
NAMES = "abcd"
TOLERANCE = 1e-4

Losses = Tensor
"""(pairs, alphas) mean losses."""


def run(size: Size, rounds: int) -> Result:
    return note_missing([MODULE], compare_all(JOB, cases(size), size, rounds))


def cases(size: Size) -> Iterator[Case]:
    n, num_jpegs, num_alphas, names = (2000, 512, 21, NAMES) if size == "full" else (64, 64, 5, NAMES[:3])
    alphas = torch.linspace(0, 1, num_alphas, dtype=torch.float64).tolist()
    jpegs = _jpegs(n)
    labels = torch.arange(n) % NUM_CLASSES
    inputs = _normalized(_decoded(jpegs))
    states = _states(names, inputs[:256])
    pairs = list(itertools.combinations(names, 2))
    where = f"{len(pairs)} pairs x {num_alphas} alphas"
    weights = {"states": states, "pairs": pairs, "alphas": alphas}
    common = {**weights, "labels": labels}
    theirs = partial(_loss_landscapes, inputs=inputs, **common)
    yield Case(
        name=f"cached images, {where}",
        ours=[
            Candidate(name=OURS, run=lambda: _ours(inputs, fold=False, **common)),
            Candidate(name=FOLDED, run=lambda: _ours(inputs, fold=True, **common)),
        ],
        peers=[
            Candidate(name=PAPER, run=lambda: _papers(TensorDataset(inputs, labels), **common)),
            *([Candidate(name=name_of(MODULE), run=theirs, module=MODULE)] if has(MODULE) else []),
        ],
        agree=lambda found: largest_difference(found, OURS, TOLERANCE),
    )
    files, fewer = jpegs[:num_jpegs], {**weights, "labels": labels[:num_jpegs]}
    yield Case(
        name=f"JPEG files, {where}",
        ours=[
            Candidate(name=OURS, run=lambda: _ours(_normalized(_decoded(files)), fold=False, **fewer)),
            Candidate(name=FOLDED, run=lambda: _ours(_normalized(_decoded(files)), fold=True, **fewer)),
        ],
        peers=[Candidate(name=PAPER, run=lambda: _papers(_Files(files, fewer["labels"]), **fewer))],
        agree=lambda found: largest_difference(found, OURS, TOLERANCE),
    )


def _ours(
    inputs: Tensor,
    *,
    states: Mapping[str, Mapping[str, Tensor]],
    pairs: Sequence[tuple[str, str]],
    alphas: Sequence[float],
    labels: Tensor,
    fold: bool,
) -> Losses:
    model = _network(0)
    if fold:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    found = paths(
        model, states, (inputs, labels), pairs=pairs, alphas=alphas, batch_size=BATCH_SIZE, fold=fold
    )
    return torch.stack([found[pair].losses.mean(1) for pair in pairs])


@torch.no_grad()
def _papers(
    data: Dataset[Any],
    *,
    states: Mapping[str, Mapping[str, Tensor]],
    pairs: Sequence[tuple[str, str]],
    alphas: Sequence[float],
    labels: Tensor,
) -> Losses:
    """A whole state dict is made and loaded for each place, and the data gone through from the files on."""
    model = _network(0)
    loader = DataLoader(data, batch_size=BATCH_SIZE)
    means = []
    for a, b in pairs:
        for alpha in alphas:
            mixed = {name: (1 - alpha) * states[a][name] + alpha * states[b][name] for name in states[a]}
            model.load_state_dict(mixed)
            total, correct = 0.0, 0
            for batch, target in loader:
                logits = model(batch)
                total += nn.functional.cross_entropy(logits, target, reduction="sum").item()
                correct += (logits.argmax(1) == target).sum().item()
            means.append(total / len(labels))
    return torch.tensor(means, dtype=torch.float64).reshape(len(pairs), len(alphas))


@torch.no_grad()
def _loss_landscapes(
    *,
    inputs: Tensor,
    states: Mapping[str, Mapping[str, Tensor]],
    pairs: Sequence[tuple[str, str]],
    alphas: Sequence[float],
    labels: Tensor,
) -> Losses:
    """Its line begins one step after the start: the start is asked for as a point. All images in one batch."""
    from loss_landscapes.metrics.sl_metrics import Loss

    landscapes = peer(MODULE)
    metric = Loss(nn.functional.cross_entropy, inputs, labels)
    start, end = _network(0), _network(0)
    rows = []
    for a, b in pairs:
        start.load_state_dict(states[a])
        end.load_state_dict(states[b])
        first = landscapes.point(start, metric)
        rest = landscapes.linear_interpolation(start, end, metric, steps=len(alphas) - 1)
        rows.append([first, *rest])
    return torch.tensor(np.array(rows), dtype=torch.float64)


class _Files(Dataset[tuple[Tensor, Tensor]]):
    """Images decoded each time one is asked for."""

    def __init__(self, jpegs: Sequence[bytes], labels: Tensor) -> None:
        self._jpegs, self._labels = jpegs, labels

    def __len__(self) -> int:
        return len(self._jpegs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return _normalized(_decoded([self._jpegs[index]]))[0], self._labels[index]


def _jpegs(n: int) -> list[bytes]:
    pixels = (images(n, 32).permute(0, 2, 3, 1) * 40 + 128).clamp(0, 255).byte().numpy()
    files = []
    for image in pixels:
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def _decoded(files: Sequence[bytes]) -> Tensor:
    arrays = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)


def _normalized(pixels: Tensor) -> Tensor:
    return normalize(pixels.contiguous(), "unit")


def _network(seed: int) -> ResNet:
    return ResNet(WIDTH, NUM_CLASSES, large=False, seed=seed)


def _states(names: str, some: Tensor) -> dict[str, dict[str, Tensor]]:
    """Weights of their own, running statistics of the first."""
    first = _network(0)
    settle(first, some)
    kept = {
        name: value
        for name, value in first.state_dict().items()
        if "running" in name or "num_batches" in name
    }
    return {name: {**_network(seed).state_dict(), **kept} for seed, name in enumerate(names)}
