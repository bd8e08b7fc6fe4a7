"""What checkpoints says on the first page of made-up tables."""

from __future__ import annotations

from first_page import SPREAD, Tables, frame, on_page


def checkpoints(metrics: dict[int, float], seeds: int = 3) -> Tables:
    """Mean target metric by pre-training epoch."""
    rows = [
        {
            "target": "near",
            "pretrain_epoch": epoch,
            "seed": seed,
            "target_metric": mean + SPREAD[seed] * epoch / 50,
        }
        for epoch, mean in metrics.items()
        for seed in range(seeds)
    ]
    return {"checkpoints": {"checkpoints": frame(rows)}}


def test_the_last_checkpoint_is_the_default() -> None:
    (item,) = on_page(checkpoints({0: 0.9, 2: 0.7, 4: 0.801, 6: 0.8})).advice
    assert item.text == "For near, start from the last checkpoint, epoch 6."
    assert item.numbers.startswith("Epoch 4, the best of the earlier ones, gives +0.1 points [")
    assert item.evidence == "indirect"


def test_an_earlier_one_is_advised_only_where_it_is_better_beyond_the_noise() -> None:
    (item,) = on_page(checkpoints({2: 0.7, 4: 0.95, 6: 0.8})).advice
    assert item.text == "For near, pre-training epoch 4 is better than the last one, 6."
    assert item.evidence in ("strong", "some")
    assert "test images chose the epoch" in item.why
    (item,) = on_page(checkpoints({2: 0.7, 4: 0.95, 6: 0.8}, seeds=2)).advice
    assert item.text == "For near, start from the last checkpoint, epoch 6."


def test_one_checkpoint_is_no_choice() -> None:
    (item,) = on_page(checkpoints({6: 0.8})).advice
    assert (item.text, item.why) == (
        "For near, start from the last checkpoint, epoch 6.",
        "there is no other one",
    )
