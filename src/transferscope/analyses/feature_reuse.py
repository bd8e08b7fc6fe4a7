"""Experiment 1: how much of the gain survives when the images' blocks are shuffled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from transferscope.analysis import Cell, CellData, Column, ConfigProblem, Panel, Row, Subject
from transferscope.claims import BY_ID
from transferscope.config import AnalysisConfig, Study
from transferscope.data.base import describe
from transferscope.errors import did_you_mean
from transferscope.findings import Finding, judge, largest, mean_over_targets, not_measured
from transferscope.options import Frozen
from transferscope.runs import UNSHUFFLED, View, chosen_seeds, chosen_targets, shuffled_view, target_run

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 1
VERSION = 1
TITLE = "Feature reuse"
SHOWS = (
    "The images of a target are cut in square blocks and the blocks are shuffled, with one permutation for all "
    "images; P-T and RI-T are trained on them. Small blocks leave nothing for features of shapes to be reused on, "
    "only the low-level statistics of the images."
)
HOW_TO_READ = (
    "Read from left to right as blocks get smaller. Where the two curves stay apart at small blocks, something "
    "other than visual features was transferred; look at the optimization speed too, where it shows most."
)
CAVEATS = (
    "The relative gain can rise when both accuracies fall, so look at the accuracies themselves beside it. A "
    "target that RI-T solves as well as P-T has no gain to lose."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 3.1, figures 2 and 3"

KEYS = (
    Column("target", "str", "Name of the target"),
    Column("likeness_rank", "int", "1 for the target most like the source, as the study says"),
    Column("view", "str", "unshuffled, blocks, or pixels_and_channels"),
    Column(
        "block_size_px",
        "int",
        "Side of a block; the image's side where unshuffled, null for pixels and channels",
        "px",
    ),
    Column("seed", "int", "Seed of both instances; blocks are shuffled with seed 1234 + this"),
)
TABLES = {
    "feature_reuse": (
        Column("metric", "str", "accuracy or mean_auc"),
        Column("n_test", "int", "Test images"),
        Column("p_t", "float", "Final test metric of P-T", "0 to 1"),
        Column("ri_t", "float", "Final test metric of RI-T", "0 to 1"),
        Column("gain", "float", "P-T minus RI-T"),
        Column("gain_low", "float", "Lower end of its 95 % paired bootstrap interval over test images"),
        Column("gain_high", "float", "Upper end"),
        Column("relative_gain", "float", "Gain over the metric of P-T"),
        Column(
            "p_t_relative_drop", "float", "Loss of P-T's metric against unshuffled images, over the latter"
        ),
        Column("ri_t_relative_drop", "float", "The same of RI-T"),
        Column(
            "p_t_speed", "float", "Optimization speed of P-T: training metric, mean over epochs", "0 to 1"
        ),
        Column("ri_t_speed", "float", "Optimization speed of RI-T", "0 to 1"),
        Column("speed_gain", "float", "Speed of P-T minus that of RI-T"),
    )
}


class Settings(Frozen):
    """What decides the numbers of a cell."""

    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the interval of the gain."""


