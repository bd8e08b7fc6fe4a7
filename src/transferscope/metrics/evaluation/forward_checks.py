"""Checks of a network on a few inputs: does it return deterministic logits that depend on each input alone?

Otherwise losses, accuracies and barriers are meaningless: probabilities would get a second softmax, and random
outputs, or outputs that depend on the batch, differ in every pass.
"""

from __future__ import annotations

import logging
from contextlib import suppress

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.states import device_of
from transferscope.metrics.inputs.arguments import bad_call

logger = logging.getLogger(__name__)

TRIED_INPUTS = 8
SAME_PASS = 1e-4
"""Largest difference between two passes of the same inputs, relative to the largest output: what atomic additions of a
GPU may do to float32 is below 1e-5, and dropout of one part in a hundred changes more."""
SAME_BATCH = 0.02
"""Largest difference between an input's outputs in two batches. Layers that normalize by the batch change them by a
tenth and more; numbers quantized by the range of a batch, by a hundredth."""
NOTED_BATCH = 1e-3
"""From here on the difference is noted: rounding of float32 is below 1e-5."""
SUM_OF_PROBABILITIES = 2e-3
"""How far the probabilities of an input may be from 1 in sum, in half precision too."""
SAME_SUM = 1e-4
"""How far other sums may lie apart, relative to how far the outputs of one class do."""
NOTED_RANGE = 0.5
"""Range of outputs inside [0, 1] that is noted; those of a new network hardly vary."""
FEWEST_INPUTS = 3
"""Different outputs below which their sums say nothing."""
PASSES_ON = (
    "View",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Clone",
    "ToCopy",
    "Expand",
    "Slice",
    "Alias",
    "Cat",
    "Stack",
)
"""Operations that leave the numbers as they are, by the beginning of their names in the graph."""


def check_forward(model: nn.Module, inputs: Tensor) -> None:
    """Raises BadInput unless a network returns deterministic logits for each input alone.

    Four passes over at most 8 of the inputs. Nothing of it is random, and no gradient is kept.

    Args:
        model: in evaluation mode.
        inputs: (n, ...), as the network takes them.

    Raises:
        BadInput: probabilities instead of logits (log-probabilities are taken: softmax leaves them as they are); two
            passes over the same inputs differ; the outputs of an input depend on the others in its batch; the
            inputs have another floating-point type than the weights.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Softmax(1)).eval()
    >>> check_forward(net, torch.ones(4, 2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    transferscope.core.errors.BadInput: The network gives probabilities: ...
    """
    some = inputs[:TRIED_INPUTS].to(device_of(model))
    with torch.no_grad():
        first = _first_pass(model, some)
    if not (isinstance(first, Tensor) and first.ndim == 2 and len(first) == len(some)):
        return  # refused where logits are needed, by what is to be done with them
    if not first.is_floating_point() or not first.isfinite().all():
        return
    _check_logits(model, some, first)
    with torch.no_grad():
        second = model(some.clone())
        check_repeated(first, second)
        _check_alone(model, some, first)


def _first_pass(model: nn.Module, inputs: Tensor) -> Tensor:
    try:
        return model(inputs.clone())
    except RuntimeError as error:
        mistake = bad_call(model, inputs, error)
        if mistake is None:
            raise
        raise mistake from error


