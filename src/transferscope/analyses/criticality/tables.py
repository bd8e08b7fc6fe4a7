"""The tables of the analysis of module criticality."""

from __future__ import annotations

from transferscope.analyses.shared.image_groups import WITHOUT_GROUP
from transferscope.core.tables import Column

_MODULE = (
    Column("module", "str", "Name of the module"),
    Column("depth", "int", "Place of the module from the stem, 0, to the head"),
    Column("is_head", "bool", "Whether it is the head, which is never transferred"),
)
_TEST_DROP = (
    Column("test_metric", "float", "Test metric with it put back", "0 to 1"),
    Column("test_drop", "float", "Drop of the test metric against the final network"),
    Column("test_drop_low", "float", "Lower end of its 95 % paired bootstrap interval over test images"),
    Column("test_drop_high", "float", "Upper end"),
    Column("n_test", "int", "Test images"),
)
TABLES = {
    "criticality": (
        *_MODULE,
        Column("mu", "float", "Module criticality on training images; infinite where no cell is admissible"),
        Column("mu_at_final", "float", "The same with alpha fixed at 1; NaN where 1 isn't on the grid"),
        Column("epsilon", "float", "Largest training loss that is admissible", "nats"),
        Column(
            "status",
            "str",
            "ok; no admissible cell; unmoved: mu is 0; not a number: epsilon or distance is NaN",
        ),
        Column("distance", "float", "L2 distance from init to final"),
        Column(
            "num_parameters",
            "int",
            "Parameters of the module; shared ones count in the first module that has them",
        ),
        Column("train_rise_loss", "float", "Rise of the training loss when it alone is put back", "nats"),
        Column("train_drop", "float", "Drop of the training metric when it alone is put back"),
        Column("test_drop", "float", "Drop of the test metric when it alone is put back"),
        Column("test_drop_low", "float", "Lower end of its 95 % paired bootstrap interval over test images"),
        Column("test_drop_high", "float", "Upper end"),
        Column("test_drop_cumulative", "float", "Drop of the test metric when it and all below are put back"),
        Column("test_metric", "float", "Test metric of the final network", "0 to 1"),
        Column("n_test", "int", "Test images"),
    ),
    "criticality_images": (
        *_MODULE,
        WITHOUT_GROUP,
        Column("test_drop", "float", "Drop of the test metric when it alone is put back to the init"),
    ),
    "criticality_network": (
        Column("mu", "float", "Sum of the modules' mu, the head included; infinite where one is"),
        Column("status", "str", "ok, or what keeps mu from being finite and in which modules"),
        Column("epsilon", "float", "Largest training loss that is admissible", "nats"),
        Column("train_loss", "float", "Loss of the final network on the training images of the maps", "nats"),
        Column("train_metric", "float", "Its metric on them", "0 to 1"),
        Column("test_metric", "float", "Its metric on the test images of the maps", "0 to 1"),
        Column("n_train", "int", "Training images of the maps"),
        Column("n_test", "int", "Test images of the maps"),
    ),
    "criticality_map": (
        *_MODULE,
        Column("split", "str", "train or test"),
        Column(
            "scale",
            "str",
            "absolute: sigma in the units of the weights; relative: in those of the root mean square of the "
            "module's move from init to final",
        ),
        Column("alpha", "float", "Place between init, 0, and final, 1"),
        Column("sigma", "float", "Scale of the Gaussian noise, in the units of its scale"),
        Column("sigma_absolute", "float", "The same in the units of the weights"),
        Column("loss", "float", "Mean loss over the draws", "nats"),
        Column("loss_se", "float", "Its standard error over the draws; 0 without noise", "nats"),
        Column("metric", "float", "Mean metric over the draws", "0 to 1"),
        Column("metric_se", "float", "Its standard error over the draws; 0 without noise"),
        Column("draws", "int", "Draws of the noise"),
        Column("n", "int", "Images"),
    ),
    "criticality_rewinding": (
        *_MODULE,
        Column("to", "str", "init, or fresh draw: the random initialization of another seed, head included"),
        Column("together", "bool", "Whether all modules below it are put back too"),
        Column("train_metric", "float", "Training metric with it put back", "0 to 1"),
        Column("train_drop", "float", "Drop of the training metric against the final network"),
        Column("train_rise_loss", "float", "Rise of the training loss", "nats"),
        Column("n_train", "int", "Training images"),
        *_TEST_DROP,
        Column("final_test_metric", "float", "Test metric of the final network", "0 to 1"),
    ),
    "criticality_freezing": (
        Column("order", "str", "bottom up, or greedy: what costs least on training images goes next"),
        Column("num_modules", "int", "Modules put back together"),
        Column("modules", "str", "Their names in the order in which they were added; none"),
        Column("num_parameters", "int", "Parameters left at their initial values"),
        Column("share", "float", "Share of these among the parameters of the whole network", "0 to 1"),
        Column("train_drop", "float", "Drop of the training metric with all of them put back"),
        Column("test_drop", "float", "Drop of the test metric with all of them put back"),
        Column("test_drop_low", "float", "Lower end of its 95 % paired bootstrap interval over test images"),
        Column("test_drop_high", "float", "Upper end"),
        Column("acceptable_drop", "float", "Largest drop of the training metric that was asked for"),
        Column("acceptable", "bool", "Whether the training metric drops by no more"),
        Column("chosen", "bool", "Whether it is the largest such set of its order"),
        Column("n_train", "int", "Training images that choose"),
        Column("n_test", "int", "Test images that judge"),
    ),
    "criticality_path": (
        *_MODULE,
        Column("epoch", "int", "Epoch to whose value the module alone is put back; 0 is the init"),
        *_TEST_DROP,
    ),
    "criticality_training": (
        *_MODULE,
        Column("epoch", "int", "Epoch of the network; its module alone is put back to the init"),
        Column("epochs", "int", "Epochs of the whole training"),
        *_TEST_DROP,
    ),
    "criticality_training_images": (
        Column("is_head", "bool", "False: the drop is a mean over the modules below the head"),
        Column("epoch", "int", "Epoch of the network; one module at a time is put back to the init"),
        Column("epochs", "int", "Epochs of the whole training"),
        WITHOUT_GROUP,
        Column("test_drop", "float", "Drop of the test metric, mean over these modules"),
    ),
}
