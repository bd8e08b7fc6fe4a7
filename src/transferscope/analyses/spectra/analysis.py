"""Appendix: the spectra of the convolutions as linear operators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Panel, Row, Subject
from transferscope.analyses.spectra.claims import CLAIMS as CLAIMS
from transferscope.analyses.spectra.claims import findings as findings
from transferscope.core.config import AnalysisConfig, Study
from transferscope.core.instances import instances, parse
from transferscope.core.options import Frozen
from transferscope.core.runs import chosen_targets
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import nn

ORDER = 8
VERSION = 4
TITLE = "Spectra"
SHOWS = (
    "The singular values of every convolution as a linear operator on its own input, for P-T, RI-T and what they "
    "started from."
)
HOW_TO_READ = (
    "A curve that falls quickly belongs to a convolution that passes few directions and damps the rest. For the "
    "claim values are divided by the largest, so that only the shape of the spectrum is compared; the values "
    "themselves are drawn for the first, the middle and the last convolution."
)
CAVEATS = (
    "Computed with circular padding, which is near the network's own operator where the input is much larger than the "
    "kernel, and with the convolution's own stride, dilation and groups. Where the stride does not divide the input, "
    "the input counts as rounded up to the next multiple. The weights are those that the network uses in a pass, after "
    "weight or spectral normalization. A convolution that starts at "
    "0 (the last one of each branch of a Fixup network) has no spectrum before training, and one of few directions "
    "after a little of it: the claim is also judged without these. Convolutions that standardise their weights on the "
    "way (as in NFNets) are left out: the stored weights are not their operator. Convolutions that share their weights "
    "are listed once, as the first of them in the pass; transposed, 1-d and 3-d convolutions are left out."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), appendix; singular values after Sedghi, Gupta, Long (2019)"

NOTHING = "The network has no convolution."
QUANTILES = tuple(i / 20 for i in range(21))
KEYS = (Column("target", "str", "Name of the target"),)
_CONVOLUTION = (
    Column("instance", "str", "Name of the instance"),
    Column("kind", "str", "P-T, RI-T, P or RI"),
    Column("seed", "int", "Its seed; null for P"),
    Column("convolution", "str", "Name of the convolution in the network"),
    Column("depth", "int", "Its place in the order of the pass, from 0"),
    Column("starts_at_zero", "bool", "Whether its weights are all 0 in RI"),
)
TABLES = {
    "spectra": (
        *_CONVOLUTION,
        Column("input_height", "int", "Height of its input", "px"),
        Column("input_width", "int", "Width of its input", "px"),
        Column("num_values", "int", "Singular values"),
        Column("largest", "float", "Largest singular value"),
        Column("mean", "float", "Mean singular value"),
        Column("mean_relative", "float", "Mean over largest; NaN where the weights are 0", "0 to 1"),
    ),
    "spectra_quantiles": (
        *_CONVOLUTION,
        Column("share", "float", "Share of the singular values that are larger", "0 to 1"),
        Column("value", "float", "The singular value there"),
        Column(
            "relative", "float", "The singular value there, over the largest; NaN where the weights are 0"
        ),
    ),
}


class Settings(Frozen):
    """What decides the numbers of a cell: nothing to choose."""


class Config(AnalysisConfig, Settings):
    """Options of spectra."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Nothing beyond what every analysis is checked for."""
    yield from ()


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, with all its instances and their inits."""
    for target in chosen_targets(study, config):
        subjects = instances(study, config, target, untrained=True)
        yield Cell(keys={"target": target}, subjects=subjects, data=study.targets[target].data, cost=0.5)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Spectra of all convolutions of all instances."""
    from transferscope.metrics.landscape.spectrum import conv_singular_values

    rows: list[Row] = []
    quantiles: list[Row] = []
    image = data.test.inputs[:1]
    at_zero = _at_zero(subjects, image)
    for name, subject in subjects.items():
        instance = parse(name)
        for depth, (where, used) in enumerate(_used(subject.model(), image).items()):
            conv = used.convolution
            values = conv_singular_values(
                used.weight,
                used.rounded_size,
                stride=_two(conv.stride),
                dilation=_two(conv.dilation),
                groups=conv.groups,
            ).cpu()
            largest = float(values[0])
            key = {"instance": name, "kind": instance.kind, "seed": instance.seed, "convolution": where}
            key |= {"depth": depth, "starts_at_zero": where in at_zero}
            rows.append(
                {
                    **key,
                    "input_height": used.input_size[0],
                    "input_width": used.input_size[1],
                    "num_values": len(values),
                    "largest": largest,
                    "mean": float(values.mean()),
                    "mean_relative": float(values.mean()) / largest if largest > 0 else math.nan,
                }
            )
            places = [round(share * (len(values) - 1)) for share in QUANTILES]
            quantiles += [
                {
                    **key,
                    "share": share,
                    "value": float(values[i]),
                    "relative": float(values[i]) / largest if largest > 0 else math.nan,
                }
                for share, i in zip(QUANTILES, places, strict=True)
            ]
    return {"spectra": rows, "spectra_quantiles": quantiles}


@dataclass(frozen=True)
class _Used:
    """A convolution as a pass uses it."""

    convolution: nn.Conv2d
    weight: torch.Tensor
    """After normalization hooks and parametrizations."""
    input_size: tuple[int, int]
    """Height and width."""

    @property
    def rounded_size(self) -> tuple[int, int]:
        """The input's size, rounded up to a multiple of the stride."""
        (height, width), (vertical, horizontal) = self.input_size, _two(self.convolution.stride)
        return -(-height // vertical) * vertical, -(-width // horizontal) * horizontal


def _two(pair: Sequence[int]) -> tuple[int, int]:
    return pair[0], pair[1]


def _at_zero(subjects: Mapping[str, Subject], image: torch.Tensor) -> set[str]:
    """The convolutions whose weights are all 0 in every RI that there is."""
    found: list[set[str]] = []
    for name, subject in subjects.items():
        if parse(name).kind == "RI":
            used = _used(subject.model(), image)
            found.append({where for where, each in used.items() if not each.weight.any()})
    return set.intersection(*found) if found else set()


def _used(model: nn.Module, image: torch.Tensor) -> dict[str, _Used]:
    """The convolutions by name, in the order in which a pass calls them; shared weights once, as the first of them.

    The weights are read during the pass: hooks of `torch.nn.utils.weight_norm` and `spectral_norm` compute them when
    the convolution is called, and hold those of an earlier state until then.
    """
    import torch
    from torch import nn

    used: dict[str, _Used] = {}
    seen: set[tuple[int, ...]] = set()

    def note(
        name: str,
        conv: nn.Conv2d,
        args: tuple[torch.Tensor, ...],
        kwargs: dict[str, torch.Tensor],
        _output: object,
    ) -> None:
        stored = tuple(id(each) for key, each in conv.named_parameters() if key != "bias") or (id(conv),)
        if stored not in seen:
            seen.add(stored)
            height, width = (args[0] if args else kwargs["input"]).shape[-2:]
            used[name] = _Used(conv, conv.weight.detach(), (height, width))

    hooks = [
        module.register_forward_hook(partial(note, name), with_kwargs=True)
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and "StdConv" not in type(module).__name__
    ]
    try:
        with torch.no_grad():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return used


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: the mean spectrum by kind, its mean by depth, and three convolutions' own spectra."""
    from transferscope.analyses.spectra.panels import spectra_panels

    return spectra_panels(tables)
