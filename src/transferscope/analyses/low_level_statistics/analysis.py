"""Beyond the paper: how much of the gain the statistics of the pre-trained weights give without any feature."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Panel, Row, Subject
from transferscope.analyses.low_level_statistics.claims import CLAIMS as CLAIMS
from transferscope.analyses.low_level_statistics.claims import findings as findings
from transferscope.analyses.low_level_statistics.first_page import headline as headline
from transferscope.analyses.low_level_statistics.tables import FINAL, PERMUTED, SPEED
from transferscope.analyses.low_level_statistics.tables import KEYS as KEYS
from transferscope.analyses.low_level_statistics.tables import SUMMARIES as SUMMARIES
from transferscope.analyses.low_level_statistics.tables import TABLES as TABLES
from transferscope.analyses.shared.image_groups import groups_of, rows_without
from transferscope.core.config import AnalysisConfig, Study
from transferscope.core.datasets import describe
from transferscope.core.errors import did_you_mean
from transferscope.core.options import Frozen
from transferscope.core.runs import (
    CONTROLS,
    KIND_NAMES,
    KINDS,
    Kind,
    chosen_seeds,
    chosen_targets,
    pick_seeds,
    shuffled_view,
    target_run,
)

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 9
FIRST_PAGE_ORDER = 2
VERSION = 3
TRAINS = True
"""It asks for trainings of its own, so networks that were trained elsewhere can't have it."""
TITLE = "Weight statistics and features"
SHOWS = (
    "Two controls start from the statistics of the pre-trained weights without their features: in one each weight "
    "tensor is drawn anew with its mean and variance, in the other its entries change places. With them the gain of "
    "P-T over RI-T is split in what the statistics of the weights give, what more survives when the images' blocks "
    "are shuffled, and what only intact features on intact images give.\n\n"
    "Where the first control was trained on the shuffled blocks as well (shuffled_controls), each step compares "
    "networks that were trained on the same images: the control and RI-T on intact ones, P-T and the control on "
    "shuffled ones, and what P-T's lead over the control loses when the images are shuffled."
)
HOW_TO_READ = (
    "Each figure climbs from RI-T, at 0, to P-T; a step is a part of the gain, with its interval over seeds. A high "
    "first step says that a better scaled random initialization would do much of what the pre-training did; a step "
    "down, that the statistics without the features do harm."
)
CAVEATS = (
    "The parts add up by construction, and a part can be below 0. Without shuffled_controls the step between the "
    "statistics and the shuffled blocks compares gains on other images: shuffled ones are harder, and where the "
    "statistics alone do harm on intact images, this step makes up for it, too. A single number (a bias or a scale of "
    "Fixup) has no variance and no other place: the controls keep it, and with it whatever it alone gives. A control "
    "trained at another rate than its own best gets less than the statistics could give."
)
SOURCE = "Beyond the paper; the control of means and variances after Raghu, Zhang, Kleinberg, Bengio (2019), section 5"


