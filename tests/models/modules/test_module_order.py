"""What a network is, found by running it: the head, the order of the modules, and layers without an effect."""

from __future__ import annotations

from typing import Any

import networks
import pytest
import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.passes import trace
from transferscope.models.build import build, example_images, modules_of, network_from_text
from transferscope.models.modules.find import HEAD, drawn_anew, find_modules
from transferscope.models.modules.table import modules as modules_table

CLASSES = 4
IMAGES = example_images(3, 16)


def layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class DeepSupervision(nn.Module):
    """Auxiliary classifiers defined after the main one: in training, in evaluation without a use, as a dictionary."""

    def __init__(self, kind: str = "training") -> None:
        super().__init__()
        self.kind = kind
        self.stem, self.b1, self.b2 = layer(3, 8), layer(8, 8), layer(8, 12)
        self.fc = nn.Linear(12, CLASSES)
        self.aux = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, CLASSES))

    def forward(self, x: Tensor) -> Any:
        h = self.b1(self.stem(x))
        y = self.fc(self.b2(h).mean((2, 3)))
        if self.training or self.kind != "training":
            aux = self.aux(h.mean((2, 3)))
            if self.training or self.kind == "pair":
                return y, aux
            if self.kind == "mapping":
                return {"out": y, "aux": aux}
        return y


@pytest.mark.parametrize("kind", ["training", "dropped", "pair", "mapping"])
def test_an_auxiliary_classifier_is_neither_the_head_nor_a_module(kind: str) -> None:
    modules = find_modules(DeepSupervision(kind), num_classes=CLASSES, example=IMAGES)
    assert list(modules) == ["stem", "b1", "b2", "head"]
    assert modules[HEAD].prefixes == ("fc",)
    assert modules[HEAD].without_effect == ("aux",)
    assert drawn_anew(modules) == ("fc", "aux")


class Backwards(nn.Module):
    """Defined from the head to the first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(12, CLASSES)
        self.late, self.middle, self.early = layer(8, 12), layer(8, 8), layer(3, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.late(self.middle(self.early(x))).mean((2, 3)))


def test_modules_come_in_the_order_of_the_pass() -> None:
    modules = find_modules(Backwards(), num_classes=CLASSES, example=IMAGES)
    assert {name: module.prefixes for name, module in modules.items()} == {
        "stem": ("early",),
        "middle": ("middle",),
        "late": ("late",),
        "head": ("fc",),
    }


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x).relu())


class Stage(nn.Module):
    """Blocks that are defined before the down-sampling that comes first."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(outputs), Block(outputs))
        self.downsample = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(self.downsample(x))


class Staged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.stages = nn.Sequential(Stage(4, 4), Stage(4, 4))
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stages(self.first(x)).mean((2, 3)))


def test_a_down_sampling_belongs_to_the_block_that_it_feeds() -> None:
    modules = find_modules(Staged(), num_classes=CLASSES, example=IMAGES)
    blocks = [f"stages.{i}.blocks.{j}" for i in (0, 1) for j in (0, 1)]
    assert list(modules) == ["stem", *blocks, "head"]
    assert modules["stem"].prefixes == ("first", "stages.0.downsample")
    assert modules[blocks[2]].prefixes == ("stages.1.downsample", blocks[2])


