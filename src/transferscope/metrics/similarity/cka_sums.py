"""What CKA adds up over batches, and the table that comes of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl
import torch
from scipy import stats
from torch import Tensor

from transferscope.metrics.similarity.hsic import (
    centred,
    largest_influence,
    leave_group_out_hsic,
    leave_one_out_terms,
    normalized,
    permuted_hsic,
)
from transferscope.metrics.similarity.mutual_knn import mutual_knn

LEVEL = 0.95
NUM_GROUPS = 20
"""Groups of the delete-d jackknife."""
SMALLEST_BATCH = 8
"""Fewest samples in a batch: the unbiased HSIC needs 4, and the jackknife leaves some out."""
MOST_TERMS = 2**26
"""Numbers kept for the influence of single samples, n (N + P): 512 MiB of float64. Beyond, influence is missing."""
DEGENERATE = 1e-12
"""Size of a centred Gram over the Gram's at which the rest is rounding."""
NUMBERS = ("linear_cka", "low", "high", "null", "null_max", "influence", "mutual_knn")
SCHEMA = {
    **dict.fromkeys(("model_x", "layer_x", "model_y", "layer_y"), pl.String),
    **dict.fromkeys(NUMBERS[:-1], pl.Float64),
    "influence_place": pl.Int64,
    "mutual_knn": pl.Float64,
    "n": pl.Int64,
    "smallest_batch": pl.Int64,
    "status": pl.String,
}

Key = tuple[str, str]
"""Model and layer."""


