"""Two processes train what one does: the same batches, the same statistics, the sum of the gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import two_ranks
from small_training import CPU, split
from torch import Tensor, nn
from torch.nn import functional as F

from transferscope.core.config import Recipe
from transferscope.core.errors import TaskFailed
from transferscope.train.batch_norm import WholeBatchStatistics
from transferscope.train.loop import train
from transferscope.train.ranks import ALONE, Ranks


def recipe(**fields: Any) -> Recipe:
    return Recipe(**{"epochs": 3, "batch_size": 5, "learning_rate": 0.05, "keep_epochs": (1,), **fields})


RECIPES = {
    "sgd": recipe(),
    "adamw": recipe(optimizer="adamw", learning_rate=0.003, clip_norm=0.5),
    "mixup": recipe(mixup=0.7, label_smoothing=0.1),
    "crops and mixup": recipe(augmentation="crop_and_flip", mixup=0.4),
    "affine": recipe(augmentation="affine", schedule="cosine", warmup_steps=3),
    "accumulated": recipe(accumulate=2, mixup=0.7),
    "best": recipe(best_by="held_out", held_out=0.1),
}
FLOAT64_TOLERANCE = 1e-6
"""Of every weight after 12 steps in float64; the loop takes the outputs in float32, which may round otherwise."""
FLOAT32_TOLERANCE = 1e-4


class Network(nn.Module):
    """A convolution with BatchNorm, and weights that no loss depends on.

    The convolution has no bias: BatchNorm takes it away, its gradient is rounding alone, and AdamW makes steps of it.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv, self.norm = nn.Conv2d(3, 4, 3, stride=2, bias=False), nn.BatchNorm2d(4)
            self.head, self.unused = nn.Linear(4, 3), nn.Linear(2, 2)
        self.to(dtype)

    def forward(self, inputs: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(inputs.to(self.head.weight.dtype))))
        return self.head(x.mean(dim=(2, 3)))


def trained(name: str, dtype: str, ranks: Ranks) -> dict[str, Any]:
    own, model = RECIPES[name], Network(getattr(torch, dtype))
    found = train(
        model,
        split(22, 1),
        split(9, 2),
        own,
        normalization="per_image",
        seed=5,
        device=CPU,
        held_out_split=split(11, 3) if own.held_out else None,
        ranks=ranks,
    )
    history = found.history.drop("epoch").fill_null(-1.0).to_numpy()
    return {
        "network": model.state_dict(),
        "checkpoints": found.checkpoints,
        "history": torch.from_numpy(history.copy()),
        "logits": found.test_logits,
        "best": {} if found.best is None else found.best.state,
    }


def all_trained() -> dict[str, Any]:
    """In each of the processes: every recipe in both precisions, and a BatchNorm alone."""
    found = {f"{name} {dtype}": trained(name, dtype, Ranks.joined()) for name in RECIPES for dtype in DTYPES}
    return found | {"normed": normed()}


DTYPES = {"float64": FLOAT64_TOLERANCE, "float32": FLOAT32_TOLERANCE}


@pytest.fixture(scope="module")
def both() -> list[Any]:
    return two_ranks.run_in_two("test_ranks", "all_trained")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_train_what_one_does(both: list[Any], name: str, dtype: str) -> None:
    first, second = (found[f"{name} {dtype}"] for found in both)
    alone = trained(name, dtype, ALONE)
    for key, tensor in first["network"].items():
        assert torch.equal(tensor, second["network"][key]), f"{key} drifted apart"
        assert (tensor.double() - alone["network"][key].double()).abs().max() <= DTYPES[dtype], key
    assert (first["history"] - alone["history"]).abs().max() <= DTYPES[dtype]
    assert (first["logits"] - alone["logits"]).abs().max() <= 10 * DTYPES[dtype]
    assert torch.equal(first["history"], second["history"])
    assert list(first["checkpoints"]) == list(alone["checkpoints"])
    assert list(first["best"]) == list(alone["best"])
    assert not second["best"], "the first alone keeps"
    moved = alone["checkpoints"][0]["head.weight"] - alone["network"]["head.weight"]
    assert moved.abs().max() > 100 * DTYPES[dtype], "it is trained far more than the tolerance"


def normed() -> dict[str, Tensor]:
    """A BatchNorm over both parts of a batch of 7: outputs, gradients and running statistics."""
    rank = torch.distributed.get_rank()
    inputs, target = batch()
    own = inputs.tensor_split(2)[rank].clone().requires_grad_()
    layer = nn.BatchNorm2d(3, momentum=0.3).double()
    with WholeBatchStatistics():
        output = layer(own)
    (output * target.tensor_split(2)[rank]).sum().backward()
    assert own.grad is not None
    return {"output": output.detach(), "gradient": own.grad, **layer.state_dict()}


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs, target = torch.randn(2, 7, 3, 4, 4, generator=generator, dtype=torch.float64)
    return 3 * inputs + 100, target


def test_batch_norm_over_two_processes_is_that_of_the_whole_batch(both: list[Any]) -> None:
    parts = [found["normed"] for found in both]
    inputs, target = batch()
    layer = nn.BatchNorm2d(3, momentum=0.3).double()
    output = layer(inputs.requires_grad_())
    (output * target).sum().backward()
    assert torch.allclose(torch.cat([part["output"] for part in parts]), output, rtol=0, atol=1e-11)
    assert inputs.grad is not None
    assert torch.allclose(torch.cat([part["gradient"] for part in parts]), inputs.grad, rtol=0, atol=1e-11)
    for part in parts:
        for name, tensor in layer.state_dict().items():
            assert torch.allclose(part[name].double(), tensor.double(), rtol=1e-13), name


def test_every_row_is_some_processs_own() -> None:
    rows = torch.arange(11)
    parts = [Ranks(rank=rank, count=4).own(rows) for rank in range(4)]
    assert torch.equal(torch.cat(parts), rows)
    assert {len(part) for part in parts} == {2, 3}


def test_batches_too_small_for_the_processes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_workers 3 can't share a batch_size of 5 in 2 part"):
        recipe(num_workers=3, accumulate=2)
    few = split(1, 1)
    with pytest.raises(TaskFailed, match="num_workers 2 can't share batches of 1 images"):
        train(
            Network(torch.float32),
            few,
            few,
            recipe(),
            normalization="unit",
            seed=0,
            device=CPU,
            ranks=Ranks(count=2),
        )
