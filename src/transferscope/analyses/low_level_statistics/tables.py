"""The columns of low_level_statistics's tables."""

from __future__ import annotations

from transferscope.analyses.shared.image_groups import WITHOUT_GROUP
from transferscope.analyses.shared.over_seeds import OVER_SEEDS
from transferscope.core.tables import Column

FINAL, SPEED = "final metric", "optimization speed"
"""The two quantities that a gain is measured in."""

PERMUTED = "weight statistics, permuted"

PARTS = {
    "gain": "P-T minus RI-T",
    "weight statistics": "layer statistics minus RI-T: what mean and variance of each weight tensor give",
    PERMUTED: "permuted weights minus RI-T: the same with all moments kept; stands beside it",
    "beyond weight statistics": "P-T minus layer statistics",
    "shuffled blocks": "P-T minus RI-T, both trained on shuffled blocks",
    "survives shuffling": "shuffled blocks minus weight statistics: what P gives beyond the statistics of its weights "
    "even where no shape is left",
    "intact features": "gain minus shuffled blocks: what P gives on intact images only",
    "weight statistics on shuffled blocks": "layer statistics minus RI-T, both trained on shuffled blocks",
    "features on shuffled blocks": "P-T minus layer statistics, both trained on shuffled blocks: what P's features "
    "give beyond the statistics of its weights where no shape is left",
    "features lost by shuffling": "P-T minus layer statistics on intact images, minus the same on shuffled blocks",
}
"""Parts of the gain: weight statistics + survives shuffling + intact features = gain, and
weight statistics + features on shuffled blocks + features lost by shuffling = gain."""
SPLIT_CONTROLLED = ("weight statistics", "features on shuffled blocks", "features lost by shuffling")
"""The steps from RI-T to P-T where a control was trained on shuffled blocks: each is a difference of networks that
were trained on the same images."""
SPLIT = ("weight statistics", "survives shuffling", "intact features")
SPLIT_UNSHUFFLED = ("weight statistics", "beyond weight statistics")
"""The same without that control, and without shuffled runs."""

_PART = Column("part", "str", "; ".join(f"{name}: {meaning}" for name, meaning in PARTS.items()))
_QUANTITY = Column("quantity", "str", f"{FINAL}, or {SPEED} (training metric, mean over epochs)")

KEYS = (
    Column("target", "str", "Name of the target"),
    Column("block_size_px", "int", "Side of the shuffled blocks; null where none are shuffled", "px"),
    Column("seed", "int", "Seed of all instances"),
)
TABLES = {
    "low_level_statistics": (
        _QUANTITY,
        _PART,
        Column("value", "float", "The part"),
        Column(
            "low",
            "float",
            "Lower end of its 95 % paired bootstrap interval over test images; null where they play no part",
        ),
        Column("high", "float", "Upper end"),
    ),
    "low_level_statistics_images": (
        Column("quantity", "str", f"{FINAL}: no test image is behind the other quantity"),
        _PART,
        WITHOUT_GROUP,
        Column("value", "float", "The part"),
    ),
    "low_level_statistics_networks": (
        Column("kind", "str", "P-T, RI-T, layer statistics or permuted weights"),
        Column("shuffled", "bool", "Whether trained and tested on shuffled blocks"),
        Column("metric", "str", "accuracy or mean_auc"),
        Column("final", "float", "Final test metric", "0 to 1"),
        Column("speed", "float", "Optimization speed: training metric, mean over epochs", "0 to 1"),
        Column("n_test", "int", "Test images"),
    ),
}
SUMMARIES = {
    "low_level_statistics_shares": (
        Column("target", "str", "Name of the target"),
        _QUANTITY,
        _PART,
        *OVER_SEEDS,
        Column(
            "share",
            "float",
            "Mean part over mean gain; NaN where the gain can't be told from 0 or is below it",
        ),
        Column("share_low", "float", "Lower end of its 95 % interval over seeds (Fieller)"),
        Column("share_high", "float", "Upper end"),
        Column("share_note", "str", "Why there is no share"),
    )
}
