"""Networks that were trained elsewhere: the given tensors, head included, under the network's own names."""

from __future__ import annotations

from torch import Tensor, nn

from transferscope.core.config import Weights
from transferscope.core.datasets import Description
from transferscope.core.errors import BadInput
from transferscope.core.options import NetworkOptions
from transferscope.core.runs import GivenRun
from transferscope.models.build import modules_of
from transferscope.models.init import random_init
from transferscope.models.modules.find import HEAD, drawn_anew, is_under
from transferscope.models.weights.files import read_state_dict
from transferscope.models.weights.given import match_state
from transferscope.models.weights.hub import published_file
from transferscope.models.weights.untrained import FRESH_DRAWS, untrained_modules


def given_states(run: GivenRun, about: Description) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
    """The states of an instance and of what it was started from, where that is known.

    Args:
        run: the instance.
        about: the data that it is for.

    Raises:
        BadInput: as `instance_state` and `init_state`.
    """
    shape = (about.num_classes, about.channels, about.image_size_px)
    final = instance_state(run.network, run.weights, *shape, run.name)
    return final, None if run.init_weights is None else init_state(run.network, run.init_weights, *shape)


def instance_state(
    options: NetworkOptions, weights: Weights, num_classes: int, channels: int, image_size_px: int, name: str
) -> dict[str, Tensor]:
    """The whole state of a trained network.

    Args:
        options: the network.
        weights: where the weights are.
        num_classes: classes of the data; the head must have as many outputs.
        channels, image_size_px: of the images.
        name: how messages call the instance.

    Raises:
        BadInput: the file can't be had or read; tensors are missing, unexpected, of another shape or not finite (all
            are named); the network is untrained.
    """
    setting = f"instances.{name}.weights"
    file = weights.path or published_file(options, weights, setting)
    given = read_state_dict(file, weights.entry, setting)
    fresh = [random_init(options, num_classes, channels, seed, image_size_px) for seed in range(FRESH_DRAWS)]
    where = f"{file} ({name}, of {num_classes} classes)"
    modules = modules_of(options, fresh[0], num_classes, channels, image_size_px)
    unused = modules[HEAD].without_effect
    state = match_state(given, fresh[0], (), weights.key_map, where, setting, unused)
    untrained = untrained_modules(state, modules, fresh)
    if untrained and not weights.allow_untrained:
        raise BadInput(
            f"{name}: the weights in {file} look untrained in {', '.join(untrained)}: as a new network is drawn. Was "
            f"the right file given? If it is meant to be so, set {setting}.allow_untrained: true."
        )
    return state


def init_state(
    options: NetworkOptions, weights: Weights, num_classes: int, channels: int, image_size_px: int
) -> dict[str, Tensor]:
    """What instances were started from: its head is its own where that fits the classes, else a random draw.

    Args:
        options: the network.
        weights: where the weights are.
        num_classes, channels, image_size_px: of the data.

    Raises:
        BadInput: as `instance_state`, outside the head.
    """
    file = weights.path or published_file(options, weights)
    given = read_state_dict(file, weights.entry)
    model = random_init(options, num_classes, channels, 0, image_size_px)
    head = drawn_anew(modules_of(options, model, num_classes, channels, image_size_px))
    body = match_state(given, model, head, weights.key_map, str(file))
    return {**body, **_own_head(given, model, head, weights, str(file))}


def _own_head(
    given: dict[str, Tensor], model: nn.Module, head: tuple[str, ...], weights: Weights, where: str
) -> dict[str, Tensor]:
    try:
        state = match_state(given, model, (), weights.key_map, where)
    except BadInput:  # of other classes, or none
        return {}
    return {name: tensor for name, tensor in state.items() if is_under(name, head)}
