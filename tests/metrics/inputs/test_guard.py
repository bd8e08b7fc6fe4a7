"""Whatever the caller's context is and whatever the network does: the right number, and everything as it was."""

from __future__ import annotations

import copy
import random
import sys
import threading
from contextlib import contextmanager, suppress
from functools import cache

import numpy as np
import polars as pl
import pytest
import torch
from polars import selectors
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

import transferscope
from transferscope.core.errors import BadInput
from transferscope.metrics.agreement import error_consistency
from transferscope.metrics.criticality import freezing, rewinding
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses
from transferscope.metrics.inputs.guard import lent
from transferscope.metrics.landscape import averaging, distance, interpolation, path, plane, soup

TOLERANCE = 1e-4
"""Relative, of losses near 1: float32 work of three layers in two orders differs by about 1e-6."""
GRID = (0.0, 0.5, 1.0)
MODULES = {"mid": ["mid"], "head": ["head"]}


class Net(nn.Module):
    """Three layers with BatchNorm and a buffer outside the state dict; subclasses misbehave."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.mid = nn.Linear(8, 8)
        self.head = nn.Linear(8, 3)
        self.register_buffer("calls", torch.zeros(()), persistent=False)
        self.register_buffer("seen", torch.zeros(2))
        self.count = 0

    def forward(self, x):
        x = torch.relu(self.norm(self.stem((x - 1.0) * 2.0)))
        return self.head(torch.relu(self.mid(x)))


class WritesInput(Net):
    def forward(self, x):
        x.sub_(1.0).mul_(2.0)
        x = torch.relu_(self.norm(self.stem(x)))
        return self.head(torch.relu_(self.mid(x)))


class WritesBuffers(Net):
    def forward(self, x):
        self.calls += 1
        self.seen.add_(len(x))
        self.count += 1
        self.cache = x.clone()
        return super().forward(x)


class KeepsProducts(Net):
    """Keeps a product of its weights from one pass in evaluation mode to the next; train() drops it."""

    product = None

    def train(self, mode=True):
        self.product = None
        return super().train(mode)

    def forward(self, x):
        if self.product is None:
            self.product = (
                self.head.weight @ self.mid.weight,
                self.head.weight @ self.mid.bias + self.head.bias,
            )
        x = self.norm(self.stem((x - 1.0) * 2.0))
        return nn.functional.linear(x, *self.product)


class KeepsNothing(KeepsProducts):
    def forward(self, x):
        self.product = None
        return super().forward(x)


class DrawsAndStops(Net):
    """Draws from all global generators; stops in the third pass."""

    stop: type[BaseException] | None = None

    def forward(self, x):
        torch.rand(1), random.random(), np.random.rand()  # noqa: NPY002
        self.count += 1
        self.seen += 1
        if self.stop and self.count > 2:
            raise self.stop("in the middle")
        return super().forward(x)


class ReplacesLayers(Net):
    """Builds a layer and a buffer anew in its first pass, as networks do that fuse or convert their layers."""

    is_built = False

    def forward(self, x):
        if not self.is_built:
            self.mid = copy.deepcopy(self.mid)
            self.norm.running_mean = self.norm.running_mean.clone()
            self.is_built = True
        return super().forward(x)


class Adapted(nn.Linear):
    """W + B A, computed each time."""

    def __init__(self, inputs, outputs):
        super().__init__(inputs, outputs)
        self.a, self.b = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.randn(outputs, 2))

    def forward(self, x):
        return super().forward(x) + x @ self.a.T @ self.b.T


class Merging(Adapted):
    """The same as `Adapted`, with W + B A in place of W in evaluation mode."""

    merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (self.b @ self.a).data * (-1 if mode else 1)
            self.merged = not mode
        return self

    def forward(self, x):
        return nn.Linear.forward(self, x) if self.merged else super().forward(x)


class MergesAnew(Merging):
    """Merging into new memory."""

    def train(self, mode=True):
        nn.Linear.train(self, mode)
        if mode == self.merged:
            self.weight.data = self.weight.data + (self.b @ self.a).data * (-1 if mode else 1)
            self.merged = not mode
        return self


def seeded(make, seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = make()
        for parameter in net.parameters():
            parameter.data += 0.2 * torch.randn(parameter.shape)
        for name, buffer in net.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += torch.rand(buffer.shape)
        return net


def adapted(kind):
    def make():
        net = Net()
        net.mid = kind(8, 8)
        return net

    return make


def tied():
    net = Net()
    net.second = net.mid
    return net


def parametrized():
    net = Net()
    parametrizations.weight_norm(net.mid)
    return net


def hooked_norm():
    net = Net()
    torch.nn.utils.spectral_norm(net.mid)
    return net


def compiled():
    net = Net()
    net.compile(backend="eager")
    net.mid.compile(backend="eager")
    return net


def copies_in_state_dict():
    net = Net()
    net.register_state_dict_post_hook(
        lambda module, state, prefix, _: state.update({name: state[name].clone() for name in list(state)})
    )
    return net


def frozen():
    net = Net()
    net.stem.requires_grad_(False)
    net.stem.eval()
    return net


def monkeypatched():
    """A forward that closes over the network's own method, and a hook that closes over a weight."""
    net = Net()
    forward, weight = net.forward, net.mid.bias
    net.forward = lambda x: forward(x)
    net.mid.register_forward_hook(lambda module, args, output: output + 0 * weight)
    return net


