"""Maps of criticality: 10 modules x 10 alphas x 10 sigmas, against a whole pass for every cell.

The other way loads the network's tensors and goes through the data anew for each cell. Both use the same noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.measure import Candidate, Case, Disagreement, Result, Size, compare_all, largest_difference
from benchmarks.networks import ResNet, images, settle
from transferscope.metrics.criticality.criticality import module_criticality

JOB = "criticality"
OURS, LAST, WHOLE = "module_criticality", "module_criticality, channels_last", "whole passes"
FOLDED = "module_criticality, folded and channels_last"
WIDTH, NUM_CLASSES, BATCH_SIZE = 8, 10, 256


def run(size: Size, rounds: int) -> Result:
    return compare_all(JOB, cases(size), size, rounds)


def cases(size: Size) -> Iterator[Case]:
    n, steps = (64, 10) if size == "full" else (16, 2)
    inputs, labels = images(n, 32), torch.arange(n) % NUM_CLASSES
    alphas = [round(i / (steps - 1), 6) for i in range(steps)]
    sigmas = [round(0.02 * i, 6) for i in range(steps)]
    final = _network(1)
    settle(final, inputs)
    init = _network(0)
    settle(init, inputs)
    states = {"init": _copy(init), "final": _copy(final)}
    work: dict[str, Any] = {"states": states, "alphas": alphas, "sigmas": sigmas, "data": (inputs, labels)}
    yield Case(
        name=f"10 modules x {steps} alphas x {steps} sigmas, {n} images of 32 px",
        ours=[
            Candidate(name=OURS, run=lambda: _ours(**work, channels_last=False, fold=False)),
            Candidate(name=LAST, run=lambda: _ours(**work, channels_last=True, fold=False)),
            Candidate(name=FOLDED, run=lambda: _ours(**work, channels_last=True, fold=True)),
        ],
        peers=[Candidate(name=WHOLE, run=lambda: _whole(**work))],
        agree=_agree,
    )


def _agree(found: Mapping[str, Tensor]) -> str:
    if not torch.equal(found[OURS], found[WHOLE]):
        raise Disagreement(f"{OURS} is not what whole passes give, to the bit")
    return f"{OURS}: equal to the bit; {largest_difference(found, WHOLE, 1e-3)}"


def _ours(
    *,
    states: Mapping[str, Mapping[str, Tensor]],
    alphas: list[float],
    sigmas: list[float],
    data: tuple[Tensor, Tensor],
    channels_last: bool,
    fold: bool,
) -> Tensor:
    model, (inputs, labels) = _network(0), data
    if channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    found = module_criticality(
        model,
        states["init"],
        states["final"],
        (inputs, labels),
        alphas=alphas,
        sigmas=sigmas,
        draws=1,
        batch_size=BATCH_SIZE,
        generator=torch.Generator().manual_seed(0),
        fold=fold,
    )
    return torch.tensor(found.cells["loss"].to_list(), dtype=torch.float64)


@torch.no_grad()
def _whole(
    *,
    states: Mapping[str, Mapping[str, Tensor]],
    alphas: list[float],
    sigmas: list[float],
    data: tuple[Tensor, Tensor],
) -> Tensor:
    """The literal way: for every cell a state dict is made and loaded, and all data go through all layers."""
    model, source = _network(0), torch.Generator().manual_seed(0)
    init, final = states["init"], states["final"]
    loader = DataLoader(TensorDataset(*data), batch_size=BATCH_SIZE)
    weights = {name for name, _ in model.named_parameters()}
    found = []
    for module, _ in model.named_children():
        names = [name for name in final if name.startswith(f"{module}.")]
        noise = {name: torch.randn(final[name].shape, generator=source) for name in names if name in weights}
        for sigma in sigmas:
            for alpha in alphas:
                mixed = dict(final)
                for name in names:
                    if final[name].is_floating_point():
                        mixed[name] = (
                            torch.lerp(init[name], final[name], alpha) if alpha != 1 else final[name]
                        )
                    if sigma and name in noise:
                        mixed[name] = mixed[name].add(noise[name], alpha=sigma)
                model.load_state_dict(mixed)
                losses = [
                    nn.functional.cross_entropy(model(batch).double(), target, reduction="none")
                    for batch, target in loader
                ]
                found.append(torch.cat(losses).mean().item())
    return torch.tensor(found, dtype=torch.float64)


def _network(seed: int) -> ResNet:
    return ResNet(WIDTH, NUM_CLASSES, large=False, seed=seed)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}
