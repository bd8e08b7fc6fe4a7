"""Whether what is compared was computed on the same samples, in the same order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from transferscope.errors import BadInput


def sample_problems(ids: Mapping[str, Sequence[object]], n: int) -> list[str]:
    """What keeps results from being compared sample by sample, in words.

    Args:
        ids: name of a model, or of a set of features -> a name for each sample behind it.
        n: samples that there must be.
    """
    known = [(name, list(own)) for name, own in ids.items()]
    problems = [f"'{name}' has {len(own)} ids for {n} samples." for name, own in known if len(own) != n]
    for name, own in known:
        if len(set(own)) != len(own):
            twice = next(sample for place, sample in enumerate(own) if sample in own[:place])
            problems.append(f"'{name}' has the id {twice!r} twice; ids must tell the samples apart.")
    for name, own in known[1:]:
        first_name, first = known[0]
        if own == first or len(own) != len(first):
            continue
        place = next(i for i, (x, y) in enumerate(zip(first, own, strict=True)) if x != y)
        kind = (
            "the same samples in another order; sort them by id"
            if set(own) == set(first)
            else "other samples"
        )
        problems.append(
            f"'{name}' was run on {kind}: place {place} is {own[place]!r}, "
            f"but {first[place]!r} for '{first_name}'."
        )
    return problems


def check_tensors(predictions: Mapping[str, Tensor], labels: Tensor) -> None:
    """Raises BadInput unless predictions are tensors by name, and labels a tensor: lists and arrays are named."""
    if not isinstance(predictions, Mapping):
        raise BadInput(f"Expected predictions by the name of a model, got a {type(predictions).__name__}.")
    problems = [
        f"'{name}' is a {type(values).__name__}, not a tensor. Make one: torch.as_tensor(values)."
        for name, values in {"labels": labels, **predictions}.items()
        if not isinstance(values, Tensor)
    ]
    if problems:
        raise BadInput(problems)
