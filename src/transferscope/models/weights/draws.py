"""What new networks of an architecture have in common: constants of its initialization, or weights that were loaded.

A factory that loads pre-trained weights, or that sets the seed itself, gives the same weights with every seed. What
should be a random start is none then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.models.modules.find import HEAD, Module, is_under

PLAIN_VALUES = 2
"""Different numbers in a tensor that an initialization sets: 0 and 1 in an identity, a constant in a scale."""
LARGEST_SHARE = 0.5
"""Share of the body's entries that may be fixed by a network's own code, as position embeddings of sines are."""
SHOWN = 5


def fixed_tensors(draws: Sequence[nn.Module]) -> set[str]:
    """Names of the tensors that hold the same numbers in all draws and more than a constant or two.

    Args:
        draws: new networks of one architecture, drawn with different seeds; two or more.
    """
    states = [model.state_dict() for model in draws]
    return {
        name
        for name, tensor in states[0].items()
        if all(torch.equal(tensor, other[name]) for other in states[1:]) and not _is_plain(tensor)
    }


def check_random(draws: Sequence[nn.Module], modules: Mapping[str, Module]) -> None:
    """Raises BadInput unless the body of a network is random where its layers draw weights.

    The same in all draws may be: constants and identities, buffers, weights of the network's own kinds of modules (as
    position embeddings of sines) and weights that are not trained, as long as they are at most half of the body.

    Args:
        draws: new networks of one architecture, drawn with different seeds; two or more.
        modules: the network's modules.

    Raises:
        BadInput: layers of PyTorch, or more than half of the body, are the same whatever the seed.
    """
    head = modules[HEAD].prefixes
    fixed = fixed_tensors(draws)
    parameters = dict(draws[0].named_parameters())
    body = {name: tensor for name, tensor in parameters.items() if not is_under(name, head)}
    same = [name for name in body if name in fixed]
    layers = [name for name in same if body[name].requires_grad and _is_drawn_by_torch(draws[0], name)]
    share = sum(body[name].numel() for name in same) / max(1, sum(tensor.numel() for tensor in body.values()))
    named = layers or same
    if not layers and share <= LARGEST_SHARE:
        return
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    text = (
        "The network's random initialization is not random: with every seed, the same numbers stand in "
        f"{', '.join(named[:SHOWN])}{more} ({share:.0%} of the weights outside the head). Expected new numbers for "
        "each seed: training from scratch would start from these. "
    )
    if any(name in fixed for name in parameters if is_under(name, head)):
        raise BadInput(
            text
            + "The head is the same, too: let the network's code set no seed and make no generator of its own."
        )
    raise BadInput(
        text
        + "Let the network's code load no weights (pretrained=False, weights=None), and give the file as "
        "source.weights instead. Weights that are meant to be fixed can be buffers, or not trained "
        "(requires_grad=False)."
    )


def _is_plain(tensor: Tensor) -> bool:
    return tensor.numel() <= PLAIN_VALUES or len(tensor.unique()) <= PLAIN_VALUES


def _is_drawn_by_torch(model: nn.Module, name: str) -> bool:
    """Whether a layer of PyTorch holds the tensor, as all of these with more than a vector draw their weights."""
    owner = model.get_submodule(name.rpartition(".")[0])
    return type(owner).__module__.startswith("torch.nn.") and model.get_parameter(name).ndim > 1
