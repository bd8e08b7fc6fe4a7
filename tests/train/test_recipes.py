"""Optimizers, mixing, smoothing, accumulation, precision and the best epoch: in the loop, as said."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from small_training import CPU, NETWORK, split
from torch import nn
from torch.nn import functional as F

from transferscope.core.config import Recipe
from transferscope.core.errors import TaskFailed
from transferscope.data.normalize import normalize
from transferscope.metrics.evaluation.scores import per_example_loss, score
from transferscope.models.init import random_init
from transferscope.train import loop
from transferscope.train.evaluate import predict
from transferscope.train.loop import train
from transferscope.train.optimizer import learning_rate_at, optimizer_for
from transferscope.train.trained import Trained


def recipe(**fields: Any) -> Recipe:
    return Recipe(**{"epochs": 2, "batch_size": 5, "learning_rate": 0.05, "schedule": "constant", **fields})


def trained(
    own: Recipe, *, model: nn.Module | None = None, multi_label: bool = False, **options: Any
) -> Trained:
    parts = [split(22, 1, multi_label=multi_label), split(9, 2, multi_label=multi_label)]
    network = random_init(NETWORK, 3, 3, 0) if model is None else model
    return train(network, *parts, own, normalization="per_image", seed=5, device=CPU, **options)


class Normed(nn.Module):
    """A network with biases and norms."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten())
            self.head = nn.Linear(144, 3)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.scale * self.body(inputs))


PLAIN = {
    "sgd": recipe(),
    "adamw": recipe(optimizer="adamw", learning_rate=0.01, weight_decay=0.1),
    "adamw cosine": recipe(optimizer="adamw", learning_rate=0.01, schedule="cosine", warmup_steps=2),
    "sgd cosine": recipe(schedule="cosine"),
    "adamw weights only": recipe(
        optimizer="adamw", learning_rate=0.01, weight_decay=0.1, decay="weights_only"
    ),
    "sgd weights only": recipe(weight_decay=0.3, decay="weights_only"),
}


