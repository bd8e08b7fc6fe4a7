"""A network run again and again on the same examples while few of its tensors change."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from transferscope.metrics.evaluation import Data, Evaluation, check_data, evaluated_batch, joined
from transferscope.metrics.halving import halved
from transferscope.metrics.states import device_of

TRIED_EXAMPLES = 32
"""Examples on which it is tried whether a pass can be shortened."""
HELD_BYTES = 2**30
"""Most memory for held activations; batches beyond it go through the whole network each time."""


class RepeatedPasses:
    """Evaluates a network on the same examples, and computes only what can have changed.

    Tell it by `stand_before` which tensors are going to change. It then holds, for every batch, the output of
    the last child before them, and in the passes that follow the network's own forward runs with the children
    up to there replaced: that last one gives what is held, those before it give NaN, since nobody should look
    at them any more. A chain is so computed from the changed child on, and steps between the children, such
    as a flatten, happen as ever.

    Results are those of whole passes to the bit. Whole passes are made wherever that isn't certain:

    - A child that is called twice, or whose output isn't one tensor of floats, ends the part that is held.
    - For each set of tensors it is tried once, on the first examples, that what would be held doesn't change
      when they are NaN, and that the shortened forward gives the logits of the whole one. A skip connection
      across the held output, weights used outside their child, or dropout show here.
    - What is held is forgotten when a tensor that it depends on is written to (but writes through `.data`
      escape PyTorch's count of versions).

    Use it inside `borrowed`, in evaluation mode and without gradients. Where the forward of a module within a child
    is replaced, as by `Folding`, that holds from before `stand_before` to the last pass.
    """

    def __init__(self, model: nn.Module, data: Data, batch_size: int = 256) -> None:
        """
        Args:
            model: the network; its children are those of the first level that has several.
            data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
            batch_size: examples in one forward pass.

        Raises:
            BadInput: data that don't go together.
        """
        check_data(data, batch_size)
        self.model = model
        self.data = data
        self._batch_size = batch_size
        self._children = first_level(model)
        self._calls: list[nn.Module] | None = None  # in order, as far as they can be held
        self._runner = _Shortened(model)
        self._versions: list[tuple[Tensor, int]] = []  # of all that the held activations depend on
        self._tried: dict[frozenset[int], bool] = {}

    @property
    def num_skipped(self) -> int:
        """Children that the next pass leaves out; 0 for whole passes."""
        return len(self._runner.skipped) if self._is_fresh() else 0

    def evaluate(self) -> Evaluation:
        """One pass over all examples with the present weights; results on the CPU.

        Where a batch doesn't fit the memory of a GPU, what is held is forgotten and all batches are halved.
        """
        while True:
            if not self._is_fresh():
                self._forget()
            self._runner.batch = 0
            starts = range(0, len(self.data[0]), self._batch_size)
            try:
                batches = [
                    evaluated_batch(self._runner, self.data, slice(start, start + self._batch_size))
                    for start in starts
                ]
            except torch.OutOfMemoryError as error:
                # here and not batch by batch: what is held belongs to batches of one size
                self._forget()
                self._batch_size = halved(min(self._batch_size, len(self.data[0])), error)
                continue
            return joined(batches, self.data[1])

    def stand_before(self, tensors: Sequence[Tensor]) -> None:
        """Hold what doesn't depend on these tensors; from here on, only they change.

        Args:
            tensors: parameters and buffers of the network, as `borrowed` lends them.
        """
        if self._calls is None:
            self._calls = self._record()
        skipped = self._calls[: self._place(tensors)]
        key = frozenset(_storage(tensor) for tensor in tensors)
        if skipped and key not in self._tried:
            self._tried[key] = self._is_exact(skipped, tensors)
        if not skipped or not self._tried[key]:
            self._forget()
            return
        if not self._is_fresh() or len(skipped) < len(self._runner.skipped):
            self._forget()
        if len(skipped) > len(self._runner.skipped):
            self._hold(skipped)

    def _record(self) -> list[nn.Module]:
        """The children in the order of their calls, up to the first one that can't be held."""
        if any(own.is_inference() for own in _own_tensors(self.model)):
            return []  # they count no versions
        calls: list[tuple[nn.Module, bool]] = []

        def note(child: nn.Module, _: object, output: object) -> None:
            calls.append((child, isinstance(output, Tensor) and output.is_floating_point()))

        with _hooks(self._children, note):
            self.model(self._some())
        found: list[nn.Module] = []
        for child, is_floats in calls:
            if not is_floats or sum(other is child for other, _ in calls) > 1:
                break
            found.append(child)
        return found

    def _place(self, tensors: Sequence[Tensor]) -> int:
        """How many calls come before the first one of a child that holds one of the tensors."""
        wanted = {_storage(tensor) for tensor in tensors}
        calls = self._calls or []
        for place, child in enumerate(calls):
            if wanted & {_storage(own) for own in _own_tensors(child)}:
                return place
        return len(calls)  # in a child that is called later; if not, it fails the trial

    def _hold(self, skipped: list[nn.Module]) -> None:
        """Runs the network up to the last of `skipped`, from where it is held already."""
        held: list[list[Tensor]] = []
        num_bytes = 0
        inputs, size, device = self.data[0], self._batch_size, device_of(self.model)
        self._runner.batch = 0
        for start in range(0, len(inputs), size):
            outputs = _outputs(self._runner, skipped, inputs[start : start + size].to(device))
            num_bytes += outputs[-1].numel() * outputs[-1].element_size() if outputs else 0
            if not outputs or num_bytes > HELD_BYTES:
                break
            held.append(outputs)
        if not held:
            self._forget()
            return
        self._runner.skipped, self._runner.held = skipped, held
        before = {_storage(own) for child in skipped for own in _own_tensors(child)}
        behind = {_storage(own) for child in self._children for own in _own_tensors(child)} - before
        self._versions = [
            (own, own._version) for own in _own_tensors(self.model) if _storage(own) not in behind
        ]

    def _is_exact(self, skipped: list[nn.Module], tensors: Sequence[Tensor]) -> bool:
        """Whether, on some examples, a shortened pass gives what a whole one does, whatever the tensors are."""
        some = self._some()
        whole = self.model(some)
        shortened = _Shortened(self.model)
        shortened.skipped, shortened.held = skipped, [_outputs(self.model, skipped, some)]
        saved = [tensor.clone() for tensor in tensors]
        try:
            same = torch.equal(whole, shortened(some))
            for tensor in tensors:
                if tensor.is_floating_point() or tensor.is_complex():
                    tensor.fill_(math.nan)
            return same and torch.equal(shortened.held[0][-1], _outputs(self.model, skipped, some)[-1])
        except Exception:  # whatever the stand-ins break, whole passes are right
            return False
        finally:
            for tensor, value in zip(tensors, saved, strict=True):
                tensor.copy_(value)

    def _some(self) -> Tensor:
        return self.data[0][: min(TRIED_EXAMPLES, self._batch_size)].to(device_of(self.model))

    def _is_fresh(self) -> bool:
        return all(own._version == version for own, version in self._versions)

    def _forget(self) -> None:
        self._runner.skipped, self._runner.held, self._versions = [], [], []


class _Shortened(nn.Module):
    """The network, with children replaced by their outputs where these are held."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.batch = 0
        self.skipped: list[nn.Module] = []
        self.held: list[list[Tensor]] = []
        """For each batch the output of each skipped child, NaN for all but the last."""

    def forward(self, inputs: Tensor) -> Tensor:
        index = self.batch
        self.batch += 1
        if index >= len(self.held):
            return self.model(inputs)
        replaced: list[tuple[nn.Module, Callable[..., Tensor] | None]] = []
        try:
            for child, output in zip(self.skipped, self.held[index], strict=True):
                replaced.append((child, child.__dict__.get("forward")))
                child.__dict__["forward"] = _giving(output, is_last=child is self.skipped[-1])
            return self.model(inputs)
        finally:
            for child, forward in replaced:
                child.__dict__.pop("forward", None)
                if forward is not None:
                    child.__dict__["forward"] = forward


def _outputs(network: nn.Module, children: Sequence[nn.Module], inputs: Tensor) -> list[Tensor]:
    """What the children give in a pass that ends with the last of them: NaN for all but that one.

    Empty where the last one isn't reached.
    """
    outputs: list[Tensor] = []

    def note(_: nn.Module, __: object, output: Tensor) -> None:
        outputs.append(output)
        if len(outputs) == len(children):
            raise _Reached

    try:
        with _hooks(children, note):
            network(inputs)
    except _Reached:
        return [*(_unread(output) for output in outputs[:-1]), outputs[-1]]
    return []


class _Reached(Exception):
    """Ends a forward pass that has come as far as it was wanted."""


def _giving(output: Tensor, is_last: bool) -> Callable[..., Tensor]:
    # a copy each time: what follows may write into its input
    return lambda *_, **__: output.clone() if is_last else output


def _unread(output: Tensor) -> Tensor:
    """NaN in the shape of an output, in the memory of one number."""
    return torch.full((), math.nan, dtype=output.dtype, device=output.device).expand(output.shape)


def first_level(model: nn.Module) -> list[nn.Module]:
    """The children of the first level that has several: what passes skip, each as a whole."""
    children = list(model.children())
    while len(children) == 1:
        below = list(children[0].children())
        if not below:
            break
        children = below
    return children


def _own_tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _storage(tensor: Tensor) -> int:
    """Where its memory begins: the same for tensors that share it."""
    return tensor.untyped_storage().data_ptr()


@contextmanager
def _hooks(
    children: Sequence[nn.Module], hook: Callable[[nn.Module, object, Tensor], None]
) -> Iterator[None]:
    """Calls the hook after each call of the children."""
    handles = [child.register_forward_hook(hook) for child in children]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