@dataclass(kw_only=True)
class CkaSums:
    """Sums over batches for P layers of all models together; see `cka.cka` for what they are for."""

    keys: Sequence[Key]
    """Model and layer of each of the P."""
    pairs: Sequence[tuple[str, str]]
    """Pairs of models, with N pairs of layers between them."""
    debiased: bool
    num_permutations: int
    neighbours: int
    generator: torch.Generator
    """Of the groups and permutations."""

    _num_samples: int = 0
    _largest_batch: int = 0
    _hsic: Tensor | float = 0.0
    """(1 + G, P, P), see `leave_group_out_hsic`."""
    _null: Tensor | float = 0.0
    """(R, P, P), see `permuted_hsic`."""
    _size: Tensor | float = 0.0
    """(P,) squared norms of the Grams before centring."""
    _rest: Tensor | float = 0.0
    """(P,) squared norms of the centred Grams."""
    _near: Tensor | float = 0.0
    """(P, P) m times `mutual_knn`, NaN from the first batch on that has too few samples."""
    _smallest_batch: int | None = None
    _terms: list[tuple[Tensor, Tensor]] | None = field(default_factory=list)
    """Terms (m, N) and (m, P) of each batch for `largest_influence`; None if they would need too much memory."""
    _places: list[Tensor] = field(default_factory=list)
    """(m,) of each batch's samples in the data."""

    def add(self, grams: Tensor, places: Tensor) -> None:
        """Add a batch.

        Args:
            grams: (P, m, m) of all layers, NaN for one without.
            places: (m,) of its samples in the data.
        """
        m, debiased, generator = grams.shape[-1], self.debiased, self.generator
        centres = centred(grams, debiased)
        groups = torch.randperm(m, generator=generator, device=generator.device) % NUM_GROUPS
        self._hsic = self._hsic + leave_group_out_hsic(centres, groups, NUM_GROUPS, debiased)
        if self.num_permutations:
            self._null = self._null + permuted_hsic(centres, self.num_permutations, debiased, generator)
        self._size = self._size + squared_norms(grams)
        self._rest = self._rest + squared_norms(centres)
        self._near = self._near + m * mutual_knn(grams, self.neighbours)
        self._num_samples += m
        self._places.append(places)
        x, y = self._cells_wanted
        if self._num_samples * (len(x) + len(grams)) > MOST_TERMS:
            self._terms = None
        if self._terms is not None:
            terms = leave_one_out_terms(centres, debiased).cpu()
            self._terms.append((terms[:, x, y], terms.diagonal(dim1=1, dim2=2).clone()))
        self._smallest_batch = min(m, self._smallest_batch or m)
        self._largest_batch = max(self._largest_batch, m)

    def table(self, reasons: Mapping[Key, str]) -> pl.DataFrame:
        """One row for each pair of models and pair of their layers, with the columns of `SCHEMA`.

        Args:
            reasons: why a layer has no Gram.
        """
        size, rest = torch.as_tensor(self._size).tolist(), torch.as_tensor(self._rest).tolist()
        problems = [
            reasons.get(key) or problem_of(before, after)
            for key, before, after in zip(self.keys, size, rest, strict=True)
        ]
        influence, most = self._influence()
        cells = {name: own.tolist() for name, own in (self._cells() | {"influence": influence}).items()}
        permuted = self._permuted()
        rows: list[dict[str, Any]] = []
        for pair in self.pairs:
            own = [self._places_of(name) for name in pair]
            fine = [[place for place in places if not problems[place]] for places in own]
            null_max = math.nan
            if permuted is not None and all(fine):
                null_max = float(permuted[:, fine[0]][:, :, fine[1]].amax((1, 2)).quantile(LEVEL))
            for x, y in itertools.product(*own):
                problem = problems[x] or problems[y]
                numbers = {name: cell[x][y] for name, cell in cells.items()} | {"null_max": null_max}
                rows.append(
                    dict(
                        zip(
                            ("model_x", "layer_x", "model_y", "layer_y"),
                            (*self.keys[x], *self.keys[y]),
                            strict=True,
                        )
                    )
                    | (dict.fromkeys(NUMBERS, math.nan) if problem else numbers)
                    | {
                        "influence_place": None if problem or most is None else int(most[x, y]),
                        "n": self._num_samples,
                        "smallest_batch": self._smallest_batch,
                        "status": problem or "ok",
                    }
                )
        return pl.DataFrame(rows, schema=SCHEMA)

    def _cells(self) -> dict[str, Tensor]:
        """(P, P) of every number but null_max."""
        replicates = normalized(torch.as_tensor(self._hsic).cpu())
        # Where no batch has as many samples as there are groups, the last groups are empty.
        num_groups = min(NUM_GROUPS, self._largest_batch)
        estimate, left_out = replicates[0], replicates[1 : 1 + num_groups]
        spread = (left_out - left_out.mean(0)).square().sum(0) * (num_groups - 1) / num_groups
        half = float(stats.t.ppf((1 + LEVEL) / 2, num_groups - 1)) * spread.sqrt()
        unknown = torch.full_like(estimate, math.nan)
        permuted = self._permuted()
        return {
            "linear_cka": estimate,
            "low": estimate - half,
            "high": estimate + half,
            "null": unknown if permuted is None else permuted.quantile(LEVEL, dim=0),
            "mutual_knn": torch.as_tensor(self._near) / self._num_samples,
        }

    def _permuted(self) -> Tensor | None:
        """(R, P, P) CKA of permuted samples."""
        if not self.num_permutations:
            return None
        root = torch.as_tensor(self._hsic)[0].diagonal().sqrt()
        return (torch.as_tensor(self._null) / (root[:, None] * root[None, :])).cpu()

    def _influence(self) -> tuple[Tensor, Tensor | None]:
        """(P, P) the largest change without a sample, and that sample's place in the data; NaN for pairs not wanted."""
        total = torch.as_tensor(self._hsic)[0].cpu()
        influence, most = torch.full_like(total, math.nan), torch.zeros_like(total, dtype=torch.int64)
        if self._terms is None:
            return influence, None
        cells = self._cells_wanted
        influence[cells], place = largest_influence(total, self._terms, cells)
        most[cells] = torch.cat(self._places)[place]
        return influence, most

    @cached_property
    def _cells_wanted(self) -> tuple[Tensor, Tensor]:
        """(N,) places of the layers of each pair that is wanted."""
        own = {name: self._places_of(name) for pair in self.pairs for name in pair}
        found = [cell for a, b in self.pairs for cell in itertools.product(own[a], own[b])]
        x, y = torch.tensor(found, dtype=torch.int64).reshape(-1, 2).T
        return x, y

    def _places_of(self, model: str) -> list[int]:
        return [place for place, (name, _) in enumerate(self.keys) if name == model]


def problem_of(size: float, rest: float) -> str | None:
    """Why a layer with Grams of these squared norms, before and after centring, has no CKA."""
    if not math.isfinite(size):
        return "non-finite"
    if size == 0:
        return "constant"
    return "degenerate" if rest <= DEGENERATE**2 * size else None


def squared_norms(grams: Tensor) -> Tensor:
    """(P,) of (P, m, m)."""
    return grams.square().sum((1, 2))
