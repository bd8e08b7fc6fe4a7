"""Appendix: the spectra of the convolutions as linear operators."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analysis import Cell, CellData, Column, ConfigProblem, Panel, Row, Subject
from transferscope.claims import BY_ID
from transferscope.config import AnalysisConfig, Study
from transferscope.findings import Finding, judge, mean_over_targets
from transferscope.options import Frozen
from transferscope.pairs import instances, parse
from transferscope.runs import chosen_targets

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import nn

ORDER = 8
VERSION = 1
TITLE = "Spectra"
SHOWS = (
    "The singular values of every convolution as a linear operator on its own input, for P-T, RI-T and what they "
    "started from."
)
HOW_TO_READ = (
    "A curve that falls quickly belongs to a convolution that passes few directions and damps the rest; values "
    "are divided by the largest, so that only the shape of the spectrum is compared."
)
CAVEATS = (
    "Computed with circular padding and stride 1, which is near the network's own operator where the input is much "
    "larger than the kernel. Grouped and depthwise convolutions are handled by group."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), appendix; singular values after Sedghi, Gupta, Long (2019)"

QUANTILES = tuple(i / 20 for i in range(21))
KEYS = (Column("target", "str", "Name of the target"),)
_CONVOLUTION = (
    Column("instance", "str", "Name of the instance"),
    Column("kind", "str", "P-T, RI-T, P or RI"),
    Column("seed", "int", "Its seed; null for P"),
    Column("convolution", "str", "Name of the convolution in the network"),
    Column("depth", "int", "Its place from the first, 0"),
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
    from transferscope.metrics.spectrum import conv_singular_values

    rows: list[Row] = []
    quantiles: list[Row] = []
    sizes: dict[str, tuple[int, int]] = {}
    for name, subject in subjects.items():
        model = subject.model()
        convolutions = _convolutions(model)
        if not sizes:
            sizes = _input_sizes(model, convolutions, data.test.inputs[:1])
        instance = parse(name)
        for depth, (where, conv) in enumerate(convolutions.items()):
            values = conv_singular_values(conv.weight, sizes[where], groups=conv.groups).cpu()
            largest = float(values[0])
            key = {"instance": name, "kind": instance.kind, "seed": instance.seed, "convolution": where}
            key["depth"] = depth
            rows.append(
                {
                    **key,
                    "input_height": sizes[where][0],
                    "input_width": sizes[where][1],
                    "num_values": len(values),
                    "largest": largest,
                    "mean": float(values.mean()),
                    "mean_relative": float(values.mean()) / largest if largest > 0 else math.nan,
                }
            )
            places = [round(share * (len(values) - 1)) for share in QUANTILES]
            quantiles += [
                {**key, "share": share, "relative": float(values[i]) / largest if largest > 0 else math.nan}
                for share, i in zip(QUANTILES, places, strict=True)
            ]
    return {"spectra": rows, "spectra_quantiles": quantiles}


def _convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    from torch import nn

    return {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}


def _input_sizes(
    model: nn.Module, convolutions: Mapping[str, nn.Conv2d], image: torch.Tensor
) -> dict[str, tuple[int, int]]:
    """Height and width of what each convolution is given, from one forward pass."""
    import torch

    sizes: dict[str, tuple[int, int]] = {}

    def note(name: str):
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            sizes[name] = (inputs[0].shape[-2], inputs[0].shape[-1])

        return hook

    hooks = [conv.register_forward_pre_hook(note(name)) for name, conv in convolutions.items()]
    try:
        with torch.inference_mode():
            model(image)
    finally:
        for hook in hooks:
            hook.remove()
    return sizes


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: the mean spectrum by kind; then its mean by depth."""
    import altair as alt
    import polars as pl

    from transferscope.figures import KIND_COLORS, color_scale

    drawn = []
    for target in tables["spectra"]["target"].unique(maintain_order=True):
        for table, x, y, title, name in (
            (
                "spectra_quantiles",
                alt.X("share:Q", title="share of singular values that are larger"),
                "relative",
                "singular value over the largest",
                "shape",
            ),
            (
                "spectra",
                alt.X("depth:O", title="convolution, from the first"),
                "mean_relative",
                "mean over the largest",
                "depth",
            ),
        ):
            part = tables[table].filter((pl.col("target") == target) & pl.col(y).is_not_nan())
            chart = (
                alt.Chart(
                    part.group_by("kind", x.shorthand.split(":")[0], maintain_order=True).agg(
                        pl.col(y).mean()
                    )
                )
                .mark_line(point=name == "depth")
                .encode(
                    x=x,
                    y=alt.Y(f"{y}:Q", title=title),
                    color=alt.Color(
                        "kind:N", scale=color_scale(part["kind"].unique(), KIND_COLORS), title=None
                    ),
                )
            )
            drawn.append(
                Panel(
                    name=f"{name}-{target}",
                    title=f"{target}: {'spectrum' if name == 'shape' else 'spectrum by depth'}",
                    chart=chart,
                    summary=f"{title.capitalize()} on {target}, mean over instances"
                    f"{' and convolutions' if name == 'shape' else ''}, a line a kind.",
                )
            )
    return drawn


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The claim about spectra."""
    import polars as pl

    table = tables["spectra"].filter(
        pl.col("kind").is_in(["P-T", "RI-T"]) & pl.col("mean_relative").is_not_nan()
    )

    def difference(rows: pl.DataFrame) -> float:
        means = [
            mean_over_targets(rows.filter(pl.col("kind") == kind), "mean_relative")
            for kind in ("P-T", "RI-T")
        ]
        return means[0] - means[1]

    return [judge(BY_ID["ri_t_spectra_are_smaller"], table, difference)]
