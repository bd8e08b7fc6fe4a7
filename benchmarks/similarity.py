"""Linear CKA of ResNet-18s on images of 64 px, all pairs of their 20 convolutions, batches of 64.

All get the same batches from memory. The others compute in float32 and clamp or add to the denominator; they agree
here to two digits. Ours also gives an interval for every number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.measure import (
    Candidate,
    Case,
    Disagreement,
    Quantity,
    Result,
    Size,
    compare_all,
)
from benchmarks.networks import ResNet, convolutions, images, settle
from benchmarks.peers import has, name_of, note_missing, peer
from transferscope.metrics.similarity.cka import cka

JOB = "similarity"
OURS, LAST = "cka", "cka, channels_last"
BATCH_SIZE, NUM_PERMUTATIONS = 64, 20
TOLERANCE = 1e-2
"""Of the mean over cells. The others compute in float32: in single cells of these features they are up to .1 off the
same formula in float64, ours 1e-8."""


def run(size: Size, rounds: int) -> Result:
    result = compare_all(JOB, cases(size), size, rounds)
    result.quantities = [
        Quantity(
            case=time.case, what=f"{time.candidate}: memory above forward", value=time.memory_mb, unit="MB"
        )
        for time in result.times
        if time.memory_mb is not None
    ]
    return note_missing(["cka", "torch_cka", "cka_pytorch", "calibrated_similarity"], result)


def cases(size: Size) -> Iterator[Case]:
    n, side, width, num_models = (512, 64, 64, 6) if size == "full" else (32, 32, 8, 3)
    batches = list(images(n, side).split(min(BATCH_SIZE, n // 2)))
    models = {str(seed): _settled(width, seed, batches[0]) for seed in range(num_models)}
    layers = convolutions(models["0"])
    yield _one_pair({name: models[name] for name in "01"}, batches, layers)
    yield _all_pairs(models, batches[:4], layers)
    two, some = {name: models[name] for name in "01"}, layers[4::4][:4]
    yield _with_null(two, torch.cat(batches), some, from_features=True)
    yield _with_null(two, torch.cat(batches), some, from_features=False)


def _one_pair(models: dict[str, nn.Module], batches: list[Tensor], layers: list[str]) -> Case:
    first, second = models.values()
    last = {name: _channels_last(model) for name, model in models.items()}
    loader = DataLoader(_Batches(batches), batch_size=None)

    def by_pytorch_cka() -> Tensor:
        pytorch_cka = peer("cka")
        return pytorch_cka.compute_cka(first, second, loader, layers=layers, device="cpu", progress=False)[0]

    def by_torch_cka() -> Tensor:
        torch_cka = peer("torch_cka")
        found = torch_cka.CKA(first, second, "0", "1", layers, layers)
        with torch.no_grad():
            found.compare(loader, loader)
        _remove_hooks(first, second)
        return found.export()["CKA"]

    def by_cka_pytorch() -> Tensor:
        cka_pytorch = peer("cka_pytorch")
        found = cka_pytorch.CKACalculator(first, second, layers, layers, verbose=False)
        matrix = found.calculate_cka_matrix(loader, num_epochs=1)
        found.reset()
        return matrix

    return Case(
        name=f"one pair, {len(layers)} x {len(layers)} layers, {_count(batches)} images",
        ours=[
            Candidate(name=OURS, run=lambda: _matrix(_ours(models, batches, layers)), memory=True),
            Candidate(
                name=LAST, run=lambda: _matrix(_ours(last, list(map(_in_last, batches)), layers)), memory=True
            ),
        ],
        peers=[
            Candidate(name=name_of(module), run=work, memory=True, module=module)
            for module, work in (
                ("cka", by_pytorch_cka),
                ("torch_cka", by_torch_cka),
                ("cka_pytorch", by_cka_pytorch),
            )
            if has(module)
        ],
        agree=_clamped_agree,
        forward=lambda: _forward(models.values(), batches),
    )


def _all_pairs(models: dict[str, nn.Module], batches: list[Tensor], layers: list[str]) -> Case:
    pairs = list(itertools.combinations(models, 2))
    loader = DataLoader(_Batches(batches), batch_size=None)

    def theirs() -> Tensor:
        pytorch_cka = peer("cka")
        found = [
            pytorch_cka.compute_cka(
                models[a], models[b], loader, layers=layers, device="cpu", progress=False
            )[0]
            for a, b in pairs
        ]
        return torch.stack(found)

    return Case(
        name=f"{len(models)} models, {len(pairs)} pairs, {_count(batches)} images",
        ours=[Candidate(name=OURS, run=lambda: _matrix(_ours(models, batches, layers)), memory=True)],
        peers=[Candidate(name=name_of("cka"), run=theirs, memory=True, module="cka")] if has("cka") else [],
        agree=_clamped_agree,
        forward=lambda: _forward(models.values(), batches),
    )


def _with_null(
    models: dict[str, nn.Module], inputs: Tensor, layers: list[str], *, from_features: bool
) -> Case:
    """From the inputs, or from features that are there, which is what the other takes."""
    module = "calibrated_similarity"
    sources: dict[str, nn.Module] = models
    if from_features:
        sources = {name: _Stored(_features(model, inputs, layers)) for name, model in models.items()}
        inputs, layers = torch.arange(len(inputs)), [str(place) for place in range(len(layers))]

    def theirs() -> dict[str, float]:
        calibrated = peer("calibrated_similarity")
        features = [_features(model, inputs, layers) for model in sources.values()]
        smax, _, tau = calibrated.calibrate_layers(
            *features,
            _example_cka,
            K=NUM_PERMUTATIONS,
            smax=None,
            generator=torch.Generator().manual_seed(0),
        )
        return {"largest": float(smax + tau), "threshold": float(tau)}

    def ours() -> dict[str, float]:
        found = cka(
            sources,
            [inputs],
            layers=layers,
            debiased=False,
            permutations=NUM_PERMUTATIONS,
            generator=torch.Generator().manual_seed(0),
        )
        return {"largest": float(found["linear_cka"].max()), "threshold": float(found["null_max"][0])}

    work = f"{NUM_PERMUTATIONS} permutations, {len(layers)} x {len(layers)} layers, {len(inputs)} images"
    return Case(
        name=f"{'from features' if from_features else 'from images'}, {work}",
        ours=[Candidate(name=OURS, run=ours)],
        peers=[Candidate(name=name_of(module), run=theirs, module=module)] if has(module) else [],
        agree=_null_agrees,
    )


class _Stored(nn.Sequential):
    """A network whose layers give what is stored for the samples asked for."""

    def __init__(self, features: list[Tensor]) -> None:
        super().__init__(*(_Layer(own) for own in features))

    def forward(self, samples: Tensor) -> Tensor:
        return torch.stack([layer(samples)[:, 0] for layer in self])


class _Layer(nn.Module):
    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self._features = features

    def forward(self, samples: Tensor) -> Tensor:
        return self._features[samples]


def _clamped_agree(found: Mapping[str, Tensor]) -> str:
    """On the mean over cells; pytorch-cka clamps to [0, 1], so all are, for the comparison alone."""
    clamped = {name: values.double().flatten().clamp(0, 1) for name, values in found.items()}
    words = []
    for name, values in clamped.items():
        difference = (values - clamped[OURS]).abs()
        if not float(difference.mean()) <= TOLERANCE:
            raise Disagreement(
                f"{name} differs from {OURS} by {float(difference.mean()):.3g} in the mean over cells"
            )
        words.append(f"{name} {float(difference.mean()):.1e} ({float(difference.max()):.1e})")
    return f"mean (largest) difference from {OURS}: {', '.join(words[1:])}"


def _null_agrees(found: Mapping[str, Mapping[str, float]]) -> str:
    """The largest CKA must agree; thresholds come from different permutations and need not."""
    values = list(found.values())
    for other in values[1:]:
        if not abs(other["largest"] - values[0]["largest"]) <= TOLERANCE:
            raise Disagreement(f"the largest CKA over layers differs: {found}")
        if not abs(other["threshold"] - values[0]["threshold"]) <= 0.1 * values[0]["threshold"]:
            raise Disagreement(f"the thresholds differ by more than a tenth: {found}")
    return "; ".join(
        f"{name}: largest {own['largest']:.4f}, threshold {own['threshold']:.4f}"
        for name, own in found.items()
    )


def _ours(models: Mapping[str, nn.Module], batches: list[Tensor], layers: list[str]) -> pl.DataFrame:
    # an iterator: a list of two tensors could also be inputs and targets
    return cka(models, iter(batches), layers=layers, permutations=0)


def _matrix(table: pl.DataFrame) -> Tensor:
    side = round(table.group_by("model_x", "model_y").len()["len"][0] ** 0.5)
    return torch.tensor(table["linear_cka"].to_list()).reshape(-1, side, side).squeeze(0)


def _example_cka(x: Tensor, y: Tensor) -> Tensor:
    """The function that calibrated-similarity's own documentation gives."""
    x, y = x - x.mean(0), y - y.mean(0)
    hsic = (x @ x.T * (y @ y.T)).sum()
    return hsic / (x @ x.T).norm() / (y @ y.T).norm()


