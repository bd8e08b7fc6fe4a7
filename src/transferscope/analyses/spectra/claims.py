"""The claims about spectra, and what its tables say of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.findings import (
    Claim,
    Finding,
    judge,
    mean_over_targets,
)
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl


RI_T_SPECTRA_ARE_SMALLER = Claim(
    id="ri_t_spectra_are_smaller",
    analysis="spectra",
    statement="The singular values of RI-T's convolutions are concentrated toward smaller values than P-T's.",
    statistic="mean singular value over the largest one, P-T minus RI-T, mean over convolutions and targets",
)
CLAIMS = (RI_T_SPECTRA_ARE_SMALLER,)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The claim about spectra; in the note, the same without the convolutions that start at 0."""
    import polars as pl

    claim = RI_T_SPECTRA_ARE_SMALLER
    table = tables["spectra"].filter(pl.col("kind").is_in(["P-T", "RI-T"]))
    others = table.filter(~pl.col("starts_at_zero"))
    note = ""
    if 0 < others.height < table.height:
        count = table.filter("starts_at_zero")["convolution"].n_unique()
        rest = judge(claim, others, _difference)
        ends = f"{rest.low:+.3g} to {rest.high:+.3g}" if math.isfinite(rest.low) else "no interval"
        note = f"Without the {count} convolutions that start at 0: {rest.effect:+.3g} ({ends})."
    return [judge(claim, table, _difference, note=note)]


def _difference(rows: pl.DataFrame) -> float:
    """P-T minus RI-T of each convolution that has a spectrum in both, mean over these and over targets.

    Within a convolution first: where one kind's is 0 and left out, the other kind's must not count either.
    """
    import polars as pl

    means = (
        rows.filter(pl.col("mean_relative").is_not_nan())
        .group_by("target", "convolution", maintain_order=True)
        .agg(
            *(
                pl.col("mean_relative").filter(pl.col("kind") == kind).mean().alias(kind)
                for kind in ("P-T", "RI-T")
            )
        )
        .drop_nulls()
    )
    return mean_over_targets(means, pl.col("P-T") - pl.col("RI-T"))
