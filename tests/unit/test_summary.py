"""What a run prints at its end."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from transferscope.summary import print_waiting


@pytest.mark.parametrize(
    ("infos", "expected"),
    [
        ([{"seconds": 3.0, "data_share": 0.02}, {"seconds": 1.0, "data_share": 0.1}], "training waited 4.0%"),
        ([{"seconds": 3.0, "data_share": None}, {"seconds": 1.0}], ""),
        ([], ""),
    ],
)
def test_how_long_training_waited_for_data(infos: list[dict[str, float]], expected: str) -> None:
    out = io.StringIO()
    print_waiting(infos, Console(file=out))
    assert out.getvalue().startswith(expected)
    assert bool(out.getvalue()) == bool(expected)
