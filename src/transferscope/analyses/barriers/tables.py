"""The tables of the analysis of barriers."""

from __future__ import annotations

from transferscope.core.tables import Column

KEYS = (
    Column("target", "str", "Name of the target whose test images are used"),
    Column("target_b", "str", "Name of the target that b was trained on"),
    Column("pair", "str", "Kind of pair; P-T or RI-T where all instances of the kind are taken together"),
    Column("a", "str", "First instance: kind and seed; null where all are taken together"),
    Column("b", "str", "Second instance; null where all are taken together"),
    Column("seed_a", "int", "Seed of the first instance; null where all are taken together"),
    Column("seed_b", "int", "Seed of the second instance; null where all are taken together"),
    Column(
        "checkpoint", "str", "final: the networks at the end of their training; best: at their best epochs"
    ),
    Column("best_by", "str", "What the best epoch was chosen by, held_out or test; null for final"),
)

_BATCH_NORM = Column(
    "batch_norm", "str", "What was done with BatchNorm's running statistics; none: the network has none"
)
_IMAGES = Column("n", "int", "Test images")

TABLES = {
    "barriers": (
        Column("definition", "str", "line: above the line between the ends; mean: above the ends' mean"),
        Column("barrier_loss", "float", "Largest rise of the loss", "nats"),
        Column(
            "barrier_loss_low", "float", "Lower end of its 95 % paired bootstrap interval over images", "nats"
        ),
        Column("barrier_loss_high", "float", "Upper end", "nats"),
        Column("barrier_loss_bias", "float", "Mean over the resamples minus the estimate", "nats"),
        Column("barrier_metric", "float", "Largest drop of the metric"),
        Column("barrier_metric_low", "float", "Lower end of its 95 % interval"),
        Column("barrier_metric_high", "float", "Upper end"),
        Column("barrier_metric_bias", "float", "Mean over the resamples minus the estimate"),
        Column(
            "interior_drop_metric",
            "float",
            "Largest drop of the metric strictly between the ends; negative where the path stays above the line (or "
            "the mean): the barrier before it is cut at 0",
        ),
        Column("alpha_at_loss", "float", "Where the loss rises most"),
        Column("alpha_at_metric", "float", "Where the metric drops most"),
        Column("epoch_a", "int", "Epoch of a"),
        Column("epoch_b", "int", "Epoch of b"),
        Column("loss_a", "float", "Test loss of a on the path, with BatchNorm as said", "nats"),
        Column("loss_b", "float", "Test loss of b on the path", "nats"),
        Column("loss_midpoint", "float", "Test loss of the averaged weights", "nats"),
        Column("metric_a", "float", "Test metric of a on the path, with BatchNorm as said", "0 to 1"),
        Column("metric_b", "float", "Test metric of b on the path", "0 to 1"),
        Column("metric_midpoint", "float", "Test metric of the averaged weights", "0 to 1"),
        Column("loss_a_raw", "float", "Test loss of a with its own running statistics", "nats"),
        Column("loss_b_raw", "float", "Test loss of b with its own running statistics", "nats"),
        Column("metric_a_raw", "float", "Test metric of a with its own running statistics", "0 to 1"),
        Column("metric_b_raw", "float", "Test metric of b with its own running statistics", "0 to 1"),
        _BATCH_NORM,
        _IMAGES,
    ),
    "barriers_curves": (
        Column("alpha", "float", "Place on the path: 0 is a, 1 is b"),
        Column("loss", "float", "Mean test loss", "nats"),
        Column("metric", "float", "Test metric", "0 to 1"),
    ),
    "barriers_basin": (
        Column("num_instances", "int", "Instances that span the set: 2 a segment, more a simplex"),
        Column(
            "epsilon",
            "float",
            "Largest deviation of a flat floor; half of the rise that makes a wall",
            "nats",
        ),
        Column(
            "epsilon_chosen",
            "str",
            "given; two points of the metric: the loss that they are worth to the instances; usual value: .1, as the "
            "instances make no mistakes",
        ),
        Column("delta", "float", "How far outside the set the walls must stand, in L2 norm of the weights"),
        Column("delta_chosen", "str", "How delta was chosen"),
        Column("mean_norm", "float", "Mean L2 norm of the instances, with the head"),
        Column("mean_distance", "float", "Mean L2 distance of the instances, with the head"),
        Column("mu", "float", "Mean loss on the set", "nats"),
        Column("mu_se", "float", "Its standard error over the points", "nats"),
        Column("deviation", "float", "Mean absolute deviation from mu on the set", "nats"),
        Column("deviation_se", "float", "Its standard error over the points", "nats"),
        Column("noise_loss", "float", "Mean loss after leaving the set by Gaussian noise", "nats"),
        Column("noise_loss_se", "float", "Its standard error over the draws", "nats"),
        Column("ray_loss", "float", "Mean loss after leaving the set straight on", "nats"),
        Column("ray_loss_se", "float", "Its standard error over the draws", "nats"),
        Column("wall", "float", "Rise from mu to the lower of the two losses outside", "nats"),
        Column(
            "margin",
            "float",
            "The least of epsilon - deviation and wall - 2 epsilon; the set is a basin where it is at least 0",
            "nats",
        ),
        Column("condition_i", "bool", "Flat: the deviation is at most epsilon"),
        Column("condition_ii", "bool", "Noise outside raises the loss to mu + 2 epsilon or more"),
        Column("condition_iii", "bool", "Going straight on raises the loss to mu + 2 epsilon or more"),
        Column("is_basin", "bool", "True if all three hold"),
        Column("points", "int", "Places on the set behind mu and the deviation"),
        Column("draws", "int", "Ways out of the set behind each of the other means"),
        _BATCH_NORM,
        _IMAGES,
    ),
    "barriers_averaging": (
        Column("num_instances", "int", "Instances averaged"),
        Column(
            "what",
            "str",
            "averaged weights; mean instance; best instance (by its final training metric, the first of equals); "
            "ensemble (mean of the instances' probabilities)",
        ),
        Column("loss", "float", "Test loss", "nats"),
        Column("loss_gain", "float", "Test loss of the mean instance minus this one", "nats"),
        Column(
            "loss_gain_low", "float", "Lower end of its 95 % paired bootstrap interval over images", "nats"
        ),
        Column("loss_gain_high", "float", "Upper end", "nats"),
        Column("metric", "float", "Test metric", "0 to 1"),
        Column("metric_gain", "float", "Test metric minus that of the mean instance"),
        Column("metric_gain_low", "float", "Lower end of its 95 % interval"),
        Column("metric_gain_high", "float", "Upper end"),
        _BATCH_NORM,
        _IMAGES,
    ),
    "barriers_plane": (
        Column(
            "instance", "str", "Null on the grid; else the instance, or the init, that is marked at its place"
        ),
        Column(
            "x", "float", "Along the line from the first to the second instance, in L2 norm of the weights"
        ),
        Column("y", "float", "At right angles to x, toward the third, in L2 norm of the weights"),
        Column("off_plane", "float", "L2 distance of what is marked from the plane; 0 on it"),
        Column("loss", "float", "Mean test loss; null for what lies off the plane", "nats"),
        Column("metric", "float", "Test metric; null for what lies off the plane", "0 to 1"),
        _BATCH_NORM,
        _IMAGES,
    ),
}

AVERAGED, MEAN, BEST, ENSEMBLE = "averaged weights", "mean instance", "best instance", "ensemble"
"""What `barriers_averaging` compares."""
