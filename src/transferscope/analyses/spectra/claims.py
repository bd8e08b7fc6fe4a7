"""The claim about spectra, and what its tables say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.claims import Claim, Finding
from transferscope.analyses.findings import judge, mean_over_targets
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl

RI_T_SPECTRA_ARE_SMALLER = Claim(
    id="ri_t_spectra_are_smaller",
    analysis="spectra",
    statement="The singular values of RI-T's convolutions are concentrated toward smaller values than P-T's.",
    table="spectra",
    statistic="mean singular value of P-T over that of RI-T, geometric mean over convolutions",
    threshold=1.0,
    reason="one: smaller at all; the singular values themselves, as in the paper's figure",
    unit="x",
)
CLAIMS = (RI_T_SPECTRA_ARE_SMALLER,)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The claim about spectra; its note has the same number with each value over the largest."""
    import polars as pl

    def trained(table: pl.DataFrame) -> pl.DataFrame:
        return table.filter(pl.col("kind").is_in(["P-T", "RI-T"]))

    rows = trained(tables["spectra"])
    relative = mean_over_targets(_differences(rows, "mean_relative"), "difference")
    note = ""
    if math.isfinite(relative):
        note = f"With singular values over the largest one of their convolution: {math.exp(relative):.3g}x."
    return [
        judge(
            RI_T_SPECTRA_ARE_SMALLER,
            tables,
            lambda part: mean_over_targets(_differences(part, "mean"), "difference"),
            rows=trained,
            note=note,
        )
    ]


def _differences(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Log of P-T's mean minus that of RI-T's, of each convolution of a target that has a spectrum in both.

    Within a convolution first: where one kind's is 0 and left out, the other kind's must not count either.
    """
    import polars as pl

    def of(kind: str) -> pl.Expr:
        return pl.col(column).log().filter(pl.col("kind") == kind).mean()

    means = rows.filter(pl.col(column) > 0).group_by("target", "convolution", maintain_order=True)
    return means.agg((of("P-T") - of("RI-T")).alias("difference")).drop_nulls()
