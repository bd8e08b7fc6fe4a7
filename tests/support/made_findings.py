"""Findings with a verdict that a test asks for."""

from __future__ import annotations

import math
from typing import Any

from transferscope.analyses.claims import Claim, Finding, Verdict, size_of

P_VALUES = {"holds": 0.001, "does not hold": 0.001, "undecided": 0.3}


def made_finding(claim: Claim, verdict: Verdict, effect: float = 0.3, **values: Any) -> Finding:
    """A finding from three seeds that has this verdict, with strong evidence where it is decided."""
    given = {"num_seeds": 3, "over": "seeds", "size": size_of(effect, claim.unit), **values}
    given.setdefault("p_value", math.nan if given["num_seeds"] < 3 else P_VALUES[verdict])
    made = Finding(claim=claim, effect=effect, is_on_claimed_side=verdict == "holds", **given)
    assert made.verdict == verdict
    return made
