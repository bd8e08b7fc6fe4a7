"""What a state dict means to the functions of the library: entries, prefixes, tied, quantized and adapter weights."""

from __future__ import annotations

import copy
import logging
import math

import pytest
import torch
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.inputs.state_dicts import find_state_dict
from transferscope.metrics.inputs.tensor_names import named_as
from transferscope.metrics.landscape.distance import l2_distance
from transferscope.metrics.landscape.interpolation import interpolate
from transferscope.metrics.similarity.cka import cka

TOLERANCE = 1e-6  # both sides are sums in float64 of the same float32 numbers
DATA = (torch.linspace(-1, 1, 24).reshape(8, 3), torch.tensor([0, 1] * 4))


def network(seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2)).eval()


A, B = network(0), network(1)


def literal(a: nn.Module, b: nn.Module) -> float:
    """The distance of all parameters, number by number."""
    pairs = zip(a.parameters(), b.parameters(), strict=True)
    return math.sqrt(sum(((x.double() - y.double()) ** 2).sum().item() for x, y in pairs))


def prefixed(model: nn.Module, prefix: str) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


class Wrapped(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


FORMS = {
    "checkpoint with an accuracy": lambda m: {"state_dict": m.state_dict(), "best_acc1": torch.tensor(70.5)},
    "nested": lambda m: {"state": {"model": m.state_dict()}, "rng": torch.zeros(9, dtype=torch.uint8)},
    "lightning": lambda m: {"state_dict": prefixed(m, "net."), "optimizer_states": [{}], "loops": {}},
    "beside an optimizer": lambda m: {
        "model": m.state_dict(),
        "opt": {"state": {"0.weight": torch.ones(5, 3)}},
    },
    "data parallel": lambda m: prefixed(m, "module."),
    "compiled": lambda m: prefixed(m, "_orig_mod."),
    "wrapped network": Wrapped,
    "averaged model": lambda m: {"n_averaged": torch.tensor(3), **prefixed(m, "module.")},
}


@pytest.mark.parametrize("form", FORMS)
def test_the_weights_are_the_same_in_every_form(form: str) -> None:
    given = FORMS[form](B)
    assert l2_distance(A, given) == pytest.approx(literal(A, B), rel=TOLERANCE)
    assert l2_distance(given, A) == pytest.approx(literal(A, B), rel=TOLERANCE)
    plain = interpolate(A, A, B, DATA, alphas=[0, 0.5, 1])
    for model in (A, Wrapped(copy.deepcopy(A))):
        assert interpolate(model, A, given, DATA, alphas=[0, 0.5, 1])["loss"].to_list() == pytest.approx(
            plain["loss"].to_list(), rel=1e-5
        )


def test_the_last_weights_are_taken_and_the_others_are_named(caplog: pytest.LogCaptureFixture) -> None:
    given = {"state_dict": B.state_dict(), "state_dict_ema": A.state_dict(), "best_model": A.state_dict()}
    with caplog.at_level(logging.WARNING, "transferscope"):
        assert l2_distance(A, given) == pytest.approx(literal(A, B), rel=TOLERANCE)
    (message,) = dict.fromkeys(record.getMessage() for record in caplog.records)
    assert "Took 'state_dict'" in message
    assert "state_dict_ema, best_model" in message
    assert "checkpoint['state_dict_ema']" in message


def test_of_two_networks_none_is_chosen() -> None:
    with pytest.raises(BadInput, match=r"several state dicts.*generator, discriminator"):
        l2_distance({"generator": A.state_dict(), "discriminator": B.state_dict()}, A)
    weight = torch.ones(1)
    own = {"student.w": weight, "teacher.w": weight.clone()}
    assert list(named_as({"w": weight}, own)) == ["w"], "two prefixes fit equally well"


def test_only_an_average() -> None:
    found = find_state_dict({"epoch": 3, "model_ema": A.state_dict()})
    assert found is not None
    assert (found.entry, found.others) == ("model_ema", ())


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(10, 4), nn.Linear(4, 10, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.embedding(x))


def test_tied_weights_that_were_saved_once(tmp_path) -> None:
    one, other = Tied(), Tied()
    save_model(one, str(tmp_path / "tied.safetensors"))
    saved = load_file(tmp_path / "tied.safetensors")
    assert len(saved) == 1
    assert l2_distance(saved, other) == pytest.approx(literal(one, other), rel=TOLERANCE)
    assert l2_distance(other, saved) == pytest.approx(literal(one, other), rel=TOLERANCE)
    words = torch.arange(10)
    table = interpolate(Tied(), saved, other, (words, words), alphas=[0, 1])
    assert table["loss"].to_list() == pytest.approx(
        [nn.functional.cross_entropy(model(words), words).item() for model in (one, other)], rel=1e-5
    )


def test_tied_weights_that_differ_do_not_fit() -> None:
    given = {"embedding.weight": torch.zeros(10, 4), "out.weight": torch.ones(10, 4)}
    words = torch.arange(10)
    with pytest.raises(BadInput, match="one tensor"):
        interpolate(Tied(), given, Tied(), (words, words), alphas=[0, 1])


ADAPTERS = ["lora_A.default.weight", "lora_A", "lora_down.weight", "hada_w1_a", "ia3_l.default"]


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_are_merged_first(name: str) -> None:
    given = {**A.state_dict(), f"0.{name}": torch.ones(4, 3)}
    for call in (lambda: l2_distance(given, given), lambda: interpolate(A, given, A, DATA, alphas=[0, 1])):
        with pytest.raises(BadInput, match=r"merge_and_unload"):
            call()


@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor:UserWarning")
def test_quantized_weights_are_refused() -> None:
    integers = {name: (100 * tensor).to(torch.int8) for name, tensor in A.state_dict().items()}
    scaled = {"w": torch.zeros(2, 2).to(torch.float8_e4m3fn), "w_scale": torch.ones(1)}
    packed = {"0.scale": torch.ones(()), "0._packed_params._packed_params": (torch.ones(1), None)}
    per_tensor = {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}
    for given in (integers, scaled, packed, per_tensor):
        with pytest.raises(BadInput, match="quantized"):
            l2_distance(given, given)
    with pytest.raises(BadInput, match=r"quantized|integers"):
        interpolate(A, integers, A, DATA, alphas=[0, 1])


class Positions(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2))
        self.register_buffer("positions", torch.zeros(100))


