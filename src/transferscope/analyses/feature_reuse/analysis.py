"""Experiment 1: how much of the gain survives when the images' blocks are shuffled."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Gallery, Panel, Row, Subject
from transferscope.analyses.feature_reuse.claims import CLAIMS as CLAIMS
from transferscope.analyses.feature_reuse.claims import findings as findings
from transferscope.analyses.feature_reuse.first_page import advice as advice
from transferscope.analyses.feature_reuse.first_page import headline as headline
from transferscope.analyses.feature_reuse.tables import KEYS as KEYS
from transferscope.analyses.feature_reuse.tables import SPEEDS
from transferscope.analyses.feature_reuse.tables import SUMMARIES as SUMMARIES
from transferscope.analyses.feature_reuse.tables import TABLES as TABLES
from transferscope.analyses.shared.image_groups import groups_of, rows_without
from transferscope.core.config import AnalysisConfig, Fraction, SeedChoice, Study
from transferscope.core.datasets import describe
from transferscope.core.errors import did_you_mean
from transferscope.core.options import Frozen
from transferscope.core.runs import (
    KIND_NAMES,
    KINDS,
    UNSHUFFLED,
    View,
    chosen_seeds,
    chosen_targets,
    pick_seeds,
    shuffled_view,
    target_run,
)

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 1
VERSION = 4
TRAINS = True
"""It asks for trainings of its own, so networks that were trained elsewhere can't have it."""
TITLE = "Feature reuse"
SHOWS = (
    "The images of a target are cut in square blocks and the blocks are shuffled, with one permutation for all "
    "images; P-T and RI-T are trained on them. Small blocks leave nothing for features of shapes to be reused on, "
    "only the low-level statistics of the images."
)
HOW_TO_READ = (
    "Read from left to right as blocks get smaller. Where the two curves stay apart at small blocks, something "
    "other than visual features was transferred; look at the optimization speed too, where it shows most. Points "
    "are seeds and lines their mean; the light band is its 95 % interval over seeds, the dark one what other test "
    "images could change."
)
CAVEATS = (
    "The relative gain can rise when both accuracies fall, so look at the accuracies themselves beside it. A "
    "target that RI-T solves as well as P-T has no gain to lose, and no share of it can survive. A permutation of "
    "four blocks moves none of them for one seed in 24, seed 0 among them: the paper's permutations are kept, and the "
    "claims leave such networks out. "
    "Both kinds keep the learning rates that were chosen on unshuffled images. In a study that augments, all "
    "networks of this section are trained without: shuffled images can't be cropped or turned."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 3.1, figures 2 and 3"


class Settings(Frozen):
    """What decides the numbers of a cell."""

    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the intervals over them."""
    levels: tuple[Fraction, ...] = Field(default=(0.5, 0.8, 0.9), min_length=1)
    """Levels of the training metric; how many epochs it takes to reach each is counted."""
    num_examples: Annotated[int, Field(ge=0)] = 3
    """Test images shown at every block size."""


class Config(AnalysisConfig, Settings):
    """Options of feature_reuse."""

    block_sizes_px: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Sides of the blocks to shuffle, in pixels; each divides the image's side. Unshuffled is always there."""
    pixels_and_channels: bool = True
    """One more step: all pixels and channels permuted."""
    shuffled_targets: tuple[str, ...] | None = None
    """Names of the targets that are shuffled; by default all that are looked at."""
    shuffled_seeds: SeedChoice | None = None
    """At most how many of the seeds, or which of them, are trained on shuffled images; default: all."""


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
            seeds = chosen_seeds(study, config, target)
            for seed in seeds if block == size else pick_seeds(seeds, config.shuffled_seeds):
                view = shuffled_view(study, target, block, seed)
                yield _cell(study, target, view, seed, size)


def _cell(study: Study, target: str, view: View, seed: int, image_size_px: int) -> Cell:
    keys = {
        "target": target,
        "likeness_rank": study.targets[target].likeness_rank,
        "view": view.kind,
        "block_size_px": image_size_px if view == UNSHUFFLED else view.block_size_px,
        "seed": seed,
        "shuffle_seed": view.seed,
    }
    subjects = {}
    for kind in KINDS:
        # shuffled images are never augmented, so neither is what they are compared with
        subjects[kind] = target_run(study, kind, target, seed, view=view, augment=False).final
        subjects[f"{kind}_unshuffled"] = target_run(study, kind, target, seed, augment=False).final
    return Cell(keys=keys, subjects=subjects, data=study.targets[target].data, view=view, cost=0.1)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Final metrics, gains, drops and speeds of one P-T and one RI-T, and what they see."""
    from transferscope.metrics.evaluation.image_groups import scores_without
    from transferscope.metrics.evaluation.score_interval import percentile_interval, resampled_scores
    from transferscope.metrics.evaluation.scores import score

    labels = data.test.labels
    logits = {role: subject.test_logits for role, subject in subjects.items()}
    found = _numbers({role: score(own, labels) for role, own in logits.items()})
    resampled = _numbers(
        resampled_scores(logits, labels, draws=settings.bootstrap_draws, generator=generator)
    )
    row: Row = {"metric": data.description.metric, "n_test": len(labels)}
    for name, value in found.items():
        interval = percentile_interval(value, resampled[name], len(labels))
        row |= {name: value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    levels = []
    for kind in KINDS:
        metrics = subjects[kind].history["train_metric"].drop_nulls().to_list()
        row[f"{kind}_speed"] = sum(metrics) / len(metrics) if metrics else math.nan
        for level in settings.levels:
            epochs = epochs_to_reach(level, metrics)
            levels.append({"kind": KIND_NAMES[kind], "level": level, "epochs": epochs})
    row["speed_gain"] = row["p_t_speed"] - row["ri_t_speed"]
    groups = groups_of(data.test)
    without = _numbers({role: scores_without(own, labels, groups) for role, own in logits.items()})
    return {
        "feature_reuse": [row],
        "feature_reuse_images": rows_without(without | {name: row[name] for name in SPEEDS}),
        "feature_reuse_levels": levels,
        "feature_reuse_examples": _examples(data, settings.num_examples),
    }


def _numbers(metric: Mapping[str, Any]) -> dict[str, Any]:
    """What is computed from the four final metrics: numbers, or replicates of them; NaN over a metric of 0."""
    p_t, ri_t = metric["p_t"], metric["ri_t"]
    numbers = {"p_t": p_t, "ri_t": ri_t, "gain": p_t - ri_t, "relative_gain": _ratio(p_t - ri_t, p_t)}
    for kind in KINDS:
        whole = metric[f"{kind}_unshuffled"]
        numbers[f"{kind}_relative_drop"] = _ratio(whole - metric[kind], whole)
    return numbers


def _ratio(part: Any, whole: Any) -> Any:
    if isinstance(whole, float):
        return part / whole if whole > 0 else math.nan
    return (part / whole).where(whole > 0, math.nan)


def epochs_to_reach(level: float, metrics: Sequence[float]) -> int | None:
    """The first epoch, from 1, whose metric is at least the level; None if none is."""
    return next((epoch for epoch, metric in enumerate(metrics, start=1) if metric >= level), None)


def _examples(data: CellData, count: int) -> list[Row]:
    """The first test images as shown in this view."""
    from transferscope.data.inspect.thumbnail import png_thumbnail

    images, test, about = data.test_images_uint8, data.test.first(count), data.description
    if images is None:
        return []
    labels = [
        ", ".join(name for name, present in zip(about.class_names, label, strict=True) if present)
        or "no finding"
        if isinstance(label, list)
        else about.class_names[label]
        for label in test.labels.tolist()
    ]
    return [
        {"image_id": id_, "label": label, "picture": png_thumbnail(image)}
        for id_, label, image in zip(test.ids, labels, images[:count], strict=True)
    ]


def summarize(tables: Mapping[str, pl.DataFrame]) -> dict[str, list[Row]]:
    """Numbers over seeds, and the share of the gain that survives."""
    from transferscope.analyses.feature_reuse.summary import summary_rows

    return {"feature_reuse_over_seeds": list(summary_rows(tables))}


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: final metric, optimization speed, drop and epochs to a level; then both gains of all."""
    from transferscope.analyses.feature_reuse.panels import reuse_panels

    return reuse_panels(tables)


def galleries(tables: Mapping[str, pl.DataFrame]) -> Sequence[Gallery]:
    """The same images of each target at every block size."""
    from transferscope.analyses.feature_reuse.panels import reuse_galleries

    return reuse_galleries(tables["feature_reuse_examples"])
