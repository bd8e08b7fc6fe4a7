"""The training loop against a slow, literal one, and what it leaves behind."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from polars.testing import assert_frame_equal
from small_training import CPU, NETWORK, split
from torch import nn
from torch.nn import functional as F

from transferscope.core.config import Recipe
from transferscope.core.datasets import ImageSplit
from transferscope.core.errors import BadInput, TaskFailed
from transferscope.data.normalize import normalize
from transferscope.metrics.evaluation.scores import score
from transferscope.models.init import random_init
from transferscope.train.evaluate import predict
from transferscope.train.loop import learning_rate_at, train
from transferscope.train.step import memory_format_of
from transferscope.train.trained import HISTORY_SCHEMA, Trained


def trained(
    recipe: Recipe, *, seed: int = 5, init_seed: int = 0, multi_label: bool = False, **options: Any
) -> Trained:
    model = random_init(NETWORK, 3, 3, init_seed)
    parts = [split(22, 1, multi_label=multi_label), split(9, 2, multi_label=multi_label)]
    return train(model, *parts, recipe, normalization="per_image", seed=seed, device=CPU, **options)


def literal_rate(recipe: Recipe, step: int, num_steps: int) -> float:
    """Learning rate at a step, counted from 0, as the schedules are defined."""
    if step + 1 <= recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "cosine":
        return recipe.learning_rate * (1 + math.cos(math.pi * step / num_steps)) / 2
    rate = recipe.learning_rate
    for milestone in recipe.milestones:
        if step / num_steps >= milestone:
            rate *= recipe.drop_factor
    return rate


def literal_sgd(recipe: Recipe, data: ImageSplit, seed: int) -> tuple[nn.Module, list[float]]:
    """The same training in float64, a parameter and a step at a time; the network and the losses."""
    model = random_init(NETWORK, 3, 3, 0).double()
    velocity = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    generator = torch.Generator().manual_seed(seed)
    steps = len(data.images) // recipe.batch_size
    losses = []
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(data.images), generator=generator).tolist()
        for i in range(steps):
            rows = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
            logits = model(normalize(data.images[rows], "per_image", torch.float64))
            loss = torch.stack(
                [
                    -F.log_softmax(logit, 0)[label]
                    for logit, label in zip(logits, data.labels[rows], strict=True)
                ]
            ).mean()
            losses.append(loss.item())
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
            clip = 1.0 if recipe.clip_norm is None else min(1.0, recipe.clip_norm / norm)
            rate = literal_rate(recipe, epoch * steps + i, recipe.epochs * steps)
            with torch.no_grad():
                for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
                    is_scalar = parameter.numel() == 1
                    decay = 0.0 if is_scalar else recipe.weight_decay
                    velocity[name] = recipe.momentum * velocity[name] + clip * gradient + decay * parameter
                    factor = recipe.scalar_rate_factor if is_scalar else 1.0
                    parameter -= rate * factor * velocity[name]
    return model, losses


RECIPES = {
    "plain": Recipe(
        epochs=2, batch_size=5, learning_rate=0.1, momentum=0, weight_decay=0, schedule="constant"
    ),
    "momentum": Recipe(epochs=2, batch_size=5, learning_rate=0.1, schedule="constant"),
    "decay": Recipe(epochs=2, batch_size=5, learning_rate=0.1, weight_decay=0.3, schedule="constant"),
    "scalars": Recipe(epochs=2, batch_size=5, learning_rate=0.1, scalar_rate_factor=3, schedule="constant"),
    "multistep": Recipe(epochs=2, batch_size=5, learning_rate=0.3, milestones=(0.25, 0.5), drop_factor=0.3),
    "cosine": Recipe(epochs=2, batch_size=5, learning_rate=0.3, schedule="cosine"),
    "warm-up": Recipe(epochs=2, batch_size=5, learning_rate=0.3, warmup_steps=3, milestones=(0.25,)),
    "clipping": Recipe(epochs=2, batch_size=5, learning_rate=0.3, clip_norm=0.1, schedule="constant"),
    "one batch": Recipe(epochs=3, batch_size=22, learning_rate=0.3, schedule="constant"),
}


@pytest.mark.parametrize("name", RECIPES)
def test_training_is_what_a_literal_loop_does(name: str) -> None:
    recipe = RECIPES[name]
    reference, losses = literal_sgd(recipe, split(22, 1), seed=5)
    found = trained(recipe)
    state = found.checkpoints[recipe.epochs]
    init = found.checkpoints[0]
    for key, expected in reference.state_dict().items():
        assert torch.allclose(state[key].double(), expected, rtol=1e-4, atol=1e-5), key
        if expected.numel() > 1:
            assert not torch.equal(state[key], init[key]), f"{key} was not trained"
    steps = 22 // recipe.batch_size
    for epoch in range(1, recipe.epochs + 1):
        mean = sum(losses[(epoch - 1) * steps : epoch * steps]) / steps
        row = found.history.row(epoch, named=True)
        assert row["train_loss"] == pytest.approx(mean, rel=1e-4)
        last_step = epoch * steps - 1
        assert row["learning_rate"] == pytest.approx(literal_rate(recipe, last_step, recipe.epochs * steps))


@pytest.mark.parametrize("name", ["multistep", "decay"])
def test_a_training_in_fp64_is_the_literal_loop_until_it_is_stored(name: str) -> None:
    recipe = RECIPES[name].model_copy(update={"precision": "fp64"})
    reference, losses = literal_sgd(recipe, split(22, 1), seed=5)
    found = trained(recipe)
    for key, expected in reference.state_dict().items():
        assert torch.allclose(
            found.checkpoints[recipe.epochs][key].double(), expected, rtol=1e-7, atol=1e-12
        ), key
    mean = sum(losses[-4:]) / 4
    assert found.history["train_loss"][-1] == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), torch.contiguous_format),
        (nn.Conv2d(16, 8, 1, stride=(1, 2), groups=4), torch.contiguous_format),
        (nn.Conv2d(8, 8, 1, stride=2), torch.channels_last),
        (nn.Conv2d(4, 8, 1), torch.channels_last),
        (nn.Conv2d(4, 8, 3, stride=2), torch.channels_last),
    ],
)
def test_networks_with_a_convolution_that_writes_beyond_its_memory_stay_contiguous(
    layer: nn.Module, expected: torch.memory_format
) -> None:
    assert memory_format_of(nn.Sequential(nn.ReLU(), layer)) == expected


@pytest.mark.parametrize("name", RECIPES)
def test_the_rate_of_every_step_is_as_defined(name: str) -> None:
    recipe = RECIPES[name]
    rates = [learning_rate_at(recipe, step, 20) for step in range(20)]
    assert rates == pytest.approx([literal_rate(recipe, step, 20) for step in range(20)])


def test_the_papers_schedule_drops_after_30_60_and_90_of_100_epochs() -> None:
    recipe = Recipe(epochs=100, learning_rate=1.0)
    rates = [learning_rate_at(recipe, step, 100) for step in (0, 29, 30, 59, 60, 89, 90, 99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_the_same_seed_gives_the_same_bits_and_another_one_another_order() -> None:
    recipe = RECIPES["momentum"]
    one, again, other = trained(recipe), trained(recipe), trained(recipe, seed=6)
    assert one.history.equals(again.history)
    assert torch.equal(one.test_logits, again.test_logits)
    for epoch, state in one.checkpoints.items():
        assert all(torch.equal(tensor, again.checkpoints[epoch][key]) for key, tensor in state.items())
    assert not torch.equal(one.test_logits, other.test_logits)
    assert all(torch.equal(tensor, other.checkpoints[0][key]) for key, tensor in one.checkpoints[0].items())


def test_the_global_generator_has_no_say() -> None:
    torch.manual_seed(1)
    one = trained(RECIPES["plain"])
    torch.manual_seed(2)
    assert torch.equal(one.test_logits, trained(RECIPES["plain"]).test_logits)


def test_the_history_has_a_row_an_epoch() -> None:
    recipe = Recipe(epochs=3, batch_size=5, learning_rate=0.1, keep_epochs=(1,))
    found = trained(recipe)
    history = found.history
    assert dict(history.schema) == HISTORY_SCHEMA
    assert history["epoch"].to_list() == [0, 1, 2, 3]
    for name in ("learning_rate", "train_loss", "train_metric"):
        assert history[name].is_null().to_list() == [True, False, False, False]
    for name in ("test_loss", "test_metric"):
        assert history[name].is_null().to_list() == [False, False, True, False]
    assert sorted(found.checkpoints) == [0, 1, 3]


@pytest.mark.parametrize("multi_label", [False, True])
def test_test_scores_and_logits_are_those_of_the_checkpoints(multi_label: bool) -> None:
    found = trained(RECIPES["momentum"], multi_label=multi_label)
    test = split(9, 2, multi_label=multi_label)
    for epoch, state in found.checkpoints.items():
        model = random_init(NETWORK, 3, 3, 0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.load_state_dict(state)
        logits = predict(model, test.images, "per_image", CPU)
        row = found.history.row(epoch, named=True)
        assert row["test_metric"] == score(logits, test.labels)
        if not multi_label:
            expected = F.cross_entropy(logits.double(), test.labels).item()
        else:
            expected = F.binary_cross_entropy_with_logits(logits.double(), test.labels.double()).item()
        assert row["test_loss"] == pytest.approx(expected)
    assert torch.equal(found.test_logits, logits)
    assert logits.dtype == torch.float32


def test_the_checkpoint_of_epoch_0_is_the_init() -> None:
    init = random_init(NETWORK, 3, 3, 4).state_dict()
    found = trained(RECIPES["plain"], init_seed=4).checkpoints[0]
    assert found.keys() == init.keys()
    for key, tensor in found.items():
        assert torch.equal(tensor, init[key])
        assert tensor.is_contiguous()


def test_a_batch_larger_than_the_data_is_all_of_it() -> None:
    large = RECIPES["one batch"].model_copy(update={"batch_size": 1000})
    assert torch.equal(trained(large).test_logits, trained(RECIPES["one batch"]).test_logits)


def test_progress_is_told_after_each_epoch() -> None:
    told: list[tuple[float, Mapping[str, float]]] = []
    history = trained(RECIPES["one batch"], on_progress=lambda *one: told.append(one)).history
    assert [share for share, _ in told] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert [dict(row) for _, row in told] == [
        {name: value for name, value in row.items() if value is not None} for row in history.to_dicts()
    ]


def test_a_loss_that_is_not_finite_fails_with_its_step_and_rate() -> None:
    recipe = Recipe(epochs=3, batch_size=5, learning_rate=1e20, schedule="constant")
    with pytest.raises(TaskFailed) as caught:
        trained(recipe)
    message = str(caught.value)
    assert "the training loss is" in message
    assert "at epoch 1, step 1, " in message
    assert "rate 1e+20" in message
    assert "Lower learning_rate or set clip_norm." in message


def test_weights_that_blow_up_in_the_last_step_fail_too() -> None:
    recipe = Recipe(epochs=1, batch_size=22, learning_rate=1e30, schedule="constant")
    with pytest.raises(
        TaskFailed, match=r"outputs on the test images are not finite after epoch 1, rate 1e\+30"
    ):
        trained(recipe)


def test_predicting_leaves_the_network_in_its_mode() -> None:
    model = random_init(NETWORK, 3, 3, 0)
    images = split(9, 2).images
    for training in (True, False):
        model.train(training)
        predict(model, images, "unit", CPU)
        assert model.training is training
    before = copy.deepcopy(model.state_dict())
    predict(model, images, "unit", CPU)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


def test_images_normalised_at_once_or_batch_by_batch_train_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(epochs=2, batch_size=6, learning_rate=0.1)
    at_once = trained(recipe)
    monkeypatch.setattr("transferscope.train.loop.NORMALISED_AT_ONCE", 0)
    batch_by_batch = trained(recipe)
    # means of pixels of more images at a time may add up in another order, in float32
    assert_frame_equal(at_once.history, batch_by_batch.history, rel_tol=1e-4)
    for name, tensor in at_once.checkpoints[2].items():
        assert torch.allclose(tensor, batch_by_batch.checkpoints[2][name], rtol=1e-4, atol=1e-5)


def test_a_training_label_without_an_output_is_refused_before_the_first_step() -> None:
    data = split(22, 1)
    data.labels[7] = 3
    with pytest.raises(BadInput, match=r"0\.\.3"):
        train(
            random_init(NETWORK, 3, 3, 0),
            data,
            split(9, 2),
            Recipe(epochs=1, learning_rate=0.1),
            normalization="per_image",
            seed=0,
            device=CPU,
        )


def test_the_time_spent_on_data_is_a_share() -> None:
    plain, varied = (
        trained(Recipe(epochs=1, batch_size=6, learning_rate=0.1, augmentation=how))
        for how in ("none", "affine")
    )
    assert plain.data_share is not None
    assert varied.data_share is not None
    assert 0 < plain.data_share < varied.data_share < 1
