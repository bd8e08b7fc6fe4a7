"""The table of the analysis of features."""

from __future__ import annotations

from transferscope.core.instances import PAIR_COLUMNS
from transferscope.core.tables import Column

TABLES = {
    "feature_similarity": (
        *PAIR_COLUMNS,
        Column("layer_a", "str", "Layer of a whose output is compared"),
        Column("layer_b", "str", "Layer of b"),
        Column("depth_a", "int", "Place of layer_a from the stem, 0"),
        Column("depth_b", "int", "Place of layer_b"),
        Column("linear_cka", "float", "Debiased linear CKA; NaN where the status isn't ok", "at most 1"),
        Column("low", "float", "Lower end of its 95 % interval over images"),
        Column("high", "float", "Upper end"),
        Column("null", "float", "95 % quantile when one network's images are permuted: what chance gives"),
        Column(
            "null_max", "float", "95 % quantile of the largest over all pairs of layers of a and b, likewise"
        ),
        Column(
            "baseline",
            "float",
            "Mean of RI & RI at these layers: what architecture and images alone give; null without such a pair",
        ),
        Column(
            "ceiling",
            "float",
            "Mean over pairs of the same recipe with other seeds at these layers: of P-T & P-T, of RI-T & RI-T, of "
            "both for P-T & RI-T; null for RI & RI, and without such a pair",
        ),
        Column(
            "influence",
            "float",
            "Largest change of linear_cka when a single image is left out; NaN where it doesn't exist without that "
            "image, or where images times squared layers are too many to keep",
        ),
        Column("influence_image", "str", "That image's id; null where there are too many to keep"),
        Column(
            "mutual_knn",
            "float",
            "Share of an image's nearest neighbours within its batch that both layers have, a measure other than CKA; "
            "chance is neighbours / (batch - 1); NaN where a batch has too few",
            "0 to 1",
        ),
        Column("n", "int", "Images"),
        Column(
            "smallest_batch",
            "int",
            "Images in the smallest batch: similarities are those within batches; n for one",
        ),
        Column("status", "str", "ok, or why there is no number"),
        Column(
            "train_metric_a", "float", "Training metric of a in its last epoch; null if untrained", "0 to 1"
        ),
        Column(
            "train_metric_b", "float", "Training metric of b in its last epoch; null if untrained", "0 to 1"
        ),
    )
}
