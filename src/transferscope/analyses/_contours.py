"""Lines of equal height on a grid, for drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import isfinite

Segment = tuple[float, float, float, float]
"""x and y of one end, x and y of the other."""

_Corner = tuple[float, float, float]


def contour_segments(
    xs: Sequence[float], ys: Sequence[float], heights: Sequence[Sequence[float]], level: float
) -> list[Segment]:
    """The line on which the heights are `level`, as straight pieces: one or two in each cell that it crosses.

    Along the edges of a cell the height is interpolated linearly; where the line crosses all four edges, the mean
    of the corners decides which ends belong together (marching squares).

    Args:
        xs, ys: places of the grid, rising.
        heights: one row a y, one number an x; cells with a number that is not finite are left out.
        level: the height.
    """
    found: list[Segment] = []
    for (y0, row0), (y1, row1) in pairwise(zip(ys, heights, strict=True)):
        for (x0, a, d), (x1, b, c) in pairwise(zip(xs, row0, row1, strict=True)):
            if all(map(isfinite, (a, b, c, d))):
                corners = ((x0, y0, a), (x1, y0, b), (x1, y1, c), (x0, y1, d))
                found += _in_cell(corners, level)
    return found


def _in_cell(corners: Sequence[_Corner], level: float) -> Iterator[Segment]:
    """Corners around the cell."""
    around = list(pairwise((*corners, corners[0])))
    ends = [_crossing(start, end, level) for start, end in around if (start[2] < level) != (end[2] < level)]
    # Four ends: pairs in this order cut corners 1 and 3 off, which is right where the middle goes with corner 0.
    middle = sum(height for _, _, height in corners) / 4
    if len(ends) == 4 and (corners[0][2] < level) != (middle < level):
        ends = [ends[3], *ends[:3]]
    for index in range(0, len(ends) - 1, 2):
        yield (*ends[index], *ends[index + 1])


def _crossing(start: _Corner, end: _Corner, level: float) -> tuple[float, float]:
    share = (level - start[2]) / (end[2] - start[2])
    return start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1])