def _check_logits(model: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    low, high = float(outputs.amin()), float(outputs.amax())
    if low < 0 < high:
        return
    last = _last_operation(model, inputs) if high <= 1 else ""
    # a mean of softmaxes doesn't end in one; few inputs may have logits that add up to 1 by chance
    if (last.startswith("Softmax") and high <= 1) or (low >= 0 and _has_one_sum(outputs)):
        raise BadInput(
            "The network gives probabilities: its outputs are at least 0 and add up to the same number for each input. "
            "Expected logits, as cross entropy takes them: losses would be those of softmax(softmax). Leave out the "
            "softmax at the end, or wrap the network and give log(p) instead: p.clamp_min(1e-12).log()."
        )
    if last.startswith(("Sigmoid", "Hardsigmoid", "LogSigmoid")):
        raise BadInput(
            f"The network gives {'log-' * last.startswith('Log')}probabilities: it ends in a sigmoid. Expected logits, "
            "as binary cross entropy with logits takes them: losses would be those of sigmoid(sigmoid). Leave out the "
            "sigmoid at the end, or wrap the network and give torch.logit(p, eps=1e-7) instead."
        )
    if low >= 0 and high <= 1 and high - low > NOTED_RANGE:
        logger.warning(
            "all outputs that were looked at lie in [0, 1] (%.2g to %.2g). If they are probabilities, losses are "
            "wrong: give logits, as torch.logit(p, eps=1e-7) for sigmoids",
            low,
            high,
        )


def _has_one_sum(outputs: Tensor) -> bool:
    """True for different outputs that add up to 1, or to another number that hardly varies (percentages)."""
    wide = outputs.double()
    sums = wide.sum(1)
    varying = float((wide.amax(0) - wide.amin(0)).amax())
    same = float(sums.amax() - sums.amin()) <= SAME_SUM * varying
    is_one = bool(((sums - 1).abs() <= SUM_OF_PROBABILITIES).all()) and float(wide.amax()) <= 1
    return (is_one or (same and wide.shape[1] > 1)) and len(outputs.unique(dim=0)) >= FEWEST_INPUTS


def _last_operation(model: nn.Module, inputs: Tensor) -> str:
    """The operation that made the outputs, by its name in the graph of gradients; empty where there is no graph."""
    with suppress(RuntimeError), torch.inference_mode(False), torch.enable_grad():
        # a copy of a leaf, so that a network may write into it
        leaf = inputs.detach().clone()
        shown = leaf.requires_grad_().clone() if leaf.is_floating_point() else leaf
        node = model(shown).grad_fn
        while node is not None and node.name().startswith(PASSES_ON):
            node = node.next_functions[0][0]
        return "" if node is None else node.name()
    return ""


def check_repeated(first: Tensor, second: Tensor, where: str = "") -> None:
    """Raises BadInput if two passes over the same inputs differ; `where` names what gave these outputs."""
    difference = relative_difference(first, second)
    if difference > SAME_PASS:
        raise BadInput(
            f"The network is random in evaluation mode: two passes over the same inputs differ by {difference:.2g} of "
            f"the largest output{where}. Expected the same outputs each time, as every pass would be another network. "
            "Make dropout follow the mode (F.dropout(x, p, training=self.training)), or wrap the network and give the "
            "mean over a fixed set of draws."
        )


def check_same_in_batches(difference: float, where: str = "") -> None:
    """Raises BadInput if the outputs of an input are not the same in two batches.

    Args:
        difference: the largest one, relative to the largest output.
        where: names what gave these outputs.
    """
    if difference > SAME_BATCH:
        raise BadInput(
            "The outputs of an input depend on the other inputs in its batch: with others they differ by "
            f"{difference:.2g} of the largest output{where}. Expected outputs of each input alone. Let normalization "
            "use running statistics in evaluation mode (BatchNorm with track_running_stats=True, and nothing that "
            "keeps it in training mode), and attention the axis of an image's own tokens (batch_first=True)."
        )
    if difference > NOTED_BATCH:
        logger.warning(
            "the outputs of an input depend a little on the other inputs in its batch: they differ by %.2g of the "
            "largest output%s",
            difference,
            where,
        )


def _check_alone(model: nn.Module, inputs: Tensor, outputs: Tensor) -> None:
    """Each half of the inputs again, in a batch of the same size with the other half's place taken by itself."""
    half = len(inputs) // 2
    if not half:
        return
    differences = []
    for rows in (slice(0, half), slice(half, 2 * half)):
        others = inputs[rows].flip(0).repeat(2, *[1] * (inputs.ndim - 1))[: len(inputs) - half]
        again = model(torch.cat([inputs[rows], others]))[:half]
        differences.append(relative_difference(outputs[rows], again))
    check_same_in_batches(max(differences))


def relative_difference(a: Tensor, b: Tensor) -> float:
    """Largest difference between two tensors, relative to the largest number in them."""
    a, b = a.double(), b.double()
    scale = max(float(a.abs().amax()), float(b.abs().amax()))
    return float((a - b).abs().amax()) / scale if scale else 0.0
