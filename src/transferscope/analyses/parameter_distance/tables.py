"""The columns of parameter_distance's table."""

from __future__ import annotations

from transferscope.core.instances import PAIR_COLUMNS
from transferscope.core.tables import Column

WHOLE = "all"
KEYS = (Column("target", "str", "Name of the target"),)
TABLES = {
    "parameter_distance": (
        *PAIR_COLUMNS,
        Column("module", "str", "Name of the module, or all: the network without its head"),
        Column("depth", "int", "Place of the module from the stem, 0, to the head; null for all"),
        Column("is_head", "bool", "Whether this is the head, drawn anew for each instance"),
        Column("distance", "float", "L2 distance of the weights"),
        Column("relative", "float", "Distance over the norm of a's weights there; NaN where that is 0"),
        Column("travelled_a", "float", "L2 distance of a from its own init; null where a or b is untrained"),
        Column("travelled_b", "float", "The same of b"),
        Column(
            "relative_to_travelled",
            "float",
            "Distance over the mean of both; null where a or b is untrained, NaN where neither moved",
        ),
        Column(
            "cosine",
            "float",
            "Cosine of a's and b's updates, final minus init; null where a or b is untrained, NaN where one did not "
            "move",
            "-1 to 1",
        ),
        Column(
            "num_parameters", "int", "Weights compared; shared ones count in the first module that has them"
        ),
    )
}