class Config(AnalysisConfig, Settings):
    """Options of feature_reuse."""

    block_sizes_px: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Sides of the blocks to shuffle, in pixels; each divides the image's side. Unshuffled is always there."""
    pixels_and_channels: bool = True
    """One more step: all pixels and channels permuted."""
    shuffled_targets: tuple[str, ...] | None = None
    """Names of the targets that are shuffled; by default all that are looked at."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Targets that are not looked at, and block sizes that don't divide a target's images."""
    targets = chosen_targets(study, config)
    for target in config.shuffled_targets or ():
        if target not in targets:
            yield ConfigProblem(
                "shuffled_targets", f"'{target}' is not looked at.{did_you_mean(target, targets)}"
            )
    for target in targets:
        size = describe(study.targets[target].data).image_size_px
        for block in config.block_sizes_px:
            if size % block:
                divisors = ", ".join(str(d) for d in range(1, size + 1) if size % d == 0)
                yield ConfigProblem(
                    "block_sizes_px",
                    f"a block of {block} px does not divide the {size} px images of target '{target}'. "
                    f"Valid: {divisors}.",
                )


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, view and seed."""
    for target in chosen_targets(study, config):
        data = study.targets[target].data
        size = describe(data).image_size_px
        blocks: list[Any] = [size]
        if config.shuffled_targets is None or target in config.shuffled_targets:
            blocks += sorted(set(config.block_sizes_px) - {size}, reverse=True)
            blocks += ["pixels_and_channels"] if config.pixels_and_channels else []
        for block in blocks:
            for seed in chosen_seeds(study, config):
                view = shuffled_view(data, block, seed)
                yield _cell(study, target, view, seed, size)


def _cell(study: Study, target: str, view: View, seed: int, image_size_px: int) -> Cell:
    keys = {
        "target": target,
        "likeness_rank": study.targets[target].likeness_rank,
        "view": view.kind,
        "block_size_px": image_size_px if view == UNSHUFFLED else view.block_size_px,
        "seed": seed,
    }
    subjects = {}
    for kind in ("p_t", "ri_t"):
        subjects[kind] = target_run(study, kind, target, seed, view=view).final
        subjects[f"{kind}_unshuffled"] = target_run(study, kind, target, seed).final
    return Cell(keys=keys, subjects=subjects, data=study.targets[target].data, view=view, cost=0.1)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Final metrics, gains and speeds of one P-T and one RI-T."""
    from transferscope.metrics.score_interval import score_difference_interval
    from transferscope.metrics.scores import score

    labels = data.test.labels
    final = {role: score(subject.test_logits, labels) for role, subject in subjects.items()}
    speed = {role: _speed(subject.history) for role, subject in subjects.items()}
    interval = score_difference_interval(
        subjects["p_t"].test_logits,
        subjects["ri_t"].test_logits,
        labels,
        draws=settings.bootstrap_draws,
        generator=generator,
    )
    gain = final["p_t"] - final["ri_t"]
    row: Row = {
        "metric": data.description.metric,
        "n_test": len(labels),
        "p_t": final["p_t"],
        "ri_t": final["ri_t"],
        "gain": gain,
        "gain_low": interval.low,
        "gain_high": interval.high,
        "relative_gain": _ratio(gain, final["p_t"]),
        "p_t_speed": speed["p_t"],
        "ri_t_speed": speed["ri_t"],
        "speed_gain": speed["p_t"] - speed["ri_t"],
    }
    for kind in ("p_t", "ri_t"):
        unshuffled = final[f"{kind}_unshuffled"]
        row[f"{kind}_relative_drop"] = _ratio(unshuffled - final[kind], unshuffled)
    return {"feature_reuse": [row]}


