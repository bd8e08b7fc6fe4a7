"""Made-up tables of whole studies whose truth is known, for every claim.

A scenario is one truth about all claims of an analysis at once: what the mean numbers are, to which each seed adds
noise of its own. Numbers of pairs share the noise of both of their seeds, as those of networks do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, permutations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from file_modules import module_of
from scipy import stats

from transferscope.analyses.contract import all_claims

Tables = dict[str, pl.DataFrame]
Truth = Literal["holds", "does not hold", "at the threshold", "not favoured", "no claim"]
"""Not favoured: a tie at which the statistic is biased, against the claim. No claim: nothing to test."""
Rng = np.random.Generator
HOLD, FAIL, NULL = "holds", "does not hold", "at the threshold"
NUM_GROUPS = 20
"""Groups of test images."""


@dataclass(frozen=True)
class Target:
    """How the seeds of a target differ."""

    name: str
    spread: float = 1.0
    """Times the noise that the scenario asks for."""
    skewness: float = 0.0
    """Of the noise of a seed, which is Gaussian at 0 and a shifted gamma variable elsewhere."""
    images: float = 0.0
    """Standard deviation of the noise of the test images, times that of one seed."""


TARGETS = (
    Target("numbers"),
    Target("shapes", spread=0.5),
    Target("letters"),
    Target("radiographs", spread=3.0, skewness=1.0),
)
"""As in the embedded study: one target varies three times as much as the others, and its numbers are skewed."""


@dataclass(frozen=True)
class Draw:
    """Where the noise of one target of a study comes from."""

    rng: Rng
    seeds: Sequence[int]
    scale: float = 1.0
    """0: no seed makes a difference."""
    skewness: float = 0.0
    place: int = 0
    """Of the target in the study."""

    def noise(self, size: float) -> float:
        """One number with mean 0 and standard deviation `size`."""
        if self.skewness == 0:
            return self.scale * size * self.rng.normal()
        shape = 4 / self.skewness**2
        number = (self.rng.gamma(shape) - shape) / shape**0.5
        return float(np.sign(self.skewness)) * self.scale * size * number


@dataclass(frozen=True)
class Scenario:
    """What is true, and how the tables of one target are drawn where it is."""

    name: str
    simulate: Callable[[Draw], Tables]
    truths: Mapping[str, Truth]


def study(
    scenarios: Scenario | Sequence[Scenario],
    rng: Rng,
    num_seeds: int,
    targets: Sequence[Target] = TARGETS,
    scale: float = 1.0,
) -> Tables:
    """The tables of a study: independent draws for its targets, on which one scenario is true or one each.

    Seeds are other numbers on each target. Where test images make a difference, each table NAME has a table
    NAME_images with the numbers without one group of images after the other.
    """
    each = [scenarios] * len(targets) if isinstance(scenarios, Scenario) else scenarios
    parts: dict[str, list[pl.DataFrame]] = {}
    for place, (target, scenario) in enumerate(zip(targets, each, strict=True)):
        seeds = range(100 * place, 100 * place + num_seeds)
        draw = Draw(rng, seeds, scale * target.spread, target.skewness, place)
        for name, table in scenario.simulate(draw).items():
            if "target" not in table.columns:
                parts[name] = [table]
                continue
            table = table.with_columns(target=pl.lit(target.name))
            if target.images:
                table, without = with_images(table, rng, target.images)
                parts.setdefault(f"{name}_images", []).append(without)
            parts.setdefault(name, []).append(table)
    return {name: pl.concat(tables) for name, tables in parts.items()}


def with_images(table: pl.DataFrame, rng: Rng, size: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The table of a target with noise of test images, and the same without one group of them after the other.

    Test images move the numbers of all seeds alike, in each row that differs in more than the seed by another number.
    """
    numbers = [name for name, dtype in table.schema.items() if dtype == pl.Float64]
    keys = [
        name for name in table.columns if name not in (*numbers, "a", "b") and not name.startswith("seed")
    ]
    condition = table.select(pl.struct(keys).rank("dense")).to_series().to_numpy() - 1
    moved: dict[str, np.ndarray] = {}
    without: dict[str, np.ndarray] = {}
    for name in numbers:
        values = table[name].to_numpy()
        spreads = [values[condition == one].std() for one in range(condition.max() + 1)]
        own = rng.normal(
            0, size * float(np.median(spreads)) * NUM_GROUPS**0.5, (condition.max() + 1, NUM_GROUPS)
        )
        moved[name] = values + own.mean(1)[condition]
        others = (own.sum(1, keepdims=True) - own) / (NUM_GROUPS - 1)
        without[name] = (values[:, None] + others[condition]).ravel()
    rows = table[[place for place in range(table.height) for _ in range(NUM_GROUPS)]]
    groups_left_out = pl.Series("without_group", list(range(NUM_GROUPS)) * table.height)
    return (
        table.with_columns(pl.Series(name, values) for name, values in moved.items()),
        rows.with_columns(groups_left_out, *(pl.Series(name, values) for name, values in without.items())),
    )


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def pair_noise(draw: Draw, kinds: Sequence[str], size: float) -> list[dict[str, Any]]:
    """A row a pair, with the noise that it shares with all others of its instances."""
    own = {
        name: {seed: draw.noise(size) for seed in draw.seeds}
        for name in ("P-T", "RI-T", "RI", "same", "other")
    }
    sides = {
        "P-T & P-T": ("P-T", "P-T"),
        "P-T & RI-T": ("P-T", "RI-T"),
        "RI-T & RI-T": ("RI-T", "RI-T"),
        "RI-T & RI-T, same init": ("same", "same"),
        "RI & RI": ("RI", "RI"),
        "P-T & P-T, other P": ("other", "other"),
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
"""Claim -> its table, and its statistic on one target, computed anew from the words of the claim; a ratio's log."""


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


def slope(rows: Rows, x: str, y: Callable[[dict[str, Any]], float], *one: str) -> float:
    """Of y on x by least squares within each network or pair, times the range of x; mean over these and targets."""
    slopes: Rows = []
    for part in groups(rows, "target", *one).values():
        places = [float(row[x]) for row in part]
        fit: Any = stats.linregress(places, [y(row) for row in part])
        slopes.append({"target": part[0]["target"], "slope": fit.slope * (max(places) - min(places))})
    return over_targets(slopes, "slope")


def planted(name: str) -> Any:
    """`tests/analyses/NAME/planted.py`, with `SCENARIOS` and `STATISTICS`, and with `WITHOUT_TEST_IMAGES` if there are
    claims that no test image decides."""
    place = Path(__file__).parents[1] / "analyses" / name / "planted.py"
    assert place.exists(), f"{name} has claims: plant studies in which they are true and false in {place}"
    return module_of(place)


def all_planted() -> dict[str, Any]:
    """Those of all analyses that test claims, by name."""
    return {name: planted(name) for name in dict.fromkeys(claim.analysis for claim in all_claims())}