NETWORKS = {
    "writes its input": (WritesInput, Net),
    "writes buffers and attributes": (WritesBuffers, Net),
    "keeps products of weights": (KeepsProducts, KeepsNothing),
    "draws": (DrawsAndStops, Net),
    "replaces layers": (ReplacesLayers, Net),
    "merges on eval": (adapted(Merging), adapted(Adapted)),
    "merges into new memory": (adapted(MergesAnew), adapted(Adapted)),
    "tied": (tied, tied),
    "parametrized": (parametrized, parametrized),
    "spectral norm by hooks": (hooked_norm, hooked_norm),
    "compiled": (compiled, Net),
    "copies in its state dict": (copies_in_state_dict, Net),
    "frozen": (frozen, Net),
    "monkeypatched": (monkeypatched, Net),
}
"""The network, and one that has the same weights, computes the same and behaves well."""


def data():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(24, 6, generator=generator, dtype=torch.float32)
    return x, torch.arange(24) % 3


LOGITS = [seeded(Net, seed).eval()(data()[0]).detach() for seed in (0, 1)]
PREDICTIONS = {name: logits.argmax(1) for name, logits in zip("ab", LOGITS, strict=True)}


def curve(m, a, b, d):
    return interpolation.interpolate(m, a, b, d, alphas=GRID, batch_norm="interpolate")


def probed(data):
    """Arguments of a probe on the first inputs as features."""
    features = data[0].flatten(1)[:, :2]
    return {
        "train": (features, data[1]),
        "test": (features, data[1]),
        "held_out": torch.arange(len(features), device="cpu") % 4 == 0,
    }


