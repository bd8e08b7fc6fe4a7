"""Made-up tables of whole studies whose truth is known, for every claim.

A scenario is one truth about all claims of an analysis at once: what the mean numbers are, over which each seed adds
Gaussian noise of its own. Numbers of pairs share the noise of both of their seeds, as those of networks do.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from scipy import stats

from transferscope.analyses.contract import all_claims

Tables = dict[str, pl.DataFrame]
Truth = Literal["holds", "does not hold", "at the threshold", "not favoured", "no claim"]
"""Not favoured: a tie at which the statistic is biased, against the claim. No claim: nothing to test."""
Rng = np.random.Generator
HOLD, FAIL, NULL = "holds", "does not hold", "at the threshold"


@dataclass(frozen=True)
class Draw:
    """Where a study's noise comes from."""

    rng: Rng
    seeds: Sequence[int]
    scale: float = 1.0
    """0: no seed makes a difference."""

    def noise(self, size: float) -> float:
        """One number."""
        return self.scale * size * self.rng.normal()


@dataclass(frozen=True)
class Scenario:
    """What is true, and how tables of a study are drawn where it is."""

    name: str
    simulate: Callable[[Draw], Tables]
    truths: Mapping[str, Truth]


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def pair_noise(draw: Draw, kinds: Sequence[str], size: float) -> list[dict[str, Any]]:
    """A row a pair, with the noise that it shares with all others of its instances."""
    own = {name: {seed: draw.noise(size) for seed in draw.seeds} for name in ("P-T", "RI-T", "RI", "same")}
    sides = {
        "P-T & P-T": ("P-T", "P-T"),
        "P-T & RI-T": ("P-T", "RI-T"),
        "RI-T & RI-T": ("RI-T", "RI-T"),
        "RI-T & RI-T, same init": ("same", "same"),
        "RI & RI": ("RI", "RI"),
    }
    rows = []
    for kind in kinds:
        a, b = sides[kind]
        for first, second in (combinations if a == b else permutations)(draw.seeds, 2):
            keys = {"target": "t", "pair": kind, "a": f"{a} {first}", "b": f"{b} {second}"}
            noise = own[a][first] + own[b][second]
            rows.append({**keys, "seed_a": first, "seed_b": second, "noise": noise})
    return rows


THREE = ("P-T & P-T", "P-T & RI-T", "RI-T & RI-T")


def all_of(claims: Sequence[str], truth: Truth) -> dict[str, Truth]:
    return dict.fromkeys(claims, truth)


Rows = list[dict[str, Any]]
Statistics = Mapping[str, tuple[str, Callable[[Rows], float]]]
"""Claim -> its table, and its statistic computed anew from the words of the claim."""


def of(rows: Rows, **wanted: Any) -> Rows:
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def groups(rows: Rows, *names: str) -> dict[tuple[Any, ...], Rows]:
    found: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


def mean(numbers: Iterable[float]) -> float:
    return float(np.mean(list(numbers)))


def over_targets(rows: Rows, value: str | Callable[[dict[str, Any]], float]) -> float:
    number = (lambda row: row[value]) if isinstance(value, str) else value
    return mean(mean(map(number, part)) for part in groups(rows, "target").values())


def rank_correlation(rows: Rows, value: str, *instance: str) -> float:
    profiles: Rows = []
    for part in groups(rows, "target", *instance).values():
        found: Any = stats.spearmanr([row["depth"] for row in part], [row[value] for row in part])
        profiles.append({"target": part[0]["target"], "found": found.statistic})
    return over_targets(profiles, "found")


def planted(name: str) -> Any:
    """`tests/analyses/NAME/planted.py`, with `SCENARIOS` and `STATISTICS`, and with `WITHOUT_TEST_IMAGES` if there are
    claims that no test image decides."""
    place = Path(__file__).parents[1] / "analyses" / name / "planted.py"
    assert place.exists(), f"{name} has claims: plant studies in which they are true and false in {place}"
    spec = importlib.util.spec_from_file_location(f"planted_{name}", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def all_planted() -> dict[str, Any]:
    """Those of all analyses that test claims, by name."""
    return {name: planted(name) for name in dict.fromkeys(claim.analysis for claim in all_claims())}
