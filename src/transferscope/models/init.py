"""Initializations: RI, P with a new head, and two controls that keep P's statistics but not its features.

The controls split the gain of P-T into a part due to the statistics of its weights and a part due to its features:

- layer_statistics: the entries of each weight tensor outside the head are drawn independently from a Gaussian with
  the mean and the variance (over n, not n - 1) of the pre-trained tensor, as "Mean Var" in Raghu, Zhang, Kleinberg,
  Bengio, "Transfusion", NeurIPS 2019;
- permuted_weights: the entries of each pre-trained tensor outside the head are permuted at random, which also keeps all
  moments and outliers.

Both keep tensors of a single number, such as Fixup's biases and scales, which have no variance and can't be
permuted. Buffers, such as the statistics of BatchNorm, describe the removed features, so they are those of RI, as is
the head.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from transferscope.core.errors import TaskFailed
from transferscope.core.options import NetworkOptions
from transferscope.models.build import build, modules_of
from transferscope.models.modules.find import drawn_anew, is_under


def random_init(
    options: NetworkOptions,
    num_classes: int,
    channels: int,
    seed: int,
    image_size_px: int | None = None,
    drawn_in: torch.dtype = torch.float32,
) -> nn.Module:
    """RI: a randomly initialized network, in float32; the state of the global generator is restored.

    Args:
        options, num_classes, channels, image_size_px: the network; see `transferscope.models.build.build`.
        seed: seed of the initialization.
        drawn_in: float64 to draw the weights in float64 and round them. PyTorch's random numbers in float32 depend on
            the processor in their last digits, those in float64 do not; they are other numbers for the same seed.
    """
    with torch.random.fork_rng(devices=[]), _default_dtype(drawn_in):
        torch.manual_seed(seed)
        made = build(options, num_classes, channels, image_size_px)
    return made if drawn_in == torch.float32 else made.float()


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def pretrained_init(
    options: NetworkOptions,
    num_classes: int,
    channels: int,
    seed: int,
    pretrained: Mapping[str, Tensor],
    image_size_px: int | None = None,
    drawn_in: torch.dtype = torch.float32,
) -> nn.Module:
    """P with a new head: RI of the same seed, with everything except the head replaced by the pre-trained state.

    The arguments are those of `control_init`.

    Raises:
        TaskFailed: a tensor outside the head is missing, unexpected, or of another shape.
    """
    model = random_init(options, num_classes, channels, seed, image_size_px, drawn_in)
    own = model.state_dict()
    head = _head_of(options, model, num_classes, channels, image_size_px)
    model.load_state_dict({**own, **_body_for(own, pretrained, head)})
    return model


def control_init(
    control: str,
    options: NetworkOptions,
    num_classes: int,
    channels: int,
    seed: int,
    pretrained: Mapping[str, Tensor],
    image_size_px: int | None = None,
    drawn_in: torch.dtype = torch.float32,
) -> nn.Module:
    """RI of the same seed whose weights outside the head have the statistics of P, but not its features.

    Args:
        control: "layer_statistics" or "permuted_weights".
        options, num_classes, channels, image_size_px: the network.
        seed: seed of RI and of the control; their random numbers are independent.
        pretrained: the state of P; its statistics are computed in float64.
        drawn_in: of RI; see `random_init`.

    Raises:
        TaskFailed: a tensor outside the head is missing, unexpected, or of another shape.
    """
    model = random_init(options, num_classes, channels, seed, image_size_px, drawn_in)
    head = _head_of(options, model, num_classes, channels, image_size_px)
    body = _body_for(model.state_dict(), pretrained, head)
    generator = torch.Generator().manual_seed(_seed_of(control, seed))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not is_under(name, head):
                parameter.copy_(CONTROLS[control](body[name], generator))
    return model


def _with_its_statistics(tensor: Tensor, generator: torch.Generator) -> Tensor:
    exact = tensor.double()
    drawn = torch.randn(exact.shape, generator=generator, dtype=torch.float64)
    return exact.mean() + exact.std(correction=0) * drawn


def _with_its_entries(tensor: Tensor, generator: torch.Generator) -> Tensor:
    order = torch.randperm(tensor.numel(), generator=generator)
    return tensor.flatten()[order].reshape(tensor.shape)


CONTROLS: Mapping[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "layer_statistics": _with_its_statistics,
    "permuted_weights": _with_its_entries,
}
"""Control -> how it transforms each pre-trained tensor."""


def _seed_of(control: str, seed: int) -> int:
    """A separate seed; with that of RI, the Gaussian numbers would be those of RI, shifted and scaled."""
    return int.from_bytes(hashlib.sha256(f"{control} {seed}".encode()).digest()[:4], "big")


def _head_of(
    options: NetworkOptions, model: nn.Module, num_classes: int, channels: int, image_size_px: int | None
) -> tuple[str, ...]:
    """Prefixes of the tensors that aren't transferred: those of the head, and those without an effect on the logits."""
    return drawn_anew(modules_of(options, model, num_classes, channels, image_size_px))


def _body_for(
    own: Mapping[str, Tensor], pretrained: Mapping[str, Tensor], head: Sequence[str]
) -> dict[str, Tensor]:
    """The pre-trained state without its head; raises TaskFailed unless it fits the network."""
    body = {name: tensor for name, tensor in pretrained.items() if not is_under(name, head)}
    wanted = {name for name in own if not is_under(name, head)}
    wrong = [f"missing: {name}" for name in sorted(wanted - body.keys())]
    wrong += [f"unexpected: {name}" for name in sorted(body.keys() - wanted)]
    wrong += [
        f"{name}: shape {tuple(body[name].shape)}, expected {tuple(own[name].shape)}"
        for name in sorted(wanted & body.keys())
        if body[name].shape != own[name].shape
    ]
    if wrong:
        raise TaskFailed("the pre-trained weights don't fit the network: " + "; ".join(wrong))
    return body