class Settings(Frozen):
    """What decides the numbers of a cell."""

    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the intervals over them."""


class Config(AnalysisConfig, Settings):
    """Options of low_level_statistics."""

    block_size_px: Annotated[int, Field(ge=1)] | None = None
    """Side of the shuffled blocks, on all targets looked at; by default the smallest that the study's feature_reuse
    shuffles, on the targets that it shuffles, and none where it shuffles none."""
    permuted_control: bool = True
    """True to train the control of permuted weights too. It stands beside the other one; no claim rests on it."""
    shuffled_controls: bool | tuple[str, ...] = False
    """Whether the control of means and variances is trained on the shuffled blocks as well: one more training a target
    and seed, with which each step of the split compares networks trained on the same images. On all targets with
    shuffled blocks, or on those named."""

    @property
    def controls(self) -> tuple[Kind, ...]:
        """The controls that are trained."""
        return CONTROLS if self.permuted_control else ("layer_statistics",)


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """A block size that doesn't divide a target's images, and controls on blocks that aren't shuffled."""
    for target in chosen_targets(study, config):
        size = describe(study.targets[target].data).image_size_px
        block = config.block_size_px
        if block is not None and (size % block or size == block):
            divisors = ", ".join(str(d) for d in range(1, size) if size % d == 0)
            yield ConfigProblem(
                "block_size_px",
                f"blocks of {block} px can't be shuffled in the {size} px images of target '{target}'. "
                f"Valid: {divisors}.",
            )

    shuffled = [
        name for name in chosen_targets(study, config) if _block_size(study, config, name) is not None
    ]
    if config.shuffled_controls is True and not shuffled:
        yield ConfigProblem("shuffled_controls", f"no target has shuffled blocks; {_GIVE_BLOCKS}")
    for name in config.shuffled_controls if isinstance(config.shuffled_controls, tuple) else ():
        if name not in shuffled:
            valid = ", ".join(shuffled) or "none"
            yield ConfigProblem(
                "shuffled_controls",
                f"'{name}' has no shuffled blocks; {_GIVE_BLOCKS} Targets that have: {valid}."
                f"{did_you_mean(name, shuffled)}",
            )


_GIVE_BLOCKS = "give block_size_px, or let feature_reuse shuffle it."


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target and seed."""
    for target in chosen_targets(study, config):
        data = study.targets[target].data
        block = _block_size(study, config, target)
        for seed in _seeds(study, config, target):
            # as in feature_reuse: shuffled images are never augmented, so neither is what they are compared with
            subjects = {
                kind: target_run(study, kind, target, seed, augment=False).final
                for kind in (*KINDS, *config.controls)
            }
            if block is not None:
                view = shuffled_view(study, target, block, seed)
                for kind in (*KINDS, *_shuffled_controls(config, target)):
                    subjects[f"{kind}_shuffled"] = target_run(study, kind, target, seed, view=view).final
            keys = {"target": target, "block_size_px": block, "seed": seed}
            yield Cell(keys=keys, subjects=subjects, data=data, cost=0.1)


def _shuffled_controls(config: Config, target: str) -> tuple[Kind, ...]:
    chosen = config.shuffled_controls
    return ("layer_statistics",) if chosen is True or (chosen and target in chosen) else ()


def _seeds(study: Study, config: Config, target: str) -> tuple[int, ...]:
    """The seeds on a target: where the blocks are feature_reuse's, only those that it shuffles, so that all steps of
    the split are of the same seeds."""
    seeds = chosen_seeds(study, config, target)
    reuse: Any = study.analyses.get("feature_reuse")
    if config.block_size_px is not None or reuse is None or _block_size(study, config, target) is None:
        return seeds
    shuffled = pick_seeds(chosen_seeds(study, reuse, target), reuse.shuffled_seeds)
    return tuple(seed for seed in seeds if seed in shuffled)


def _block_size(study: Study, config: Config, target: str) -> int | None:
    """The blocks to shuffle on a target: the same runs as feature_reuse's, unless told otherwise."""
    if config.block_size_px is not None:
        return config.block_size_px
    reuse: Any = study.analyses.get("feature_reuse")
    if reuse is None:
        return None
    shuffled = chosen_targets(study, reuse) if reuse.shuffled_targets is None else reuse.shuffled_targets
    size = describe(study.targets[target].data).image_size_px
    blocks = [block for block in reuse.block_sizes_px if block < size]
    return min(blocks, default=None) if target in shuffled else None


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """The parts of one P-T's gain over one RI-T, in the final metric and in optimization speed."""
    from transferscope.metrics.evaluation.image_groups import scores_without
    from transferscope.metrics.evaluation.score_interval import percentile_interval, resampled_scores
    from transferscope.metrics.evaluation.scores import score

    labels = data.test.labels
    logits = {role: subject.test_logits for role, subject in subjects.items()}
    final = {role: score(own, labels) for role, own in logits.items()}
    speed = {role: _speed(subject) for role, subject in subjects.items()}
    resampled = resampled_scores(logits, labels, draws=settings.bootstrap_draws, generator=generator)
    replicates = parts_of(resampled)
    rows: list[Row] = []
    for part, value in parts_of(final).items():
        interval = percentile_interval(value, replicates[part], len(labels))
        ends = {"low": interval.low, "high": interval.high}
        rows.append({"quantity": FINAL, "part": part, "value": value, **ends})
    for part, value in parts_of(speed).items():
        rows.append({"quantity": SPEED, "part": part, "value": value, "low": None, "high": None})
    networks = [
        {
            "kind": KIND_NAMES[_kind(role)],
            "shuffled": role.endswith("_shuffled"),
            "metric": data.description.metric,
            "final": final[role],
            "speed": speed[role],
            "n_test": len(labels),
        }
        for role in subjects
    ]
    groups = groups_of(data.test)
    without = parts_of({role: scores_without(own, labels, groups) for role, own in logits.items()})
    return {
        "low_level_statistics": rows,
        "low_level_statistics_images": [
            {"quantity": FINAL, "part": part, **row}
            for part, value in without.items()
            for row in rows_without({"value": value})
        ],
        "low_level_statistics_networks": networks,
    }


