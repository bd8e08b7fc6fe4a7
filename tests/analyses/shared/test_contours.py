"""Regions above a height: their area, their holes, and no hill that was not measured."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from transferscope.analyses.shared.contours import Region, regions_above

PLACES = [-1.0, -0.5, 0.0, 0.25, 1.0]


def heights(surface):
    return [[surface(x, y) for x in PLACES] for y in PLACES]


def area(region: Region) -> float:
    """By the shoelace formula; holes go the other way round and count less than nothing."""
    corners = (pair for ring in region.rings for pair in itertools.pairwise([*ring, ring[0]]))
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in corners) / 2


@pytest.mark.parametrize("level", [-0.7, 0.1, 0.9])
def test_a_slope_is_cut_by_a_straight_line(level):
    (region,) = regions_above(PLACES, PLACES, heights(lambda x, y: 2 * x + y), [level])
    # of the square from -1 to 1: to the right of x = (level - y) / 2, whose mean over y is level / 2
    assert area(region) == pytest.approx(2 * (1 - level / 2), abs=1e-9)
    for x, y in region.rings[0]:
        assert 2 * x + y >= level - 1e-9


def test_a_bowl_has_a_hole_and_regions_lie_in_each_other():
    places = np.linspace(-1, 1, 21)
    bowl = [[x * x + y * y for x in places] for y in places]
    regions = regions_above(places, places, bowl, [-1.0, 0.25, 0.6, 3.0])
    assert [region.level for region in regions] == [-1.0, 0.25, 0.6]
    assert [len(region.rings) for region in regions] == [1, 2, 2]
    for region, radius in zip(regions, (0.0, 0.5, math.sqrt(0.6)), strict=True):
        assert area(region) == pytest.approx(4 - math.pi * radius**2, abs=0.01)


def test_nothing_is_higher_or_lower_than_what_was_measured():
    generator = np.random.default_rng(0)
    for _ in range(20):
        grid = generator.normal(size=(5, 5))
        assert regions_above(PLACES, PLACES, grid, [grid.max() + 1e-9]) == []
        (whole,) = regions_above(PLACES, PLACES, grid, [grid.min() - 1e-9])
        assert area(whole) == pytest.approx(4)


def test_cells_without_a_height_belong_to_no_region():
    grid = np.ones((5, 5))
    grid[0, 0] = math.nan
    (region,) = regions_above(PLACES, PLACES, grid, [0.0])
    # of the cell at that corner, half a unit wide, contourpy keeps the half beyond the diagonal
    assert area(region) == pytest.approx(4 - 0.5 * 0.5 / 2)
    assert all((x, y) != (-1.0, -1.0) for ring in region.rings for x, y in ring)


def test_a_flat_plane_is_above_what_is_lower():
    flat = [[1.0] * 5 for _ in PLACES]
    assert len(regions_above(PLACES, PLACES, flat, [0.5, 1.5])) == 1
