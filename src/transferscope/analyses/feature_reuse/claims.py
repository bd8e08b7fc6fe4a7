"""The claims about feature reuse, and what its tables say of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from transferscope.analyses.claims import Claim, Finding, not_measured
from transferscope.analyses.findings import Statistic, judge, largest, mean_over_targets, mean_slope
from transferscope.core.config import Study

if TYPE_CHECKING:
    import polars as pl

GAIN_SHRINKS_WITH_BLOCKS = Claim(
    id="gain_shrinks_with_blocks",
    analysis="feature_reuse",
    statement="The gain of P-T over RI-T shrinks as the blocks shrink.",
    table="feature_reuse",
    statistic="gain in the final metric on unshuffled images minus that at the smallest blocks",
)
GAIN_FALLS_ALONG_BLOCK_SIZES = Claim(
    id="gain_falls_along_block_sizes",
    analysis="feature_reuse",
    statement="The gain of P-T over RI-T falls along all block sizes.",
    table="feature_reuse",
    statistic="slope of the gain in the final metric on the logarithm of the block size, unshuffled images "
    "included, as the rise from the smallest blocks to the whole image",
)
GAIN_SHRINKS_MOST_NEAR_SOURCE = Claim(
    id="gain_shrinks_most_near_source",
    analysis="feature_reuse",
    statement="The gain shrinks most where the target looks like the source.",
    table="feature_reuse",
    statistic="gain on unshuffled images minus that at the smallest blocks, on the target most like the source "
    "minus the same on the one least like it",
    across="contrast",
)
GAIN_SURVIVES_SHUFFLING = Claim(
    id="gain_survives_shuffling",
    analysis="feature_reuse",
    statement="The gain does not vanish at the smallest blocks: low-level statistics transfer too.",
    table="feature_reuse",
    statistic="gain in the final metric at the smallest blocks",
)
STATISTICS_HELP_SPEED_MOST = Claim(
    id="statistics_help_speed_most",
    analysis="feature_reuse",
    statement="What survives the shuffling shows most in optimization speed.",
    table="feature_reuse",
    statistic="gain in optimization speed minus gain in the final metric, both at the smallest blocks",
)
CLAIMS = (
    GAIN_SHRINKS_WITH_BLOCKS,
    GAIN_FALLS_ALONG_BLOCK_SIZES,
    GAIN_SHRINKS_MOST_NEAR_SOURCE,
    GAIN_SURVIVES_SHUFFLING,
    STATISTICS_HELP_SPEED_MOST,
)


def findings(tables: Mapping[str, pl.DataFrame], study: Study) -> Sequence[Finding]:
    """The claims about shuffled blocks, on the targets whose blocks were shuffled."""
    import polars as pl

    tables, note_on_moves = _with_moved_blocks(tables)
    table = tables["feature_reuse"]
    blocks = table.filter(pl.col("view") == "blocks")
    if blocks.is_empty():
        why = "No blocks were shuffled; see analyses.feature_reuse.block_sizes_px."
        return [not_measured(claim, why) for claim in CLAIMS]
    smallest, n = blocks["block_size_px"].min(), largest(table, "n_test")
    note = f"Smallest blocks: {smallest} px. {note_on_moves}".strip()
    is_small = (pl.col("view") == "blocks") & (pl.col("block_size_px") == smallest)
    is_whole = pl.col("view") == "unshuffled"

    def shuffled(rows: pl.DataFrame) -> pl.DataFrame:
        is_block = pl.col("view").eq("blocks")
        # unshuffled images may have more seeds: each gain is compared with one of the same seed
        return rows.filter((is_whole | is_block) & is_block.any().over("target", "seed"))

    def shrinkage(rows: pl.DataFrame) -> float:
        return mean_over_targets(rows.filter(is_whole), "gain") - mean_over_targets(
            rows.filter(is_small), "gain"
        )

    def slope(rows: pl.DataFrame) -> float:
        sized = rows.with_columns(pl.col("block_size_px").cast(pl.Float64).log().alias("log_size"))
        return mean_slope(sized, "log_size", "gain", by=("seed",))

    def at_smallest(value: str | pl.Expr) -> Statistic:
        return lambda rows: mean_over_targets(rows.filter(is_small), value)

    ends = _ends(shuffled(table))
    found = []
    for claim, statistic in (
        (GAIN_SHRINKS_WITH_BLOCKS, shrinkage),
        (GAIN_FALLS_ALONG_BLOCK_SIZES, slope),
        (GAIN_SHRINKS_MOST_NEAR_SOURCE, shrinkage),
        (GAIN_SURVIVES_SHUFFLING, at_smallest("gain")),
        (STATISTICS_HELP_SPEED_MOST, at_smallest(pl.col("speed_gain") - pl.col("gain"))),
    ):
        if claim.across == "contrast" and not ends:
            found.append(not_measured(claim, "Fewer than two targets have a likeness_rank."))
            continue
        weights = ends if claim.across == "contrast" else None
        found.append(judge(claim, tables, statistic, rows=shuffled, weights=weights, num_images=n, note=note))
    return found


def _with_moved_blocks(tables: Mapping[str, pl.DataFrame]) -> tuple[Mapping[str, pl.DataFrame], str]:
    """The tables without the rows whose permutation moves no block, as those images are not shuffled; and a note."""
    import polars as pl

    from transferscope.data.shuffle import moves_no_block

    table = tables["feature_reuse"]
    if "shuffle_seed" not in table.columns:  # tables of version 0.1
        return tables, ""
    sizes = dict(table.filter(view="unshuffled").select("target", "block_size_px").iter_rows())
    columns = ["target", "block_size_px", "seed", "shuffle_seed"]
    unmoved = [
        row[:3]
        for row in table.filter(view="blocks").select(columns).unique(maintain_order=True).iter_rows()
        if row[0] in sizes and moves_no_block(sizes[row[0]], row[1], seed=row[3])
    ]
    if not unmoved:
        return tables, ""
    keys = pl.DataFrame(unmoved, schema={key: table.schema[key] for key in columns[:3]}, orient="row")
    rest = {
        name: table.join(keys.with_columns(view=pl.lit("blocks")), on=[*keys.columns, "view"], how="anti")
        for name, table in tables.items()
        if name in ("feature_reuse", "feature_reuse_images")
    }
    named = "; ".join(f"{target}, {block} px, seed {seed}" for target, block, seed in unmoved)
    return {**tables, **rest}, f"Left out, as the permutation moves no block: {named}."


def _ends(table: pl.DataFrame) -> dict[str, float]:
    """Weights of the targets most and least like the source; empty where fewer than two have a rank."""
    import polars as pl

    ranks = (
        table.filter(pl.col("likeness_rank").is_not_null()).group_by("target", maintain_order=True).first()
    )
    if ranks["likeness_rank"].n_unique() < 2:
        return {}
    weights = {}
    for rank, sign in ((ranks["likeness_rank"].min(), 1.0), (ranks["likeness_rank"].max(), -1.0)):
        names = ranks.filter(pl.col("likeness_rank") == rank)["target"].to_list()
        weights |= {name: sign / len(names) for name in names}
    return weights