def parts_of(number: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the gain, by their names in `PARTS`.

    Args:
        number: the number to split (a metric, or replicates of it) of each network: p_t, ri_t, layer_statistics;
            where it was trained permuted_weights; where blocks were shuffled also p_t_shuffled and ri_t_shuffled, and
            where the control was trained on them layer_statistics_shuffled.
    """
    gain = number["p_t"] - number["ri_t"]
    statistics = number["layer_statistics"] - number["ri_t"]
    parts = {
        "gain": gain,
        "weight statistics": statistics,
    }
    if "permuted_weights" in number:
        parts[PERMUTED] = number["permuted_weights"] - number["ri_t"]
    parts["beyond weight statistics"] = gain - statistics
    if "p_t_shuffled" in number:
        shuffled = number["p_t_shuffled"] - number["ri_t_shuffled"]
        parts["shuffled blocks"] = shuffled
        parts["survives shuffling"] = shuffled - statistics
        parts["intact features"] = gain - shuffled
    if "layer_statistics_shuffled" in number:
        features = number["p_t_shuffled"] - number["layer_statistics_shuffled"]
        control = number["layer_statistics_shuffled"] - number["ri_t_shuffled"]
        parts["weight statistics on shuffled blocks"] = control
        parts["features on shuffled blocks"] = features
        parts["features lost by shuffling"] = number["p_t"] - number["layer_statistics"] - features
    return parts


def _speed(subject: Subject) -> float:
    metrics = subject.history["train_metric"].drop_nulls().to_list()
    return sum(metrics) / len(metrics) if metrics else math.nan


def _kind(role: str) -> Kind:
    return next(kind for kind in KIND_NAMES if role in (kind, f"{kind}_shuffled"))


def summarize(tables: Mapping[str, pl.DataFrame]) -> dict[str, list[Row]]:
    """The parts over seeds, and their shares of the gain."""
    import polars as pl

    from transferscope.analyses.shared.over_seeds import over_seeds, share_over_seeds

    table = tables["low_level_statistics"]
    gains = table.filter(pl.col("part") == "gain")
    rows: list[Row] = []
    for (target, quantity, part), own in table.group_by(["target", "quantity", "part"], maintain_order=True):
        numbers = over_seeds(own["value"].to_list(), own["low"].to_list(), own["high"].to_list())
        both = own.join(gains, on=["target", "quantity", "seed"], suffix="_gain")
        share = share_over_seeds(both["value"].to_list(), both["value_gain"].to_list())
        rows.append(
            {"target": target, "quantity": quantity, "part": part, **numbers}
            | {"share": share["mean"], "share_low": share["low"], "share_high": share["high"]}
            | {"share_note": share["note"]}
        )
    return {"low_level_statistics_shares": rows}


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target and quantity: the steps from RI-T to P-T; then the shares of all."""
    from transferscope.analyses.low_level_statistics.panels import statistics_panels

    return statistics_panels(tables)