FUNCTIONS = {
    "interpolate": curve,
    "path_losses": lambda m, a, b, d: (
        path.path_losses(m, a, b, d, alphas=GRID, batch_norm="re-estimate", calibration=d[0]).losses
    ),
    "paths": lambda m, a, b, d: path.paths(m, {"a": a, "b": b}, d, alphas=GRID)["a", "b"].losses,
    "barrier": lambda m, a, b, d: interpolation.barrier(curve(m, a, b, d)).loss,
    "barrier_interval": lambda m, a, b, d: (
        interpolation.barrier_interval(path.path_losses(m, a, b, d, alphas=GRID), draws=10).loss.high
    ),
    "barrier_intervals": lambda m, a, b, d: (
        interpolation.barrier_intervals(path.path_losses(m, a, b, d, alphas=GRID), draws=10)["mean"].loss.low
    ),
    "basin": lambda m, a, b, d: transferscope.basin(m, [a, b], d, delta=1.0, draws=2, points=2).noise_loss,
    "plane": lambda m, a, b, d: [point.loss for point in plane.plane(m, [a, b, m], d, size=2).grid],
    "averaged_logits": lambda m, a, b, d: averaging.averaged_logits(m, [a, b], d[0]),
    "module_criticality": lambda m, a, b, d: (
        transferscope.module_criticality(
            m, a, b, d, alphas=[0, 1], sigmas=[0.0, 0.1], draws=1, fold=True, modules=MODULES
        ).cells
    ),
    "rewind": lambda m, a, b, d: transferscope.rewind(m, a, b, d, draws=10),
    "rewind_to": lambda m, a, b, d: rewinding.rewind_to(
        RepeatedPasses(m, d, 16), {"model": m, "a": a}, b, cumulative=True, modules=MODULES
    ),
    "freezable": lambda m, a, b, d: freezing.freezable(
        RepeatedPasses(m, d), RepeatedPasses(m, d), a, b, draws=10, modules=MODULES
    ),
    "drop_intervals": lambda m, a, b, d: (
        rewinding.drop_intervals(
            *(lambda found: (found.at(0), [found.at(1)]))(path.path_losses(m, a, b, d, alphas=GRID)), draws=10
        )[0].high
    ),
    "cka": lambda m, a, b, d: transferscope.cka(
        {"m": m, "a": a}, d[0], batch_size=12, permutations=4, layers=["stem", "mid", "head"]
    ).drop("influence_place"),
    "linear_cka": lambda m, a, b, d: transferscope.linear_cka(*LOGITS),
    "modules": lambda m, a, b, d: transferscope.modules(m, d[0]),
    "l2_distance": lambda m, a, b, d: transferscope.l2_distance(a, b),
    "mean_distance": lambda m, a, b, d: distance.mean_distance([m, a, b]),
    "update_cosine": lambda m, a, b, d: distance.update_cosine(a, m, b, m),
    "conv_singular_values": lambda m, a, b, d: transferscope.conv_singular_values(
        d[0].reshape(4, 4, 3, 3), 5
    ),
    "mistakes": lambda m, a, b, d: transferscope.mistakes(PREDICTIONS, d[1], bootstrap=10),
    "error_consistency": lambda m, a, b, d: error_consistency.error_consistency(PREDICTIONS, d[1]),
    "ensemble_logits": lambda m, a, b, d: averaging.ensemble_logits(LOGITS, multi_label=False),
    "compared_with_mean": lambda m, a, b, d: (
        averaging.compared_with_mean(LOGITS, LOGITS, d[1], draws=10)[0].loss
    ),
    "soup": lambda m, a, b, d: soup.soup(m, {"a": a, "b": b}, d).held_out.losses,
    "h_score": lambda m, a, b, d: transferscope.h_score(d[0].flatten(1)[:, :2], d[1]),
    "log_maximum_evidence": lambda m, a, b, d: transferscope.log_maximum_evidence(
        d[0].flatten(1)[:, :2], d[1]
    ),
    "leep": lambda m, a, b, d: transferscope.leep(LOGITS[0].softmax(1), d[1]),
    "linear_probe": lambda m, a, b, d: transferscope.linear_probe(**probed(d)).logits,
    "knn_probe": lambda m, a, b, d: transferscope.knn_probe(**probed(d), neighbours=[1]).logits,
    "block_shuffle": lambda m, a, b, d: transferscope.block_shuffle(d[0].reshape(1, 4, 6, 6), 2, seed=0),
    "pixel_channel_shuffle": lambda m, a, b, d: transferscope.pixel_channel_shuffle(
        d[0].reshape(1, 4, 6, 6), seed=0
    ),
}
RUN_THE_NETWORK = (
    "interpolate",
    "paths",
    "basin",
    "plane",
    "averaged_logits",
    "soup",
    "module_criticality",
    "rewind_to",
    "freezable",
    "cka",
    "modules",
)
OF_STUDIES = {"compare", "compare_studies", "load_study", "open_run", "run"}


def test_every_public_function_is_here():
    guarded = {
        name
        for place, module in list(sys.modules.items())
        if place.startswith("transferscope.metrics.")
        for name, function in vars(module).items()
        if getattr(function, "is_guarded", False)
    }
    assert guarded | set(transferscope.__all__) == set(FUNCTIONS) | OF_STUDIES
    public = {name: getattr(transferscope, name) for name in set(FUNCTIONS) & set(transferscope.__all__)}
    assert {name for name in public if not hasattr(public[name], "is_guarded")} == set(NO_GUARD)


def numbers(result):
    """A result as one float64 tensor."""
    if isinstance(result, pl.DataFrame):
        result = result.select(selectors.numeric()).to_numpy()
    return torch.tensor(np.asarray(result, dtype=np.float64), device="cpu").flatten()


def assert_equal_results(found, expected):
    torch.testing.assert_close(
        numbers(found), numbers(expected), rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True, check_device=False
    )


def picture(*networks):
    """All that must be the same afterwards: objects by identity, contents by value."""
    found = []
    for net in networks:
        for module in net.modules():
            attributes = {
                name: list(map(id, value.values())) if isinstance(value, dict) else id(value)
                for name, value in vars(module).items()
            }
            found.append((id(module), module.training, attributes))
        for tensor in [*net.parameters(), *net.buffers()]:
            version = None if tensor.is_inference() else tensor._version
            place = (tensor.data_ptr(), version, tensor.requires_grad, id(tensor.grad))
            found.append((id(tensor), place, tensor.detach().cpu().numpy().tobytes()))
    return found


