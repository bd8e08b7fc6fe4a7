"""Studies in which the claims about mistakes are true, false and in between; their statistics anew."""

from __future__ import annotations

import math
from collections.abc import Callable

from planted_studies import (
    FAIL,
    HOLD,
    NULL,
    THREE,
    Draw,
    Rows,
    Scenario,
    Statistics,
    Tables,
    all_of,
    frame,
    groups,
    mean,
    of,
    over_targets,
    pair_noise,
)

CLAIMS = ("p_t_share_mistakes", "p_t_mistakes_are_ambiguous")


def overlap(p_t: float, mixed: float, ri_t: float, only_p_t: float) -> Callable[[Draw], Tables]:
    """Uncommon mistakes, and how hard what only P-T gets wrong is; what only RI-T gets wrong is at 0.5."""

    def simulate(draw: Draw) -> Tables:
        means = dict(zip(THREE, (p_t, mixed, ri_t), strict=True))
        rows = [
            {**row, "scope": "all", "n": 100, "uncommon_share": means[row["pair"]] + row["noise"]}
            for row in pair_noise(draw, THREE, 0.004)
        ]
        lenient = {(kind, seed): draw.noise(0.02) for kind in ("P-T", "RI-T") for seed in draw.seeds}
        hard = [
            {**row, "wrong": who, "n": 50, "judge_kind": kind, "seed_judge": seed}
            | {
                "judged_wrong": mean
                + row["noise"] * (who == "only a")
                + lenient[kind, seed]
                + draw.noise(0.01)
            }
            for row in pair_noise(draw, ["P-T & RI-T"], 0.02)
            for who, mean in (("only a", only_p_t), ("only b", 0.5))
            for kind, seed in lenient
            if (kind, seed) not in (("P-T", row["seed_a"]), ("RI-T", row["seed_b"]))
        ]
        return {
            "mistakes": frame(rows),
            "mistakes_difficulty": frame(hard),
            "mistakes_tests": frame([{"n": 100}]),
        }

    return simulate


def uncommon(rows: Rows, pair: str) -> float:
    return over_targets(of(rows, pair=pair), "uncommon_share")


def judged(rows: Rows, who: str) -> float:
    pairs = groups([row for row in of(rows, wrong=who) if row["n"]], "target", "a", "b").values()
    shares: Rows = [
        {
            "target": part[0]["target"],
            "share": mean(
                mean(row["judged_wrong"] for row in own) for own in groups(part, "judge_kind").values()
            ),
        }
        for part in pairs
    ]
    return over_targets(shares, "share")


SCENARIOS = (
    Scenario(NULL, overlap(0.2, 0.2, 0.3, 0.5), all_of(CLAIMS, NULL)),
    Scenario(HOLD, overlap(0.05, 0.2, 0.3, 0.8), all_of(CLAIMS, HOLD)),
    Scenario(FAIL, overlap(0.4, 0.2, 0.3, 0.2), all_of(CLAIMS, FAIL)),
    Scenario("a tie", overlap(0.2, 0.2, 0.2, 0.5), {"p_t_share_mistakes": "not favoured"}),
)
STATISTICS: Statistics = {
    "p_t_share_mistakes": (
        "mistakes",
        lambda rows: (
            math.log(uncommon(rows, "P-T & P-T"))
            - math.log(min(uncommon(rows, "P-T & RI-T"), uncommon(rows, "RI-T & RI-T")))
        ),
    ),
    "p_t_mistakes_are_ambiguous": (
        "mistakes_difficulty",
        lambda rows: judged(rows, "only a") - judged(rows, "only b"),
    ),
}