@torch.no_grad()
def _features(model: nn.Module, inputs: Tensor, layers: list[str]) -> list[Tensor]:
    kept: dict[str, Tensor] = {}
    handles = [
        model.get_submodule(layer).register_forward_hook(
            lambda _, __, output, layer=layer: kept.update({layer: output.flatten(1)})
        )
        for layer in layers
    ]
    model(inputs)
    for handle in handles:
        handle.remove()
    return [kept[layer] for layer in layers]


@torch.no_grad()
def _forward(models: Any, batches: list[Tensor]) -> None:
    for batch in batches:
        for model in models:
            model(batch)


def _remove_hooks(*models: nn.Module) -> None:
    """torch-cka leaves its own."""
    for model in models:
        for module in model.modules():
            module._forward_hooks.clear()


class _Batches(Dataset[tuple[Tensor, Tensor]]):
    """Whole batches, so that nobody pays for putting them together."""

    def __init__(self, batches: list[Tensor]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._batches[index], torch.zeros(len(self._batches[index]))


def _settled(width: int, seed: int, some: Tensor) -> nn.Module:
    model = ResNet(width, 10, large=True, seed=seed)
    settle(model, some)
    return model


def _channels_last(model: nn.Module) -> nn.Module:
    other = ResNet(model[0][0].out_channels, 10, large=True, seed=0)  # type: ignore[index]
    other.load_state_dict(model.state_dict())
    return other.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _in_last(batch: Tensor) -> Tensor:
    return batch.contiguous(memory_format=torch.channels_last)


def _count(batches: list[Tensor]) -> int:
    return sum(map(len, batches))