def global_state():
    generator = torch.get_rng_state().numpy().tobytes()
    rest = (random.getstate(), np.random.get_state()[1].tobytes())  # noqa: NPY002
    return generator, rest, torch.is_grad_enabled(), torch.is_inference_mode_enabled()


@cache
def result(function, make):
    """Of networks with the seeds 0 to 2, in a plain context."""
    return FUNCTIONS[function](*(seeded(make, seed) for seed in range(3)), data())


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("function", RUN_THE_NETWORK)
def test_networks_come_back_as_they_were_and_numbers_are_right(function, name):
    make, make_good = NETWORKS[name]
    nets = [seeded(make, seed) for seed in range(3)]
    expected = result(function, make_good)
    x, y = data()
    kept = x.clone()
    before, outside = picture(*nets), global_state()
    found = FUNCTIONS[function](*nets, (x, y))
    assert picture(*nets) == before
    assert global_state() == outside
    assert torch.equal(x, kept)
    assert torch.equal(y, data()[1])
    assert_equal_results(found, expected)


@pytest.mark.parametrize("stop", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("function", RUN_THE_NETWORK)
def test_a_pass_that_stops_in_the_middle(function, stop):
    nets = [seeded(DrawsAndStops, seed) for seed in range(3)]
    for net in nets:
        net.stop = stop
    x, y = data()
    before, outside = picture(*nets), global_state()
    with suppress(stop):
        FUNCTIONS[function](*nets, (x, y))
    assert picture(*nets) == before
    assert global_state() == outside
    assert torch.equal(x, data()[0])


@contextmanager
def defaults():
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(torch.float32)


CONTEXTS = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "cached parametrizations": parametrize.cached,
}
NO_GUARD = ("block_shuffle", "pixel_channel_shuffle")
"""Functions of tensors alone that run in the caller's context; all others enter the same one."""
SOME = ("interpolate", "rewind_to", "cka", "linear_cka", "modules", "l2_distance", *NO_GUARD)


@pytest.mark.parametrize(
    ("function", "context"),
    [
        *((function, "defaults") for function in FUNCTIONS),
        *((function, context) for function in SOME for context in CONTEXTS),
    ],
)
def test_the_context_of_the_caller_changes_nothing(function, context):
    make = parametrized if context.startswith("cached") else Net
    nets = [seeded(make, seed).eval() for seed in range(3)]
    expected = result(function, make)
    x, y = data()
    with {**CONTEXTS, "defaults": defaults}[context]():
        if context == "autocast":
            nets[0](x)  # fills the cache of casts
        before, outside = picture(*nets), global_state()
        found = FUNCTIONS[function](*nets, (x, y))
        assert picture(*nets) == before
        assert global_state() == outside
        if context == "autocast":
            assert torch.is_autocast_enabled("cpu")
            after = nets[0](x)
            torch.clear_autocast_cache()
            assert torch.equal(after, nets[0](x))
    assert_equal_results(found, expected)


@pytest.mark.parametrize("function", RUN_THE_NETWORK)
def test_networks_and_data_of_inference_mode(function):
    expected = result(function, Net)
    with torch.inference_mode():
        nets, (x, y) = [seeded(Net, seed) for seed in range(3)], data()
    before = picture(*nets)
    found = FUNCTIONS[function](*nets, (x, y))
    assert picture(*nets) == before
    assert_equal_results(found, expected)


