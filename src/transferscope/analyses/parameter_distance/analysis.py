"""Experiment 4: how far apart the weights of instances are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Panel, Row, Subject
from transferscope.analyses.parameter_distance.claims import CLAIMS as CLAIMS
from transferscope.analyses.parameter_distance.claims import findings as findings
from transferscope.analyses.parameter_distance.tables import KEYS as KEYS
from transferscope.analyses.parameter_distance.tables import TABLES as TABLES
from transferscope.analyses.parameter_distance.tables import WHOLE
from transferscope.core.config import AnalysisConfig, Study
from transferscope.core.instances import instances, pairs, parse, trained
from transferscope.core.options import Frozen
from transferscope.core.runs import chosen_targets

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import Tensor

ORDER = 4
VERSION = 4
TITLE = "Parameter distance"
SHOWS = (
    "The L2 distance between the weights of two instances, and between an instance and its own initialization, "
    "in the whole network and per module: absolute, relative to the weights, and relative to how far the instances "
    "came from their initializations. And the cosine of the ways they came, final minus init."
)
HOW_TO_READ = (
    "Two P-T that lie much closer than two RI-T stayed near the pre-trained weights; modules with a large "
    "distance are those that the target changed most. Two that went by the same way have a distance far below "
    "the distance travelled and a cosine near 1; two that went at right angles lie 1.4 times as far apart as each "
    "travelled, from the same init, and have a cosine near 0: random directions have one within two or three times "
    "1 / sqrt(number of weights)."
)
CAVEATS = (
    "A distance of weights is not a distance of functions: a network with its channels permuted computes the "
    "same and lies far away. The head is drawn anew for each instance; it has rows of its own and is left out of "
    "the whole network. Instances from different inits lie far apart before they move, so that their distance over "
    "the distance travelled says little of the training. A module that did not move has no direction: NaN. "
    "Weights that several modules share count once, in the first of them; a module without weights of its own is not "
    "listed."
)
SOURCE = "Neyshabur, Sedghi, Zhang (2020), section 3.3 and table 2"


class Settings(Frozen):
    """What decides the numbers of a cell: nothing to choose."""


class Config(AnalysisConfig, Settings):
    """Options of parameter_distance."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Nothing beyond what every analysis is checked for."""
    yield from ()


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, with all its instances and their inits."""
    for target in chosen_targets(study, config):
        subjects = instances(study, config, target, same_init=True, untrained=True)
        subjects.pop("P", None)  # every P-T brings its own: P under the head that it started with
        for kind, seed, run in trained(study, config, target):
            if kind == "p_t" and run.has_init:
                subjects[_p_of(seed)] = run.init
        yield Cell(keys={"target": target}, subjects=subjects, data=study.targets[target].data, cost=0.05)


def _p_of(seed: int | None) -> str:
    """Role of the init of the P-T of a seed."""
    return f"P {seed}"


def _init_of(name: str) -> str | None:
    """Role of the weights that an instance started from; None for an untrained one."""
    instance = parse(name)
    if instance.kind == "P-T":
        return _p_of(instance.seed)
    return f"RI {instance.init}" if instance.kind == "RI-T" else None


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Distances and cosines of all pairs, in all and per module."""
    from transferscope.models.modules.find import prefixes_of

    states = {name: subject.state for name, subject in subjects.items()}
    instances_and_p = [name for name in states if parse(name).kind != "P"]
    if len(instances_and_p) < len(states):
        instances_and_p.append("P")
    modules = prefixes_of(next(iter(subjects.values())).modules)
    rows: list[Row] = []
    for pair in pairs(instances_and_p):
        b = _p_of(pair.seed_a) if pair.b == "P" else pair.b
        rows += [{**pair.columns, **row} for row in _rows(states, modules, pair.a, b)]
    return {"parameter_distance": rows}


def _rows(
    states: Mapping[str, Mapping[str, Tensor]], modules: Mapping[str, Sequence[str]], a: str, b: str
) -> Iterator[Row]:
    """The whole network without its head, then its modules from the stem to the head."""
    from transferscope.metrics.landscape.distance import l2_distance, update_cosine
    from transferscope.models.modules.find import HEAD

    body = [prefix for name, prefixes in modules.items() if name != HEAD for prefix in prefixes]
    a_init, b_init = (init if (init := _init_of(name)) in states else None for name in (a, b))
    for parts in ({WHOLE: body}, modules):
        distances = l2_distance(states[a], states[b], by_module=True, modules=parts)
        updates = None
        if a_init is not None and b_init is not None:
            updates = update_cosine(states[a], states[a_init], states[b], states[b_init], modules=parts)
        for index, row in enumerate(distances.iter_rows(named=True)):
            yield {
                **row,
                "depth": None if row["module"] == WHOLE else index,
                "is_head": row["module"] == HEAD,
                **_travelled(row["distance"], None if updates is None else updates.row(index, named=True)),
            }


def _travelled(distance: float, update: Mapping[str, float] | None) -> Row:
    if update is None:
        return dict.fromkeys(("travelled_a", "travelled_b", "relative_to_travelled", "cosine"))
    mean = (update["update_a"] + update["update_b"]) / 2
    return {
        "travelled_a": update["update_a"],
        "travelled_b": update["update_b"],
        "relative_to_travelled": distance / mean if mean else math.nan,
        "cosine": update["cosine"],
    }


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """The whole network by kind of pair; then each target's modules."""
    from transferscope.analyses.parameter_distance.panels import distance_panels

    return distance_panels(tables["parameter_distance"])
