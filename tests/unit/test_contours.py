"""Lines of equal height: on the surface, closed where they should be, and right at saddles."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from transferscope.analyses._contours import contour_segments

PLACES = [-1.0, -0.5, 0.0, 0.25, 1.0]


def heights(surface):
    return [[surface(x, y) for x in PLACES] for y in PLACES]


@pytest.mark.parametrize("level", [-0.7, 0.1, 0.9])
def test_a_slope_has_a_straight_line(level):
    segments = contour_segments(PLACES, PLACES, heights(lambda x, y: 2 * x + y), level)
    for x1, y1, x2, y2 in segments:
        assert 2 * x1 + y1 == pytest.approx(level)
        assert 2 * x2 + y2 == pytest.approx(level)
    length = sum(math.hypot(x2 - x1, y2 - y1) for x1, y1, x2, y2 in segments)
    # from where the line meets the bottom of the square to where it meets the top
    ends = [((level - y) / 2, y) for y in (-1, 1)]
    assert all(-1 <= x <= 1 for x, _ in ends)
    assert length == pytest.approx(math.dist(*ends))


def test_a_bowl_has_a_closed_line():
    segments = contour_segments(PLACES, PLACES, heights(lambda x, y: x * x + y * y), 0.6)
    ends = Counter((round(s[i], 9), round(s[i + 1], 9)) for s in segments for i in (0, 2))
    assert len(segments) > 4
    assert set(ends.values()) == {2}


@pytest.mark.parametrize(("low", "high"), [(-3.0, 1.0), (-1.0, 3.0)])
def test_at_a_saddle_the_middle_decides(low, high):
    """Low in the corners (0, 0) and (1, 1), high in the others: the lines cut off those the middle is not with."""
    segments = contour_segments([0.0, 1.0], [0.0, 1.0], [[low, high], [high, low]], 0.0)
    assert len(segments) == 2
    cut_off = {(round((x1 + x2) / 2), round((y1 + y2) / 2)) for x1, y1, x2, y2 in segments}
    assert cut_off == ({(1, 0), (0, 1)} if low + high < 0 else {(0, 0), (1, 1)})


def test_flat_ground_and_holes_have_no_line():
    flat = heights(lambda x, y: 1.0)
    assert contour_segments(PLACES, PLACES, flat, 0.5) == []
    assert contour_segments(PLACES, PLACES, flat, 1.0) == []
    for hole in (math.nan, math.inf):
        slope = heights(lambda x, y: x)
        slope[2][2] = hole
        around = contour_segments(PLACES, PLACES, slope, -0.3)
        assert len(around) == 2  # of four cells that the line crosses, two touch the hole
