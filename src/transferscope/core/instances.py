"""Instances and pairs of them: the names that tables and figures use.

An instance is called "P-T 0" (seed 0), "RI-T 1", "RI-T 1 from init 0" (its own order of batches, the
initialization of seed 0), "P" or "RI 1".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from transferscope.core.config import AnalysisConfig, Study
from transferscope.core.runs import (
    KIND_NAMES,
    KINDS,
    GivenRun,
    Kind,
    Point,
    Run,
    chosen_seeds,
    given_runs,
    target_run,
)
from transferscope.core.tables import Column

SAME_INIT = "RI-T & RI-T, same init"
PAIR_KINDS: tuple[str, ...] = (
    "P-T & P-T",
    "P-T & RI-T",
    "RI-T & RI-T",
    SAME_INIT,
    "P-T & P",
    "RI-T & RI",
    "RI & RI",
)
"""Kinds of pairs, in the order of legends."""

PAIR_COLUMNS: tuple[Column, ...] = (
    Column("pair", "str", "Kind of pair"),
    Column("a", "str", "First instance: kind and seed"),
    Column("b", "str", "Second instance: kind and seed"),
    Column("seed_a", "int", "Seed of the first instance; null for P"),
    Column("seed_b", "int", "Seed of the second instance; null for P"),
)
"""Columns that identify the pair of a row."""
NAME_COLUMN = "instance"
NAME_COLUMNS = ("a", "b", NAME_COLUMN, "judge")
"""Columns with names of instances, in all tables."""

_NAME = re.compile(r"(P-T|RI-T|RI|P)(?: (\d+))?(?: from init (\d+))?")


@dataclass(frozen=True, order=True)
class Instance:
    """One network of a kind."""

    kind: str
    """P-T, RI-T, P or RI."""
    seed: int | None = None
    init_seed: int | None = None
    """Only where it isn't the seed."""

    @property
    def name(self) -> str:
        """Its name in tables."""
        seed = "" if self.seed is None else f" {self.seed}"
        return f"{self.kind}{seed}" + ("" if self.init_seed is None else f" from init {self.init_seed}")

    @property
    def init(self) -> int | None:
        """Seed of its initialization."""
        return self.seed if self.init_seed is None else self.init_seed


@dataclass(frozen=True)
class Pair:
    """Two instances."""

    kind: str
    a: str
    b: str
    seed_a: int | None
    seed_b: int | None

    @property
    def columns(self) -> dict[str, str | int | None]:
        """The values of the pair's columns."""
        return {"pair": self.kind, "a": self.a, "b": self.b, "seed_a": self.seed_a, "seed_b": self.seed_b}


def trained(study: Study, config: AnalysisConfig, target: str) -> list[tuple[Kind, int, Run | GivenRun]]:
    """Kind, seed and run of the instances of a target: one P-T and one RI-T per seed, or the given networks."""
    seeds = chosen_seeds(study, config, target)
    if study.instances is not None:
        return [(kind, seed, run) for kind, seed, run in given_runs(study, target) if seed in seeds]
    return [(kind, seed, target_run(study, kind, target, seed)) for kind in KINDS for seed in seeds]


def instances(
    study: Study, config: AnalysisConfig, target: str, *, same_init: bool = False, untrained: bool = False
) -> dict[str, Point]:
    """The instances of a target by name: one P-T and one RI-T per seed, or the given networks.

    Args:
        study, config: which seeds.
        target: name of the target.
        same_init: include RI-T with the initialization of the first seed and the order of batches of each other seed.
        untrained: include P and one RI per seed; for given networks only P, if it is given.
    """
    runs = trained(study, config, target)
    found = {Instance(KIND_NAMES[kind], seed).name: run.final for kind, seed, run in runs}
    seeds = chosen_seeds(study, config, target)
    if same_init and study.instances is None:
        for seed in seeds[1:]:
            run = target_run(study, "ri_t", target, seed, init_seed=seeds[0])
            found[Instance("RI-T", seed, seeds[0]).name] = run.final
    if untrained:
        inits = [run.init for kind, _, run in runs if kind == "p_t" and run.has_init]
        if inits:
            found[Instance("P").name] = inits[0]
        if study.instances is None:
            for seed in seeds:
                found[Instance("RI", seed).name] = target_run(study, "ri_t", target, seed).init
    return found


def pairs(names: Iterable[str]) -> list[Pair]:
    """All kinds of pairs that the paper compares, among these instances.

    The two networks of a pair have different seeds, so they share neither the initial head nor the order of batches.
    Each instance is in as many pairs as any other of its kind. With only half of the P-T & RI-T pairs (for example,
    those whose P-T has the lower seed), this would not hold, and jackknife intervals would be too narrow: with three
    seeds, they would contain the true value in 89 % of studies instead of 95 %.
    """
    known = [parse(name) for name in names]
    found = []
    for a, b in combinations(known, 2):
        kind = _kind(a, b)
        if kind is not None:
            found.append(Pair(kind, a.name, b.name, a.seed, b.seed))
    order = {kind: i for i, kind in enumerate(PAIR_KINDS)}
    return sorted(found, key=lambda pair: order[pair.kind])


def given_names(study: Study) -> dict[str, str]:
    """Name in the analyses, such as "P-T 0" -> the user's name; empty unless networks are given."""
    return {
        Instance(KIND_NAMES[given.kind], number).name: name
        for number, (name, given) in enumerate((study.instances or {}).items())
    }


def name_of(row: Mapping[str, Any]) -> str:
    """The name of the instance in a row with kind and seed; the user's name for given networks."""
    return row.get(NAME_COLUMN) or Instance(row["kind"], row["seed"]).name


def parse(name: str) -> Instance:
    """The instance with this name. Raises ValueError if the text is not a name of an instance."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"'{name}' is not the name of an instance")
    kind, seed, init_seed = match.groups()
    return Instance(kind, None if seed is None else int(seed), None if init_seed is None else int(init_seed))


def _kind(a: Instance, b: Instance) -> str | None:
    kinds = (a.kind, b.kind)
    if kinds in (("P-T", "P"), ("RI-T", "RI")):
        return f"{a.kind} & {b.kind}" if b.kind == "P" or (a.init == b.seed and a.init_seed is None) else None
    if a.seed is None or b.seed is None or a.seed == b.seed:
        return None
    if kinds == ("RI-T", "RI-T"):
        if a.init == b.init:
            return SAME_INIT
        return None if a.init_seed is not None or b.init_seed is not None else "RI-T & RI-T"
    if a.init_seed is not None or b.init_seed is not None:
        return None
    if kinds in (("P-T", "P-T"), ("RI", "RI")):
        return f"{a.kind} & {b.kind}"
    return "P-T & RI-T" if kinds == ("P-T", "RI-T") else None