class Around(nn.Module):
    """A stack of blocks and a shortcut around it, which is defined before the stack and called after it."""

    def __init__(self) -> None:
        super().__init__()
        self.shortcut, self.stack = nn.Conv2d(5, 5, 1), nn.Sequential(Block(5), Block(5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.stack(x)
        return y + self.shortcut(x)


class Shortcuts(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.stages = nn.Conv2d(3, 5, 3), nn.Sequential(Around(), Around())
        self.fc = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stages(self.first(x)).mean((2, 3)))


def test_a_shortcut_stays_with_the_stack_that_it_goes_around() -> None:
    model = Shortcuts()
    seen = find_modules(model, num_classes=CLASSES, example=IMAGES)
    assert seen["stages.1.stack.0"].prefixes == ("stages.1.shortcut", "stages.1.stack.0")
    assert list(seen.items()) == list(find_modules(model, num_classes=CLASSES).items())


class TwoHeads(nn.Module):
    """The logits are the mean of two classifiers, as in a distilled transformer; others have other endings."""

    def __init__(self, ending: str) -> None:
        super().__init__()
        self.ending = ending
        self.second = nn.Linear(8, CLASSES)
        self.body = layer(3, 8)
        self.first, self.gate = nn.Linear(8, CLASSES), nn.Linear(8, 1)
        self.matrix = nn.Parameter(torch.randn(8, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x).mean((2, 3))
        if self.ending == "mean":
            return (self.first(h) + self.second(h)) / 2
        if self.ending == "gated":
            return (self.first(h) * self.gate(h).sigmoid()).softmax(1).log()
        if self.ending == "matrix":
            return h @ self.matrix
        return self.first(h.detach()).clone()


@pytest.mark.parametrize(
    ("ending", "head", "others"),
    [
        ("mean", {"first", "second"}, {"gate"}),
        ("gated", {"first"}, {"second"}),
        ("matrix", {"matrix"}, {"first", "second", "gate"}),
        ("detached", {"first"}, {"second", "gate"}),
    ],
)
def test_the_head_is_what_gives_the_logits(ending: str, head: set[str], others: set[str]) -> None:
    model = TwoHeads(ending)
    model.body.requires_grad_(False)
    modules = find_modules(model, num_classes=CLASSES, example=IMAGES)
    assert set(modules[HEAD].prefixes) == head
    assert set(modules[HEAD].without_effect) == others
    assert "body" in modules["stem"].prefixes


class NoGradients(nn.Module):
    """A frozen body under no_grad, whose second layer is used without being called."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(6, CLASSES)
        self.mixed = nn.Linear(4, 6)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            h = nn.functional.linear(self.conv(x).mean((2, 3)), self.mixed.weight, self.mixed.bias)
        return self.fc(h)


def test_what_is_used_without_gradients_has_an_effect() -> None:
    modules = find_modules(NoGradients(), num_classes=CLASSES, example=IMAGES)
    assert modules[HEAD].without_effect == ()
    assert [module.prefixes for module in modules.values()] == [("conv",), ("mixed",), ("fc",)]


class Stateful(nn.Module):
    """Counts its passes in a buffer, keeps its last features, and draws numbers."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3)), nn.Linear(4, CLASSES)
        self.aux = nn.Linear(4, CLASSES)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("count", torch.zeros(()))
        self.features: Any = None

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.features = self.norm(self.conv(x))
        x *= torch.rand(())
        return self.fc(self.features.mean((2, 3)))


def test_a_network_is_left_as_it_was() -> None:
    model = Stateful().train()
    model.norm.eval()
    model.fc.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images, state = IMAGES.clone(), torch.get_rng_state()
    assert find_modules(model, num_classes=CLASSES, example=images)[HEAD].without_effect == ("aux",)
    assert torch.equal(images, IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.norm.training
    assert not model.fc.weight.requires_grad
    assert model.conv.bias is not None
    assert model.conv.bias.requires_grad
    assert model.features is None
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_names_of_the_networks_own_are_kept() -> None:
    model: Any = Backwards()
    model.MODULES = {"top": ("late",), "bottom": ("early", "middle")}
    assert list(find_modules(model, num_classes=CLASSES, example=IMAGES)) == ["top", "bottom", "head"]
    auxiliary: Any = DeepSupervision()
    auxiliary.MODULES = {"body": ("stem", "b1", "b2")}
    modules = find_modules(auxiliary, num_classes=CLASSES, example=IMAGES)
    assert (list(modules), modules[HEAD].without_effect) == (["body", "head"], ("aux",))


def test_a_network_that_cannot_be_run_is_refused() -> None:
    with pytest.raises(
        BadInput, match=r"Backwards could not be run on inputs of shape \(2, 5, 8, 8\): RuntimeError"
    ):
        find_modules(Backwards(), num_classes=CLASSES, example=example_images(5, 8))
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(CLASSES))
    with pytest.raises(
        BadInput, match=r"lazy layers without weights: 1.weight, 1.bias. Run the network on a batch first"
    ):
        find_modules(lazy, example=IMAGES)


def test_lazy_layers_take_their_shapes_from_the_images() -> None:
    options = network_from_text("networks:lazy")
    model = build(options, CLASSES, 3, 16)
    assert model.training
    assert {name: tuple(p.shape) for name, p in model.named_parameters()}["4.weight"] == (CLASSES, 8)
    assert list(modules_of(options, model, CLASSES, 3, 16)) == ["stem", "head"]
    with pytest.raises(BadInput, match="the size of the images is needed"):
        build(options, CLASSES, 3, None)


@networks.needs_timm
@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit", "torchvision:squeezenet1_1"])
def test_networks_that_are_defined_in_the_order_of_their_pass_have_the_modules_of_before(name: str) -> None:
    with torch.device("meta"):
        model = build(network_from_text(name), CLASSES, 3, 160)
    defined = find_modules(model, num_classes=CLASSES)
    seen = find_modules(model, num_classes=CLASSES, example=example_images(3, 160).to("meta"))
    assert list(seen.items()) == list(defined.items())


def test_calls_are_counted() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1)
    seen = trace(nn.Sequential(conv, nn.ReLU(), conv, nn.Flatten(), nn.Linear(3 * 256, 2)), IMAGES)
    assert seen.calls == {"0": 2, "1": 1, "3": 1, "4": 1}
    assert seen.last_layers == ("4",)


class HardMixture(nn.Module):
    """Each sample goes through the expert that the gate chooses: no gradient reaches the gate."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(2, 2)
        self.gate = nn.Linear(2, 2, bias=False)
        self.experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
        self.head = nn.Linear(2, 3)
        for layer in (self.stem, self.gate):
            nn.init.eye_(layer.weight)

    def forward(self, x):
        x = self.stem(x)
        chosen = self.gate(x).argmax(1, keepdim=True)
        mixed = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).flatten()
            if rows.any():
                mixed = mixed.index_put((rows,), expert(x[rows]))
        return self.head(mixed)


def test_a_gate_and_layers_that_the_example_does_not_reach_have_an_effect():
    x = torch.tensor([[2.0, 1.0], [3.0, 1.0]])  # both go through the first expert
    found = find_modules(HardMixture(), num_classes=3, choice="blocks", example=x)
    assert {"gate", "experts.0", "experts.1"} <= set(found)
    assert not found[HEAD].without_effect


class Routed(nn.Module):
    """Samples that begin with a 7 go through the second expert: no random input does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 4)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2))
        self.heads = nn.ModuleList(nn.Linear(4, CLASSES) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        chosen = x[:, 0] == 7
        h = self.stem(x)
        for rows, expert in zip((~chosen, chosen), self.experts, strict=True):
            if rows.any():
                h = h.index_put((rows,), expert(h[rows]))
        return self.heads[2](h)


def test_an_expert_that_no_input_reaches_is_a_module_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """It would be drawn anew otherwise, and missing in distances. Unused heads beside the one that gives the logits are
    no experts."""
    model, example = Routed(), torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    found = find_modules(model, num_classes=CLASSES, example=example)
    assert list(found) == ["stem", "experts.0", "experts.1", HEAD]
    assert found[HEAD].without_effect == ("heads.0", "heads.1")
    assert (
        "not called by Routed for the inputs that were tried: experts.1. Other inputs may reach them"
        in caplog.text
    )
    assert (
        "not called by Routed in evaluation mode: heads.0, heads.1. They belong to no module" in caplog.text
    )
    rows = {row["module"]: row for row in modules_table(model, example).iter_rows(named=True)}
    assert rows["experts.1"]["calls"] == 0
    assert rows["experts.1"]["num_parameters"] == 40
    assert rows["experts.1"]["note"].startswith("not called for the first samples of the example")


def test_all_samples_of_an_example_may_reach_an_expert(caplog: pytest.LogCaptureFixture) -> None:
    example = torch.cat([torch.zeros(20, 4), torch.full((1, 4), 7.0)])
    modules_table(Routed(), example)
    assert "experts" not in caplog.text
