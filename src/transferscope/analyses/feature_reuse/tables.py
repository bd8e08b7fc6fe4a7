"""The columns of feature_reuse's tables."""

from __future__ import annotations

from transferscope.analyses.shared.image_groups import WITHOUT_GROUP
from transferscope.analyses.shared.over_seeds import OVER_SEEDS
from transferscope.core.tables import Column

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
    Column("seed", "int", "Seed of both instances"),
    Column(
        "shuffle_seed", "int", "Seed of numpy's RandomState that drew the permutation; null where unshuffled"
    ),
)


def _with_interval(name: str, meaning: str, unit: str = "") -> tuple[Column, ...]:
    return (
        Column(name, "float", meaning, unit),
        Column(f"{name}_low", "float", "Lower end of its 95 % bootstrap interval over test images", unit),
        Column(f"{name}_high", "float", "Upper end", unit),
    )


QUANTITIES = {
    "p_t": "Final test metric of P-T",
    "ri_t": "Final test metric of RI-T",
    "gain": "P-T minus RI-T",
    "relative_gain": "Gain over the metric of P-T",
    "p_t_relative_drop": "Loss of P-T's metric against unshuffled images, over the latter",
    "ri_t_relative_drop": "The same of RI-T",
}
"""Numbers of a seed that rest on test images, each with its paired interval over them."""
SPEEDS = {
    "p_t_speed": "Optimization speed of P-T: training metric, mean over epochs",
    "ri_t_speed": "Optimization speed of RI-T",
    "speed_gain": "Speed of P-T minus that of RI-T",
}
"""Numbers of a seed that rest on the training."""

TABLES = {
    "feature_reuse": (
        Column("metric", "str", "accuracy or mean_auc"),
        Column("n_test", "int", "Test images"),
        *(column for name, meaning in QUANTITIES.items() for column in _with_interval(name, meaning)),
        *(Column(name, "float", meaning) for name, meaning in SPEEDS.items()),
    ),
    "feature_reuse_images": (
        WITHOUT_GROUP,
        *(Column(name, "float", meaning) for name, meaning in (QUANTITIES | SPEEDS).items()),
    ),
    "feature_reuse_levels": (
        Column("kind", "str", "P-T or RI-T"),
        Column("level", "float", "A level of the training metric", "0 to 1"),
        Column(
            "epochs",
            "int",
            "First epoch whose training metric, as the network was trained, is at least the level; null if never",
        ),
    ),
    "feature_reuse_examples": (
        Column("image_id", "str", "A test image"),
        Column("label", "str", "Its class, or its findings"),
        Column("picture", "png", "The image as the networks of this view and seed see it"),
    ),
}
SUMMARIES = {
    "feature_reuse_over_seeds": (
        *KEYS[:-1],
        Column(
            "quantity",
            "str",
            "A number of feature_reuse; surviving_gain and surviving_speed_gain: gain with this view over gain "
            "unshuffled; p_t_epochs and ri_t_epochs: epochs to reach the level",
        ),
        Column("level", "float", "Level of the training metric; null unless epochs are counted", "0 to 1"),
        *OVER_SEEDS,
    )
}
