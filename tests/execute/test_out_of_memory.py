"""Where a GPU's memory is short: evaluations go on in halves and say so, a training says which setting to change."""

from __future__ import annotations

import pytest
import torch
from small_training import CPU, split
from torch import Tensor, nn

from transferscope.core.config import Recipe
from transferscope.core.errors import BadInput, TaskFailed
from transferscope.execute.events import collected_notes
from transferscope.metrics.evaluation.evaluate import evaluate
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses
from transferscope.metrics.inputs.guard import lent
from transferscope.train.evaluate import predict
from transferscope.train.loop import train

TOLERANCE = 1e-5
"""Of float32 logits of about 1, sums of 192 products, in batches of another size: 192 * 6e-8."""


class Small(nn.Module):
    """A network on a device with room for so many images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.ReLU()), nn.Linear(4, 3)
        self.sizes: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.sizes.append(len(inputs))
        if len(inputs) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
        return self.head(self.body(inputs))


def test_a_prediction_goes_on_in_halves_and_says_so_once_a_size() -> None:
    images, model = split(23, 1).images, Small(room=5)
    with collected_notes() as notes:
        found = predict(model, images, "unit", CPU)
        predict(model, images, "unit", CPU)
    assert torch.allclose(found, predict(Small(room=99), images, "unit", CPU), rtol=0, atol=TOLERANCE)
    assert model.sizes[:7] == [23, 11, 5, 5, 5, 5, 3]
    assert list(notes) == [
        f"out of memory in an evaluation: its batches were halved from {size} to {size // 2}"
        for size in (23, 11)
    ]


def test_an_evaluation_of_an_analysis_goes_on_in_halves() -> None:
    data = torch.randn(23, 192), torch.randint(3, (23,))
    expected = evaluate(Small(room=99), data, 16)
    found = evaluate(Small(room=4), data, 16)
    assert torch.allclose(found.losses, expected.losses, rtol=0, atol=TOLERANCE)
    model = Small(room=16)
    passes = RepeatedPasses(model, data, 16)
    with lent(model):
        passes.stand_before([model.head.weight])
        assert passes.num_skipped == 1
        model.room = 4  # another task takes the memory: what was held no longer fits the batches
        model.head.bias += 1
        model.head.bias -= 1
        again = passes.evaluate()
    assert torch.allclose(again.losses, expected.losses, rtol=0, atol=TOLERANCE)


def test_one_image_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(BadInput, match=r"batch of one image: CUDA out of memory. .*smaller image_size_px"):
        predict(Small(room=0), split(3, 1).images, "unit", CPU)


def test_a_training_that_does_not_fit_names_the_settings() -> None:
    recipe = Recipe(epochs=1, batch_size=10, accumulate=2, learning_rate=0.1)
    with pytest.raises(TaskFailed) as caught:
        train(
            Small(room=4),
            split(22, 1),
            split(4, 2),
            recipe,
            normalization="unit",
            seed=0,
            device=CPU,
        )
    assert str(caught.value) == (
        "out of memory on cpu in training with batch_size 10 in 2 part(s): CUDA out of memory. Tried to allocate 2.00 "
        "GiB. Set accumulate to 4 or more, which computes the same batches in smaller parts; or lower batch_size, "
        "which is another recipe."
    )
    fits = recipe.model_copy(update={"accumulate": 4})
    options = {"normalization": "unit", "seed": 0, "device": CPU}
    train(Small(room=4), split(22, 1), split(4, 2), fits, **options)  # type: ignore[arg-type]