def test_buffers_are_no_weights() -> None:
    a = Positions()
    b = copy.deepcopy(a)
    with torch.no_grad():
        for buffer in b.buffers():
            buffer.add_(1)
    assert l2_distance(a, b) == 0
    assert l2_distance(a, b.state_dict()) == 0
    assert l2_distance(a, b, by_module=True)["num_parameters"].to_list() == [8]
    states = [{k: v for k, v in m.state_dict().items() if k != "positions"} for m in (a, b)]
    assert l2_distance(*states) == 0, "the names of spectral_norm's vectors are known"


def test_masks_and_vectors_beside_an_original() -> None:
    a = {"w_orig": torch.ones(2), "w_mask": torch.ones(2), "p_orig": torch.ones(2), "p_u": torch.ones(2)}
    b = {**a, "w_mask": torch.zeros(2), "p_u": torch.zeros(2)}
    assert l2_distance(a, b) == 0
    assert l2_distance({"p_u": torch.ones(1)}, {"p_u": torch.zeros(1)}) == 1, "a name alone says nothing"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_inputs_of_another_type_and_programs_are_refused() -> None:
    with pytest.raises(
        BadInput, match=r"weights of the network are torch\.float16.*model\.to\(torch\.float32\)"
    ):
        interpolate(network(0).half(), A, B, DATA, alphas=[0, 1])
    program = torch.jit.trace(A, DATA[0])
    with pytest.raises(BadInput, match="TorchScript"):
        cka({"a": program, "b": program}, DATA[0])
