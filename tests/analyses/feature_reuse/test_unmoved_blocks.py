"""Networks whose permutation moves no block are left out of the claims."""

from __future__ import annotations

import polars as pl
import pytest
from numpy.random import RandomState

from transferscope.analyses.feature_reuse.claims import findings
from transferscope.data.shuffle import moves_no_block

UNMOVED = 1234
"""The paper's seed, whose permutation of four blocks is the identity."""


def table(gain_where_unmoved: float) -> pl.DataFrame:
    rows = []
    for seed in range(4):
        for view, block, gain in (("unshuffled", 16, 0.3), ("blocks", 8, 0.2), ("blocks", 2, 0.1)):
            is_unmoved = block == 8 and seed == 0
            rows.append(
                {
                    "target": "digits",
                    "likeness_rank": 1,
                    "view": view,
                    "block_size_px": block,
                    "seed": seed,
                    "shuffle_seed": None if view == "unshuffled" else UNMOVED + seed,
                    "n_test": 1000,
                    "gain": gain_where_unmoved if is_unmoved else gain + 0.001 * seed,
                    "speed_gain": 0.2,
                }
            )
    return pl.DataFrame(rows)


@pytest.mark.parametrize("seed", [0, UNMOVED, UNMOVED + 1, 7])
def test_a_permutation_that_moves_no_block_is_the_identity(seed: int) -> None:
    for image, block in ((16, 8), (16, 4), (8, 8)):
        count = (image // block) ** 2
        expected = RandomState(seed).permutation(count).tolist() == list(range(count))
        assert moves_no_block(image, block, seed=seed) == expected


def test_a_network_on_blocks_that_did_not_move_changes_no_claim_and_is_named() -> None:
    usual, odd = (
        {finding.claim.id: finding for finding in findings({"feature_reuse": table(gain)}, None)}  # pyright: ignore
        for gain in (0.2, 0.9)
    )
    for name, finding in odd.items():
        if finding.is_measured:
            assert finding.effect == usual[name].effect
    slope = odd["gain_falls_along_block_sizes"]
    assert slope.effect == pytest.approx(0.2, abs=0.02)
    assert "Left out, as the permutation moves no block: digits, 8 px, seed 0." in slope.note