def _speed(history: pl.DataFrame) -> float:
    """Mean training metric over the epochs (paper, section 3.1)."""
    values = history["train_metric"].drop_nulls().to_list()
    return sum(values) / len(values) if values else math.nan


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: final metric, and optimization speed, by block size; then the relative gain."""
    import altair as alt
    import polars as pl

    from transferscope.figures import KIND_COLORS, color_scale

    table = tables["feature_reuse"].with_columns(view_label=_view_label())
    order = _view_order(table)
    drawn = []
    for what, title, columns in (
        ("metric", "final test metric", {"p_t": "P-T", "ri_t": "RI-T"}),
        ("speed", "optimization speed", {"p_t_speed": "P-T", "ri_t_speed": "RI-T"}),
    ):
        for target in table["target"].unique(maintain_order=True):
            part = table.filter(pl.col("target") == target)
            tidy = part.rename(columns).unpivot(
                on=["P-T", "RI-T"], index=["view_label", "seed"], variable_name="kind", value_name="value"
            )
            base = alt.Chart(tidy).encode(
                x=alt.X("view_label:N", sort=order, title="block size (px)"),
                color=alt.Color("kind:N", scale=color_scale(["P-T", "RI-T"], KIND_COLORS), title=None),
            )
            value = alt.Y("value:Q", scale=alt.Scale(zero=False), title=title)
            chart = alt.layer(
                base.mark_line().encode(y=alt.Y("mean(value):Q", scale=alt.Scale(zero=False), title=title)),
                base.mark_point(opacity=0.6).encode(y=value),
            )
            drawn.append(
                Panel(
                    name=f"{what}-{target}",
                    title=f"{target}: {title}",
                    chart=chart,
                    summary=f"{title} of P-T and RI-T on {target} by block size; a point a seed, the line is the mean.",
                )
            )
    gain = (
        alt.Chart(table)
        .mark_line(point=True)
        .encode(
            x=alt.X("view_label:N", sort=order, title="block size (px)"),
            y=alt.Y("mean(relative_gain):Q", title="relative gain, mean over seeds"),
            color=alt.Color("target:N", title=None, sort=None),
        )
    )
    drawn.append(
        Panel(
            name="relative-gain",
            title="Relative gain of P-T over RI-T",
            chart=gain,
            summary="Gain of P-T over RI-T divided by the metric of P-T, by block size, a line a target.",
        )
    )
    return drawn


def _view_label() -> pl.Expr:
    import polars as pl

    return (
        pl.when(pl.col("view") == "pixels_and_channels")
        .then(pl.lit("p&c"))
        .otherwise(pl.col("block_size_px").cast(pl.String))
    )


def _view_order(table: pl.DataFrame) -> list[str]:
    """Largest blocks first, pixels and channels last."""
    import polars as pl

    sizes = table.select("view_label", pl.col("block_size_px").fill_null(0)).unique()
    return sizes.sort("block_size_px", descending=True)["view_label"].to_list()


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The four claims about shuffled blocks."""
    import polars as pl

    table = tables["feature_reuse"]
    names = (
        "gain_shrinks_with_blocks",
        "gain_shrinks_most_near_source",
        "gain_survives_shuffling",
        "statistics_help_speed_most",
    )
    blocks = table.filter(pl.col("view") == "blocks")
    if blocks.is_empty():
        return [not_measured(BY_ID[name], "No blocks were shuffled.") for name in names]
    smallest = blocks["block_size_px"].min()
    by_id = dict(
        zip(
            names,
            (
                lambda rows: _mean([shrinkage for _, shrinkage in _shrinkages(rows, smallest)]),
                lambda rows: _shrinks_most(rows, smallest),
                lambda rows: _at_smallest(rows, smallest, pl.col("relative_gain")),
                lambda rows: _at_smallest(
                    rows, smallest, pl.col("speed_gain") / pl.col("p_t_speed") - pl.col("relative_gain")
                ),
            ),
            strict=True,
        )
    )
    n = largest(table, "n_test")
    note = f"Smallest blocks: {smallest} px."
    found = []
    for name, statistic in by_id.items():
        if name == "gain_shrinks_most_near_source" and table["likeness_rank"].drop_nulls().n_unique() < 2:
            found.append(not_measured(BY_ID[name], "Fewer than two targets have a likeness_rank."))
        else:
            found.append(judge(BY_ID[name], table, statistic, num_images=n, note=note))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _shrinkages(rows: pl.DataFrame, smallest: Any) -> list[tuple[int | None, float]]:
    """Likeness rank, and relative gain unshuffled minus at the smallest blocks, of each target that has both."""
    import polars as pl

    found = []
    for _, part in rows.group_by(["target"], maintain_order=True):
        whole = part.filter(pl.col("view") == "unshuffled")
        small = part.filter((pl.col("view") == "blocks") & (pl.col("block_size_px") == smallest))
        if not (whole.is_empty() or small.is_empty()):
            gains = [mean_over_targets(shown, "relative_gain") for shown in (whole, small)]
            found.append((part["likeness_rank"][0], gains[0] - gains[1]))
    return found


def _shrinks_most(rows: pl.DataFrame, smallest: Any) -> float:
    ranked = [(rank, shrinkage) for rank, shrinkage in _shrinkages(rows, smallest) if rank is not None]
    ranks = {rank for rank, _ in ranked}
    if len(ranks) < 2:
        return math.nan
    ends = [_mean([value for rank, value in ranked if rank == end]) for end in (min(ranks), max(ranks))]
    return ends[0] - ends[1]


def _at_smallest(rows: pl.DataFrame, smallest: Any, value: pl.Expr) -> float:
    import polars as pl

    part = rows.filter((pl.col("view") == "blocks") & (pl.col("block_size_px") == smallest))
    return mean_over_targets(part, value)
