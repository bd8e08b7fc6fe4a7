"""Regions above a height on a grid, for drawing contours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FINENESS = 4
"""Places put between two places of the grid, so that lines of equal height look as smooth as they are."""

Ring = list[tuple[float, float]]


@dataclass(frozen=True)
class Region:
    """Where the heights are above a level."""

    level: float
    rings: list[Ring]
    """Closed lines around it, and in the opposite sense around its holes."""


def regions_above(
    xs: Sequence[float], ys: Sequence[float], heights: Sequence[Sequence[float]], levels: Sequence[float]
) -> list[Region]:
    """For each level, the region where the heights are above it; levels without one are left out.

    Between the places of the grid the heights are interpolated along y, then along x, by monotone cubics (Fritsch
    and Carlson 1980; `scipy`'s PCHIP), which go through every height and make no hill or valley of their own along
    the grid's lines. With heights that are not finite they are left as they are, and cells that touch one belong to
    no region.

    Args:
        xs, ys: places of the grid, rising.
        heights: one row a y, one number an x.
        levels: the heights of the borders.
    """
    import contourpy
    import numpy as np

    grid = np.asarray(heights, dtype=np.float64)
    fine_xs, fine_ys = np.asarray(xs, dtype=np.float64), np.asarray(ys, dtype=np.float64)
    if np.isfinite(grid).all():
        fine_xs, fine_ys, grid = _smoothed(fine_xs, fine_ys, grid)
    generator = contourpy.contour_generator(
        fine_xs, fine_ys, np.ma.masked_invalid(grid), fill_type=contourpy.FillType.OuterOffset
    )
    regions = []
    for level in levels:
        polygons: Any = generator.filled(level, np.inf)
        rings = [
            [(float(x), float(y)) for x, y in polygon[start:end]]
            for polygon, ends in zip(*polygons, strict=True)
            for start, end in pairwise(ends)
        ]
        if rings:
            regions.append(Region(level, rings))
    return regions


def _smoothed(
    xs: np.ndarray, ys: np.ndarray, heights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from scipy.interpolate import PchipInterpolator

    fine_xs, fine_ys = _refined(xs), _refined(ys)
    along_y = PchipInterpolator(ys, heights, axis=0)(fine_ys)
    return fine_xs, fine_ys, PchipInterpolator(xs, along_y, axis=1)(fine_xs)


def _refined(places: np.ndarray) -> np.ndarray:
    """The places, with as many between every two of them."""
    import numpy as np

    steps = np.arange(0, len(places) - 1 + 1e-9, 1 / FINENESS)
    return np.interp(steps, np.arange(len(places)), places)