@pytest.mark.parametrize("name", PLAIN)
def test_training_is_a_plain_loop_to_the_bit(name: str) -> None:
    """The same operations written down flat, with PyTorch's optimizer on one parameter a group."""
    own = PLAIN[name]
    model = Normed().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups = []
    for key, parameter in model.named_parameters():
        is_spared = parameter.numel() == 1 or (
            own.decay == "weights_only" and ("bias" in key or "body.1" in key)
        )
        factor = own.scalar_rate_factor if parameter.numel() == 1 else 1.0
        decay = 0.0 if is_spared else own.weight_decay
        groups.append({"params": [parameter], "weight_decay": decay, "factor": factor})
    if own.optimizer == "adamw":
        optimizer: torch.optim.Optimizer = torch.optim.AdamW(groups, lr=1.0, betas=(0.9, 0.999), fused=True)
    else:
        optimizer = torch.optim.SGD(groups, lr=1.0, momentum=own.momentum, fused=True)
    data = split(22, 1)
    generator = torch.Generator().manual_seed(5)
    for epoch in range(2):
        order = torch.randperm(22, generator=generator)
        for i in range(4):
            step = epoch * 4 + i
            rate = own.learning_rate
            if own.schedule == "cosine":
                rate *= (1 + math.cos(math.pi * step / 8)) / 2
            if step < own.warmup_steps:
                rate = own.learning_rate * (step + 1) / own.warmup_steps
            for group in optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            rows = order[i * 5 : i * 5 + 5]
            inputs = normalize(data.images[rows], "per_image").contiguous(memory_format=torch.channels_last)
            loss = F.cross_entropy(model(inputs).double(), data.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = trained(own, model=Normed()).checkpoints[2]
    for key, expected in model.state_dict().items():
        assert torch.allclose(found[key], expected, rtol=0, atol=1e-12), key


def test_adamw_is_what_its_paper_says() -> None:
    """Decoupled decay and bias-corrected moments (Loshchilov, Hutter 2019), literally, in float64."""
    own = PLAIN["adamw"]
    model = random_init(NETWORK, 3, 3, 0).double()
    data = split(22, 1)
    generator = torch.Generator().manual_seed(5)
    moments = {name: [torch.zeros_like(p), torch.zeros_like(p)] for name, p in model.named_parameters()}
    rows = torch.randperm(22, generator=generator)
    for t in range(1, 4):
        batch = rows[(t - 1) * 5 : t * 5]
        logits = model(normalize(data.images[batch], "per_image").double())
        loss = F.cross_entropy(logits, data.labels[batch])
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for (name, parameter), gradient in zip(model.named_parameters(), gradients, strict=True):
                m, v = moments[name]
                m.copy_(0.9 * m + 0.1 * gradient)
                v.copy_(0.999 * v + 0.001 * gradient**2)
                single = parameter.numel() == 1
                rate = own.learning_rate * (own.scalar_rate_factor if single else 1.0)
                parameter -= rate * (0.0 if single else own.weight_decay) * parameter
                parameter -= rate * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
    real = random_init(NETWORK, 3, 3, 0).double()
    optimizer = optimizer_for(real, own)
    for t in range(3):
        batch = rows[t * 5 : t * 5 + 5]
        optimizer.zero_grad()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(own, t, 8) * group["rate_factor"]
        F.cross_entropy(
            real(normalize(data.images[batch], "per_image").double()), data.labels[batch]
        ).backward()
        optimizer.step()
    for (name, expected), found in zip(model.named_parameters(), real.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-10), name


def test_decay_of_weights_only_spares_what_has_one_axis() -> None:
    model = Normed()
    names = {id(p): name for name, p in model.named_parameters()}
    groups = optimizer_for(model, recipe(decay="weights_only", weight_decay=0.2)).param_groups
    decays = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert {name for name, decay in decays.items() if decay} == {"body.0.weight", "head.weight"}
    everything = optimizer_for(model, recipe(weight_decay=0.2)).param_groups
    assert sum(len(group["params"]) for group in everything if group["weight_decay"]) == len(names) - 1


@pytest.mark.parametrize("parts", [2, 3, 5])
@pytest.mark.parametrize("multi_label", [False, True])
def test_a_batch_in_parts_is_the_batch(parts: int, multi_label: bool) -> None:
    options: dict[str, Any] = {"mixup": 0.7, "clip_norm": 0.5}
    whole = trained(recipe(**options), multi_label=multi_label)
    found = trained(recipe(accumulate=parts, **options), multi_label=multi_label)
    for name, tensor in whole.checkpoints[2].items():
        assert torch.allclose(found.checkpoints[2][name], tensor, rtol=1e-4, atol=1e-5), (
            name
        )  # 8 steps in float32
    for name in ("train_loss", "train_metric", "test_loss"):
        found_one, whole_one = (one.history[name].drop_nulls().to_list() for one in (found, whole))
        assert found_one == pytest.approx(whole_one, rel=1e-4)


def test_mixing_is_linear_in_images_and_labels_and_scored_by_the_heavier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One step of one batch, written down."""
    own = recipe(epochs=1, batch_size=22, mixup=0.7, label_smoothing=0.1)
    found = trained(own)
    data = split(22, 1)
    order = torch.randperm(22, generator=torch.Generator().manual_seed(5))
    noise = torch.Generator().manual_seed(loop._noise_seed(5))
    from scipy.stats import beta

    weight = float(beta.ppf(torch.rand((), generator=noise, dtype=torch.float64).item(), 0.7, 0.7))
    partner = torch.randperm(22, generator=noise)
    inputs, labels = normalize(data.images[order], "per_image"), data.labels[order]
    mixed = weight * inputs + (1 - weight) * inputs[partner]
    logits = random_init(NETWORK, 3, 3, 0)(mixed).double().detach()
    losses = [F.cross_entropy(logits, toward, label_smoothing=0.1) for toward in (labels, labels[partner])]
    row = found.history.row(1, named=True)
    assert row["train_loss"] == pytest.approx(float(weight * losses[0] + (1 - weight) * losses[1]), rel=1e-5)
    assert row["train_metric"] == score(logits, labels if weight >= 0.5 else labels[partner])


def test_augmentation_and_mixing_leave_the_order_of_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[bool, list[Any]] = {}
    real = loop.Stepper.step
    for varies in (False, True):

        def spy(self: Any, images: torch.Tensor, *rest: Any, varies: bool = varies) -> Any:
            inputs = images if images.is_floating_point() else normalize(images, "per_image")
            seen.setdefault(varies, []).append(inputs)
            return real(self, images, *rest)

        monkeypatch.setattr(loop.Stepper, "step", spy)
        trained(recipe(augmentation="crop_and_flip", mixup=0.4) if varies else recipe())
    assert len(seen[True]) == len(seen[False]) == 8
    for one, two in zip(seen[True], seen[False], strict=True):
        # normalised at once or by batch: means in float32 that may add up in another order
        assert torch.allclose(one, two, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "fields",
    [{"augmentation": "crop_and_flip"}, {"augmentation": "affine"}, {"mixup": 0.7}, {"label_smoothing": 0.1}],
)
def test_what_varies_training_changes_it_and_is_the_same_again(fields: dict[str, Any]) -> None:
    plain, one, two = trained(recipe()), trained(recipe(**fields)), trained(recipe(**fields))
    assert torch.equal(one.test_logits, two.test_logits)
    assert not torch.equal(one.test_logits, plain.test_logits)


def test_bf16_trains_and_is_evaluated_in_fp32() -> None:
    found, full = trained(recipe(precision="bf16")), trained(recipe())
    assert found.test_logits.dtype == torch.float32
    assert all(tensor.dtype == torch.float32 for tensor in found.checkpoints[2].values())
    losses = [one.history["train_loss"].to_list()[1:] for one in (found, full)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
    assert losses[0] != losses[1]
    model = random_init(NETWORK, 3, 3, 0)
    model.load_state_dict(found.checkpoints[2])
    assert torch.equal(predict(model, split(9, 2).images, "per_image", CPU), found.test_logits)


def test_a_compiled_network_is_the_one_that_is_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler itself takes a minute on a CPU: here a stand-in counts the calls."""
    calls = []

    def stand_in(model: nn.Module) -> Any:
        def forward(inputs: torch.Tensor) -> torch.Tensor:
            calls.append(len(inputs))
            return model(inputs)

        return forward

    monkeypatch.setattr(torch, "compile", stand_in)
    found, plain = trained(recipe(compile=True)), trained(recipe())
    assert calls == [5] * 8
    assert torch.equal(found.test_logits, plain.test_logits)
    assert found.checkpoints[2].keys() == plain.checkpoints[2].keys()


@pytest.mark.parametrize("by", ["held_out", "test"])
def test_the_best_epoch_has_the_highest_metric_the_earliest_of_equals(by: str) -> None:
    own = recipe(epochs=6, learning_rate=0.3, held_out=0.1, best_by=by)
    held = split(11, 3)
    found = trained(own, held_out_split=held)
    metrics = found.history[f"{by}_metric"].to_list()
    assert None not in metrics
    best = found.best
    assert best is not None
    assert best.epoch == max(range(1, 7), key=lambda epoch: (metrics[epoch], -epoch))
    assert best.metric == metrics[best.epoch]
    # what is stored is the network of that epoch
    shorter = trained(own.model_copy(update={"keep_epochs": (best.epoch,)}), held_out_split=held)
    expected = shorter.checkpoints[best.epoch]
    assert all(torch.equal(tensor, expected[name]) for name, tensor in best.state.items())
    model = random_init(NETWORK, 3, 3, 0)
    model.load_state_dict(best.state)
    assert torch.equal(predict(model, split(9, 2).images, "per_image", CPU), best.test_logits)
    logits = predict(model, (held if by == "held_out" else split(9, 2)).images, "per_image", CPU)
    labels = (held if by == "held_out" else split(9, 2)).labels
    assert best.metric == score(logits, labels)
    loss = float(per_example_loss(logits, labels).mean())
    assert found.history[f"{by}_loss"][best.epoch] == pytest.approx(loss)


def test_choosing_the_best_epoch_leaves_the_training_as_it_is() -> None:
    held = split(11, 3)
    without = trained(recipe(epochs=3, held_out=0.1), held_out_split=held)
    with_best = trained(recipe(epochs=3, held_out=0.1, best_by="held_out"), held_out_split=held)
    assert without.best is None
    assert torch.equal(without.test_logits, with_best.test_logits)
    assert without.history["held_out_metric"].is_null().to_list() == [False, True, True, False]
    assert with_best.history["test_metric"].is_null().to_list() == [False, True, True, False]
    model = random_init(NETWORK, 3, 3, 0)
    state = trained(recipe(epochs=3, best_by="test"), model=model).checkpoints[3]
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_without_any_defined_metric_there_is_no_best_epoch() -> None:
    held = split(4, 3, multi_label=True)
    held = copy.copy(held)
    object.__setattr__(held, "labels", torch.ones(4, 3))
    with pytest.raises(TaskFailed, match="its metric is not defined at any"):
        trained(recipe(held_out=0.1, best_by="held_out"), multi_label=True, held_out_split=held)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"best_by": "held_out"}, "best_by: held_out needs held-out images"),
        ({"crop_scale": (0.5, 0.2)}, "must go from the least to the largest share"),
        ({"accumulate": 6}, "accumulate 6 is more than batch_size, 5"),
        ({"held_out": 1.0}, "less than 1"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe(**fields)
