"""Passes and steps of a ResNet-18 at 224 px, with and without freed memory kept by the process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from benchmarks.measure import (
    Candidate,
    Case,
    Disagreement,
    Quantity,
    Result,
    Size,
    compare_all,
    peak_memory,
)
from benchmarks.networks import ResNet, images
from transferscope.allocator import freed_memory_kept

JOB = "allocation"
KEPT, USUAL = "freed memory kept, as in a task", "as glibc does"
NUM_CLASSES = 10


def run(size: Size, rounds: int) -> Result:
    result = compare_all(JOB, cases(size), size, rounds)
    if size == "full":
        result.quantities = [
            Quantity(
                case=time.case,
                what=f"{time.candidate}: peak memory",
                value=peak_memory(JOB, time.case, time.candidate, size, variables={}),
                unit="MB",
            )
            for time in result.times
        ]
    return result


def cases(size: Size) -> Iterator[Case]:
    side, batch, repeats = (224, 16, 4) if size == "full" else (32, 2, 1)
    model: nn.Module = ResNet(64, NUM_CLASSES, large=True, seed=0)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    inputs = images(batch, side).contiguous(memory_format=torch.channels_last)
    yield _case(f"forward passes, batches of {batch}", lambda: _passes(model, inputs, repeats))
    yield _case(f"training steps, batches of {batch}", lambda: _steps(model, inputs, repeats))


def _case(name: str, work: Callable[[], Tensor]) -> Case:
    def kept() -> Tensor:
        with freed_memory_kept():
            return work()

    return Case(
        name=name,
        ours=[Candidate(name=KEPT, run=kept)],
        peers=[Candidate(name=USUAL, run=work)],
        agree=_agree,
    )


@torch.no_grad()
def _passes(model: nn.Module, inputs: Tensor, repeats: int) -> Tensor:
    model.eval()
    return torch.stack([model(inputs) for _ in range(repeats)])


def _steps(model: nn.Module, inputs: Tensor, repeats: int) -> Tensor:
    """Losses and gradients; the weights stay, so that every run does the same. BatchNorm's averages are not read."""
    model.train()
    labels = torch.arange(len(inputs)) % NUM_CLASSES
    sums = []
    for _ in range(repeats):
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        grads = [parameter.grad.sum() for parameter in model.parameters() if parameter.grad is not None]
        sums.append(torch.stack([loss.detach(), *grads]))
    model.zero_grad()
    return torch.stack(sums)


def _agree(found: Mapping[str, Tensor]) -> str:
    if not torch.equal(found[KEPT], found[USUAL]):
        raise Disagreement("the results are not equal to the bit")
    return "equal to the bit"
