"""Detection of untrained weights.

A tensor outside the head is as new where

- all new networks have the same numbers there (biases 0, scales 1, BatchNorm's statistics 0 and 1) and it has
  exactly these, or
- new networks draw it, and its mean and its standard deviation lie within 5 standard errors of theirs, and it has
  no entry beyond the range that they are drawn from, where there is one.

A module is untrained where all its tensors are as new and some of them are constants, or where all statistics of
its BatchNorms are as new, whatever the rest: not one batch has gone through it in training. Weights of which no
module has constants (PyTorch's own linear layers draw their biases, too) are untrained where all tensors are as
new. Numbers that a new network has, but doesn't train, say nothing, and neither do modules whose weights are the same
in all new networks: their code loads them, and a network trained with a frozen body still has them.

What a new network is drawn with is looked at, not known: a few are drawn. A trained network with constants passes
for an untrained one only if all constants of a module came back to where they were: one step of training is seen.
Without constants a short training may not be: of 30 perceptrons of 2,000 weights that were trained on noise, 27
passed for new ones after 20 steps, 3 after 100, none after 300. A new network passes for a trained one with
probability below 1e-3 (5 standard errors, two tests, a few hundred tensors), unless it was drawn by other rules
than the architecture's own and has no BatchNorm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.models.modules.find import HEAD, Module, drawn_anew, is_under

RUNNING_STATISTICS = ("running_mean", "running_var")
STANDARD_ERRORS = 5
FRESH_DRAWS = 4
UNIFORM_RATIO = 1.8
"""Largest entry over the standard deviation below which a draw has a range: 1.73 for a uniform one."""
FEWEST_ENTRIES = 1000
"""Without constants, fewer drawn numbers than this say nothing."""


def untrained_modules(
    state: Mapping[str, Tensor], modules: Mapping[str, Module], fresh: Sequence[nn.Module]
) -> list[str]:
    """The modules that are still as a new network is drawn, without the head.

    Args:
        state: weights by the network's own names.
        modules: the network's modules.
        fresh: new networks of the same architecture, drawn with other seeds; two or more.

    Returns:
        Names of modules; empty for trained weights.
    """
    drawn = [model.state_dict() for model in fresh]
    trained = {name for name, parameter in fresh[0].named_parameters() if parameter.requires_grad}
    looked_at = [name for name in drawn[0] if name in trained or _is_statistic(name)]
    fixed = fixed_tensors(fresh)
    constant = {
        name for name in looked_at if all(torch.equal(drawn[0][name], other[name]) for other in drawn[1:])
    }
    as_new = {
        name
        for name in looked_at
        if (
            torch.equal(state[name], drawn[0][name])
            if name in constant
            else _is_drawn_alike(state[name], torch.stack([each[name] for each in drawn]))
        )
    }
    found, without_constants = [], []
    for module, about in modules.items():
        names = [name for name in looked_at if is_under(name, about.prefixes)]
        if module == HEAD or not names or _is_mostly(fixed, names, state):
            continue  # weights that the network's own code loads are no sign of a new network
        statistics = [name for name in names if _is_statistic(name)]
        if not constant.intersection(names):
            without_constants.append(module)
        elif as_new.issuperset(names) or (statistics and as_new.issuperset(statistics)):
            found.append(module)
    if not found and len(without_constants) == len(modules) - 1:
        names = [name for name in looked_at if not is_under(name, drawn_anew(modules))]
        enough = sum(state[name].numel() for name in names) >= FEWEST_ENTRIES
        return without_constants if enough and as_new.issuperset(names) else []
    return found


def _is_mostly(fixed: set[str], names: Sequence[str], state: Mapping[str, Tensor]) -> bool:
    """True if more than half of the entries of these tensors are in `fixed` ones."""
    entries = {name: state[name].numel() for name in names}
    return 2 * sum(entries[name] for name in names if name in fixed) > sum(entries.values())


def _is_statistic(name: str) -> bool:
    return name.rpartition(".")[2] in RUNNING_STATISTICS


def _is_drawn_alike(tensor: Tensor, draws: Tensor) -> bool:
    """True if mean, standard deviation and range are those of the draws (of the first axis), within chance."""
    given, pool = tensor.double().flatten(), draws.double().flatten()
    n = len(given)
    spread = pool.std(correction=0).item()
    if not math.isfinite(spread) or spread == 0 or n < 2:
        return bool(torch.isfinite(given).all())
    widened = STANDARD_ERRORS * math.sqrt(1 / n + 1 / len(pool))
    same_mean = abs(given.mean().item() - pool.mean().item()) <= widened * spread
    same_spread = abs(given.std(correction=0).item() / spread - 1) <= widened / math.sqrt(2) + 1 / n
    largest = (pool - pool.mean()).abs().max().item()
    beyond = (given - pool.mean()).abs().max().item() / largest - 1
    has_range = largest / spread < UNIFORM_RATIO
    return same_mean and same_spread and not (has_range and beyond > 0.02 + 10 / n)


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

    It is not where the network's code loads pre-trained weights, or sets the seed itself.

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
