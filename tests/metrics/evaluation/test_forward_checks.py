"""Networks whose outputs are no logits of each input alone are refused by whatever needs losses."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from transferscope import basin, interpolate, module_criticality, rewind
from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.metrics.landscape.plane import plane

INPUTS = torch.randn(12, 6, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(12) % 3


class Net(nn.Module):
    """A layer, BatchNorm, a layer, and what is given as `end`."""

    def __init__(
        self, end: Callable[[Tensor], Tensor] = lambda logits: logits, norm: nn.Module | None = None
    ):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(6, 8), norm or nn.BatchNorm1d(8), nn.Linear(8, 3)
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.last(F.relu(self.norm(self.first(x)))))


class Kept(nn.BatchNorm1d):
    """Stays in training mode, as a train() that is overridden makes it."""

    def train(self, mode: bool = True) -> nn.Module:
        return super().train(True)


class AcrossBatch(Net):
    """Attention whose axis of tokens is the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.unsqueeze(1)
        return super().forward(self.attention(tokens, tokens, tokens)[0].squeeze(1))


class InPlace(Net):
    """Centres its input in place."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(0.5))


def made(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


LOGITS: dict[str, Callable[[], nn.Module]] = {
    "logits": Net,
    "log-probabilities": lambda: Net(lambda logits: logits.log_softmax(1)),
    "zeros": lambda: Net(lambda logits: logits * 0),
    "ones in one place": lambda: Net(lambda logits: F.one_hot(logits.argmax(1) * 0, 3).float()),
    "clamped": lambda: Net(lambda logits: logits.clamp(0, 1)),
    "layer norm": lambda: Net(norm=nn.LayerNorm(8)),
    "dropout": lambda: Net(norm=nn.Dropout(0.5)),
    "in place": InPlace,
}
REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "softmax": (lambda: Net(lambda logits: logits.softmax(1)), "softmax at the end"),
    "mean of softmaxes": (
        lambda: Net(lambda logits: (logits.softmax(1) + (3 * logits).softmax(1)) / 2),
        "gives probabilities",
    ),
    "percentages": (lambda: Net(lambda logits: 100 * logits.softmax(1)), "gives probabilities"),
    "sigmoid": (lambda: Net(torch.sigmoid), "ends in a sigmoid"),
    "log of a sigmoid": (lambda: Net(F.logsigmoid), "ends in a sigmoid"),
    "sigmoid, reshaped": (lambda: Net(lambda logits: logits.sigmoid().reshape(-1, 3)), "ends in a sigmoid"),
    "dropout that stays on": (lambda: Net(lambda logits: F.dropout(logits, 0.1, training=True)), "is random"),
    "noise": (lambda: Net(lambda logits: logits + 0.01 * torch.randn_like(logits)), "is random"),
    "no running statistics": (lambda: Net(norm=nn.BatchNorm1d(8, track_running_stats=False)), "depend on the"),
    "training mode": (lambda: Net(norm=Kept(8)), "depend on the"),
    "attention": (AcrossBatch, "depend on the"),
    "largest of the batch": (lambda: Net(lambda logits: logits / logits.abs().amax()), "depend on the"),
}  # fmt: skip


@pytest.mark.parametrize("name", LOGITS)
def test_logits_are_taken_and_inputs_and_generator_left_alone(name: str) -> None:
    inputs, state = INPUTS.clone(), torch.get_rng_state()
    check_forward(made(LOGITS[name]), inputs)
    check_forward(made(LOGITS[name]), inputs[:1])
    assert torch.equal(inputs, INPUTS)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_logits_of_each_input_alone_is_refused(name: str) -> None:
    make, problem = REFUSED[name]
    with torch.random.fork_rng(devices=[]), pytest.raises(BadInput, match=problem):
        check_forward(made(make), INPUTS)


def test_half_precision_is_no_reason(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_forward(made(Net).bfloat16(), INPUTS.bfloat16())
    assert not caplog.records
    with pytest.raises(BadInput, match="gives probabilities"):
        check_forward(made(REFUSED["softmax"][0]).bfloat16(), INPUTS.bfloat16())


def test_sigmoids_without_a_graph_are_noted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_forward(made(lambda: Net(lambda logits: (9 * logits).sigmoid().detach())), INPUTS)
    assert "lie in [0, 1]" in caplog.text


def test_a_small_dependence_on_the_batch_is_noted(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        check_forward(made(lambda: Net(lambda logits: logits + 0.03 * logits.mean(0))), INPUTS)
    assert "depend a little on the other inputs" in caplog.text


FUNCTIONS: dict[str, Callable[[nn.Module, dict[str, Tensor], dict[str, Tensor]], object]] = {
    "interpolate": lambda net, a, b: interpolate(net, a, b, (INPUTS, LABELS), alphas=[0, 1]),
    "rewind": lambda net, a, b: rewind(net, a, b, (INPUTS, LABELS)),
    "criticality": lambda net, a, b: module_criticality(
        net, a, b, (INPUTS, LABELS), alphas=[0, 1], sigmas=[0, 0.1]
    ),
    "basin": lambda net, a, b: basin(net, [a, b], (INPUTS, LABELS), delta=0.1),
    "plane": lambda net, a, b: plane(
        net, [a, b, {name: 2 * tensor + 1 for name, tensor in a.items()}], (INPUTS, LABELS), size=2
    ),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", ["softmax", "dropout that stays on", "no running statistics"])
def test_the_functions_that_need_losses_refuse_it(function: str, name: str) -> None:
    make, problem = REFUSED[name]
    a, b = ({key: value.clone() for key, value in made(make).state_dict().items()} for _ in "ab")
    b["last.weight"] += 1
    with torch.random.fork_rng(devices=[]), pytest.raises(BadInput, match=problem):
        FUNCTIONS[function](made(make), a, b)
