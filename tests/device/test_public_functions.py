"""Every function that works without a study gives on another device what it gives on the CPU."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import polars as pl
import pytest
import torch
from fake_gpu import fake_gpu
from torch import Tensor, nn

import transferscope as ts

CPU = torch.device("cpu")
STUDIES = {"compare", "compare_studies", "load_study", "open_run", "run"}
ALPHAS = (0.0, 0.5, 1.0)
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.randn(24, 3, 8, 8, generator=GENERATOR)
LABELS = torch.randint(3, (24,), generator=GENERATOR)
HELD_OUT = torch.arange(24) % 3 == 0


def network(seed: int, device: torch.device) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Conv2d(4, 4, 3),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4, 3),
        )
    return made.eval().to(device)


def state(seed: int, device: torch.device) -> dict[str, Tensor]:
    return network(seed, device).state_dict()


def data(device: torch.device) -> tuple[Tensor, Tensor]:
    return INPUTS.to(device), LABELS.to(device)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def curve(device: torch.device, **options: Any) -> pl.DataFrame:
    ends = (state(0, device), state(1, device))
    return ts.interpolate(network(0, device), *ends, data(device), alphas=ALPHAS, **options)


def criticality(device: torch.device, **options: Any) -> object:
    return ts.module_criticality(
        network(0, device),
        state(0, device),
        state(1, device),
        data(device),
        alphas=ALPHAS,
        sigmas=(0.0, 0.1),
        relative_sigmas=(0.1,),
        draws=2,
        generator=generator(),
        **options,
    )


def features(device: torch.device) -> tuple[Tensor, Tensor]:
    return INPUTS.mean((2, 3)).to(device), LABELS.to(device)


def decisions(device: torch.device) -> dict[str, Tensor]:
    return {name: network(seed, device)(INPUTS.to(device)).argmax(1) for seed, name in enumerate("abc")}


CALLS: dict[str, dict[str, Callable[[torch.device], Any]]] = {
    "interpolate": {
        "keep": curve,
        "interpolate": lambda d: curve(d, batch_norm="interpolate"),
        "re-estimate": lambda d: curve(d, batch_norm="re-estimate", calibration=INPUTS.to(d)),
        "inputs on the CPU": lambda d: ts.interpolate(
            network(0, d), state(0, CPU), state(1, d), data(CPU), alphas=ALPHAS
        ),
    },
    "barrier": {"": lambda d: ts.barrier(curve(d))},
    "basin": {
        "": lambda d: ts.basin(
            network(0, d),
            [state(0, d), state(1, d), state(2, d)],
            data(d),
            delta=0.1,
            draws=3,
            points=3,
            generator=generator(),
        )
    },
    "cka": {
        "": lambda d: ts.cka({"a": network(0, d), "b": network(1, d)}, INPUTS.to(d), generator=generator())
    },
    "linear_cka": {
        "samples": lambda d: ts.linear_cka(INPUTS.flatten(1).to(d), INPUTS.flatten(1).square().to(d)),
        "features": lambda d: ts.linear_cka(
            INPUTS.reshape(-1, 2).to(d), INPUTS.reshape(-1, 2).square().to(d)
        ),
    },
    "module_criticality": {
        "": criticality,
        "folded": lambda d: criticality(d, fold=True),
        "whole passes": lambda d: criticality(d, shortened=False),
    },
    "rewind": {"": lambda d: ts.rewind(network(0, d), state(0, d), state(1, d), data(d), cumulative=True)},
    "l2_distance": {
        "": lambda d: ts.l2_distance(state(0, d), state(1, d)),
        "by module, one on the CPU": lambda d: ts.l2_distance(state(0, d), state(1, CPU), by_module=True),
    },
    "log_maximum_evidence": {"": lambda d: ts.log_maximum_evidence(*features(d))},
    "h_score": {"": lambda d: ts.h_score(*features(d))},
    "leep": {"": lambda d: ts.leep(features(d)[0].softmax(1), LABELS.to(d))},
    "linear_probe": {"": lambda d: ts.linear_probe(features(d), features(d), held_out=HELD_OUT.to(d))},
    "knn_probe": {
        "": lambda d: ts.knn_probe(features(d), features(CPU), held_out=HELD_OUT, neighbours=[1, 3])
    },
    "mistakes": {"": lambda d: ts.mistakes(decisions(d), LABELS.to(d), bootstrap=50)},
    "conv_singular_values": {
        "": lambda d: ts.conv_singular_values(state(0, d)["0.weight"], 8, stride=2),
    },
    "modules": {"": lambda d: ts.modules(network(0, d), INPUTS.to(d))},
    "block_shuffle": {"": lambda d: ts.block_shuffle(INPUTS.to(d), 4, seed=1)},
    "pixel_channel_shuffle": {"": lambda d: ts.pixel_channel_shuffle(INPUTS.to(d), seed=1)},
}


def numbers(value: Any) -> Iterator[Any]:
    """All single values in a result, in order."""
    if isinstance(value, Tensor):
        yield from value.detach().cpu().flatten().tolist()
    elif isinstance(value, pl.DataFrame):
        yield from (cell for row in value.rows() for cell in row)
    elif isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from numbers(part)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from numbers(getattr(value, field.name))
    else:
        yield value


def test_all_functions_are_tried() -> None:
    assert set(CALLS) == set(ts.__all__) - STUDIES


@pytest.mark.parametrize(
    "call", [pytest.param(c, id=f"{name} {v}".strip()) for name, vs in CALLS.items() for v, c in vs.items()]
)
def test_the_numbers_are_those_of_the_cpu(call: Callable[[torch.device], Any]) -> None:
    expected, found = list(numbers(call(CPU))), list(numbers(call(fake_gpu())))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        # the same code on the same processor, though memory may be laid out otherwise: float32 rounding
        assert (
            a == b or (isinstance(a, float) and math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-6)) or a != a != b
        )


def test_the_fake_device_notices_what_was_not_moved() -> None:
    with pytest.raises(RuntimeError, match="some tensors are on fakegpu"):
        network(0, fake_gpu())(INPUTS)
