"""What is read back from a result is what was written, in the same order."""

from __future__ import annotations

import json

import polars as pl
import pytest
import torch

from transferscope.core.datasets import Description, ImageData, ImageSplit
from transferscope.core.runs import UNSHUFFLED, View
from transferscope.core.tables import Column
from transferscope.data.shuffle import block_shuffle, pixel_channel_shuffle
from transferscope.execute.store.artifacts import (
    StoredCellData,
    StoredSubject,
    read_data,
    read_description,
    read_state,
    show,
    write_data,
    write_rows,
    write_trained,
)
from transferscope.train.held_out import hold_out
from transferscope.train.trained import Best, Trained

ABOUT = Description(class_names=("a", "b"), image_size_px=4, num_train=3, num_test=2, fingerprint="f")


def _split(n: int) -> ImageSplit:
    images = torch.randint(256, (n, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(n))
    return ImageSplit(images=images, labels=torch.arange(n) % 2, ids=tuple(f"{n}/{i}" for i in range(n)))


def test_data_come_back_under_every_view(tmp_path) -> None:
    data = ImageData(train=_split(3), test=_split(2))
    write_data(tmp_path, data, ABOUT)
    assert read_description(tmp_path) == ABOUT
    blocks = View(kind="blocks", block_size_px=2, seed=1234)
    pixels = View(kind="pixels_and_channels", seed=1235)
    for view, expected in (
        (UNSHUFFLED, data.train.images),
        (blocks, block_shuffle(data.train.images, 2, seed=1234)),
        (pixels, pixel_channel_shuffle(data.train.images, seed=1235)),
    ):
        back = read_data(tmp_path, view)
        assert torch.equal(back.train.images, expected)
        assert torch.equal(back.test.labels, data.test.labels)
        assert back.train.ids == data.train.ids


def test_training_images_of_a_cell_are_those_that_were_trained_on(tmp_path) -> None:
    data = ImageData(train=_split(8), test=_split(2))
    write_data(tmp_path, data, ABOUT)
    cpu = torch.device("cpu")
    kept, held = hold_out(data.train, 0.25)
    found = StoredCellData(tmp_path, UNSHUFFLED, "unit", cpu, 0.25)
    assert found.train.ids == kept.ids
    assert len(held) == 2
    assert found.test.ids == data.test.ids
    assert StoredCellData(tmp_path, UNSHUFFLED, "unit", cpu).train.ids == data.train.ids


def test_shuffled_view_without_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a seed"):
        show(_split(2).images, View(kind="blocks", block_size_px=2))


def test_the_best_network_comes_back_with_its_epoch_and_predictions(tmp_path) -> None:
    state, best_state = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    best = Best(epoch=2, metric=0.5, state=best_state, test_logits=torch.ones(2, 2))
    trained = Trained(
        checkpoints={0: state, 3: state},
        history=pl.DataFrame({"epoch": [0]}),
        test_logits=torch.zeros(2, 2),
        best=best,
    )
    write_trained(tmp_path, trained, ABOUT, best_by="held_out")
    chosen = json.loads((tmp_path / "best.json").read_text())
    assert chosen == {"epoch": 2, "by": "held_out", "metric": 0.5}
    found = StoredSubject(tmp_path, None, "best", torch.device("cpu"))  # type: ignore[arg-type]
    final = StoredSubject(tmp_path, None, 3, torch.device("cpu"))  # type: ignore[arg-type]
    assert (found.epoch, final.epoch) == (2, 3)
    assert torch.equal(found.state["w"], best_state["w"])
    assert torch.equal(found.test_logits, best.test_logits)
    assert torch.equal(final.test_logits, trained.test_logits)
    assert found.history.equals(final.history)


def test_the_best_epoch_may_be_the_last(tmp_path) -> None:
    state, logits = {"w": torch.zeros(2)}, torch.ones(2, 2)
    best = Best(epoch=3, metric=0.5, state=state, test_logits=logits)
    history = pl.DataFrame({"epoch": [0]})
    trained = Trained(checkpoints={0: state, 3: state}, history=history, test_logits=logits, best=best)
    write_trained(tmp_path, trained, ABOUT, best_by="test")
    for epoch in ("best", 3):
        found = StoredSubject(tmp_path, None, epoch, torch.device("cpu"))  # type: ignore[arg-type]
        assert found.epoch == 3
        assert torch.equal(found.test_logits, logits)
        assert torch.equal(found.state["w"], state["w"])


def test_states_keep_the_order_of_the_network(tmp_path) -> None:
    state = {
        "stem.weight": torch.ones(2),
        "a_later_stage.weight": torch.zeros(3),
        "head.bias": torch.arange(2.0),
    }
    history = pl.DataFrame({"epoch": [0]})
    trained = Trained(checkpoints={0: state}, history=history, test_logits=torch.zeros(2, 2))
    write_trained(tmp_path, trained, ABOUT)
    back = read_state(tmp_path, 0)
    assert list(back) == list(state)
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_rows_other_than_documented_are_refused(tmp_path) -> None:
    tables = {"table": (Column("x", "int", "A number"), Column("y", "float", "Another"))}
    write_rows(tmp_path, tables, {"table": [{"x": 1, "y": None}]})
    assert pl.read_parquet(tmp_path / "table.parquet").schema == {"x": pl.Int64, "y": pl.Float64}
    with pytest.raises(ValueError, match="a row has"):
        write_rows(tmp_path, tables, {"table": [{"x": 1}]})
    with pytest.raises(ValueError, match="gave the tables"):
        write_rows(tmp_path, tables, {"other": []})
