"""What checkpoints says on the first page of made-up tables."""

from __future__ import annotations

import math
from typing import Any

from first_page import Tables, advice, frame


def choice(**replaced: Any) -> Tables:
    row = {
        "target": "near",
        "best_epoch": 5,
        "best_metric": 0.79,
        "standard_error": 0.01,
        "recommended_epoch": 3,
    }
    row |= {
        "difference": -0.008,
        "difference_low": -0.02,
        "difference_high": 0.004,
        "last_epoch": 6,
        "num_seeds": 3,
    }
    return {"checkpoints": {"checkpoints_choice": frame([{**row, **replaced}])}}


def test_which_checkpoint() -> None:
    (line,) = advice(choice())
    assert "pre-training epoch 3 of 6 is enough" in line
    assert "−0.8 points [−2.0, +0.4]" in line
    assert "There is no earlier one" in advice(choice(recommended_epoch=5))[0]
    one = choice(recommended_epoch=None, standard_error=math.nan, num_seeds=1)
    assert "is undecided with 1 seed" in advice(one)[0]