@pytest.mark.parametrize("function", ["interpolate", "rewind", "cka"])
def test_threads_share_networks(function):
    m, a, b = (seeded(WritesBuffers, seed) for seed in range(3))
    orders = [(m, a, b), (b, a, m), (a, b, m)]
    expected = [FUNCTIONS[function](*nets, data()) for nets in orders]
    before = picture(m, a, b)
    found = {}

    def compute(place):
        found[place] = [FUNCTIONS[function](*orders[place], data()) for _ in range(3)]

    threads = [threading.Thread(target=compute, args=(place,)) for place in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert picture(m, a, b) == before
    for place, wanted in enumerate(expected):
        for each in found[place]:
            assert torch.equal(numbers(each).nan_to_num(), numbers(wanted).nan_to_num())


def test_a_gradient_under_way_stays_right():
    net, other, (x, y) = seeded(Net, 0), seeded(Net, 1), data()
    twin = copy.deepcopy(net)
    functional.cross_entropy(twin.eval()(x), y).backward()
    loss = functional.cross_entropy(net.eval()(x), y)
    transferscope.interpolate(net, net, other, (x, y), alphas=GRID)
    transferscope.cka({"a": net, "b": other}, x, permutations=0)
    loss.backward()
    assert all(torch.equal(p.grad, q.grad) for p, q in zip(net.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("tensors", [lambda net: net.state_dict(), lambda net: dict(net.named_parameters())])
def test_a_state_may_be_made_of_the_networks_own_tensors(tensors):
    """Two layers exchanged: the state must be read before the first write."""
    net = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    own = tensors(net)
    other = {"0": "1", "1": "0", "2": "2"}
    swapped = {name: own[other[name[0]] + name[1:]] for name in own}
    copied = {name: tensor.detach().clone() for name, tensor in swapped.items()}
    for function in (curve, FUNCTIONS["rewind"], FUNCTIONS["averaged_logits"]):
        found, expected = (function(net, copy.deepcopy(net), state, data()) for state in (swapped, copied))
        assert torch.equal(numbers(found).nan_to_num(), numbers(expected).nan_to_num())


def test_a_merged_network_and_a_state_dict_are_refused():
    """The state dict may hold merged weights or not: nothing tells."""
    net = seeded(adapted(Merging), 0)
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    net.eval()
    before = picture(net)
    with pytest.raises(BadInput, match=r"model\.train\(\)"):
        curve(net, state, state, data())
    assert picture(net) == before
    # networks are read in training mode, whatever mode they are in
    other = seeded(adapted(Merging), 1)
    in_training = curve(other, copy.deepcopy(net).train(), other, data())
    assert_equal_results(curve(other.eval(), net, other, data()), in_training)


def test_an_entry_that_writing_does_not_reach_is_refused():
    net = nn.Linear(6, 3)
    net.register_state_dict_post_hook(
        lambda module, state, prefix, _: state.update(weight=2 * state["weight"])
    )
    with pytest.raises(BadInput, match="copies"):
        curve(net, net, nn.Linear(6, 3), data())


def test_shared_memory_stays_shared():
    """A buffer that is a view of a weight follows it while a network is lent."""
    net = nn.Linear(4, 3)
    net.register_buffer("first", net.weight.detach()[0])
    with lent(net) as live:
        with live.writing():
            live["weight"].fill_(7.0)
        assert torch.equal(net.first, torch.full((4,), 7.0))
    assert not (net.first == 7.0).any()


def test_a_compiled_wrapper_has_the_layers_of_its_network():
    nets = {name: torch.compile(seeded(Net, seed), backend="eager").eval() for seed, name in enumerate("ab")}
    x = data()[0]
    for net in nets.values():
        net(x)
    found = transferscope.cka(nets, x, layers=["stem", "head"], permutations=0)
    assert found["status"].unique().to_list() == ["ok"]


def test_the_path_back_is_the_same_one():
    net, a, b = (seeded(Net, seed) for seed in range(3))
    there, back = (
        transferscope.interpolate(net, *ends, data(), alphas=[0, 0.25, 0.5, 0.75, 1])
        for ends in ((a, b), (b, a))
    )
    assert there["loss"].to_list() == pytest.approx(back["loss"].to_list()[::-1], rel=TOLERANCE)


@pytest.mark.parametrize(
    "call",
    [
        lambda net, x: transferscope.l2_distance(net, Net()),
        lambda net, x: transferscope.l2_distance(net.state_dict(), Net().state_dict()),
        lambda net, x: transferscope.cka({"a": Net(), "b": net}, x),
        lambda net, x: transferscope.modules(net, x),
    ],
)
def test_lazy_layers_without_weights_are_refused(call):
    net = Net()
    net.head = nn.LazyLinear(3)
    with pytest.raises(BadInput, match=r"lazy layers without weights: head\.weight"):
        call(net, data()[0])


class ReplacesEachTime(Net):
    def forward(self, x):
        mid = nn.Linear(8, 8)
        mid.load_state_dict(self.mid.state_dict())
        self.mid = mid
        return super().forward(x)


def test_passes_are_whole_where_each_one_replaces_a_layer():
    nets = [seeded(ReplacesEachTime, seed) for seed in range(3)]
    assert_equal_results(FUNCTIONS["module_criticality"](*nets, data()), result("module_criticality", Net))
