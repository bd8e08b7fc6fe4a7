"""Repeated evaluation of a network on the same examples while few of its tensors change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn

from transferscope.metrics.evaluation.evaluate import Data, Evaluation, check_data, evaluated_batch, joined
from transferscope.metrics.evaluation.halving import halved
from transferscope.metrics.evaluation.states import device_of
from transferscope.metrics.evaluation.unread import ReadError, ReadTensors, Unread, storage_of, unread
from transferscope.metrics.inputs.arguments import network
from transferscope.metrics.inputs.guard import lending

_log = logging.getLogger(__name__)

TRIED_EXAMPLES = 32
"""Examples on which it is tried first whether a pass can be shortened."""
HELD_BYTES = 2**30
"""Most memory for held activations; batches beyond it go through the whole network each time."""


class RepeatedPasses:
    """Evaluates a network repeatedly on the same examples, and recomputes only activations that may have changed.

    `stand_before` takes the tensors that are going to change. It holds, for every batch, the output of the last
    child before them. In the passes that follow the network's own forward runs, with the children up to there
    replaced: the last one gives what is held, those before it give a tensor without values (`Unread`). A chain is
    so computed from the changed child on, and steps between the children, such as a flatten, happen as in a whole
    pass.

    Results are those of whole passes to the bit. Whole passes are made wherever that isn't certain:

    - A child that is called twice, or whose output isn't one tensor of floats, ends the part that is held.
    - For each set of tensors the shortened forward must give the logits of the whole one on the first examples.
    - In every batch of every pass the replaced children must be called once and in the same order, and nothing may
      need a value that isn't there. The depth of a network can depend on its inputs: adaptive steps, an early exit
      or a gate show here, and so does a skip connection across the held output.
    - On every batch, no operation in front of the held output may read one of the tensors that change.
    - The first shortened pass from each place is compared with a whole pass over all examples.
    - What is held is forgotten when a tensor that it depends on is written to (but writes through `.data`
      escape PyTorch's count of versions).

    Where only later examples show it, a warning goes to the logger.

    Use it while the network is lent (see `guard.lent`). Where the forward of a module within a child
    is replaced, as by `Folding`, that holds from before `stand_before` to the last pass.
    """

    def __init__(
        self, model: nn.Module, data: Data, batch_size: int = 256, *, shortened: bool = True
    ) -> None:
        """
        Args:
            model: the network; its children are those of the first level that has several.
            data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
            batch_size: examples in one forward pass.
            shortened: False makes all passes whole.

        Raises:
            BadInput: data that don't match.
        """
        check_data(data, batch_size)
        self.model = network(model)
        self.data = data
        self._batch_size = batch_size
        self._children = first_level(model)
        # in order, as far as they can be held
        can_be_replaced = not any(isinstance(part, torch.jit.ScriptModule) for part in model.modules())
        self._calls: list[nn.Module] | None = None if shortened and can_be_replaced else []
        self._runner = _Shortened(model)
        self._read: set[int] = set()  # memory of all tensors that the held activations were computed from
        self._versions: list[tuple[Tensor, int]] = []  # of the network's tensors among them
        self._key: frozenset[int] = frozenset()  # the tensors that change
        self._exact: dict[frozenset[int], bool] = {}
        self._compared: set[int] = set()  # numbers of skipped children with which a pass was compared
        self._lent = -1  # number of the lending that all this is of: another one has other memory

    @property
    def num_skipped(self) -> int:
        """Children that the next pass leaves out; 0 for whole passes."""
        return len(self._runner.skipped) if self._is_fresh() else 0

    def evaluate(self) -> Evaluation:
        """One pass over all examples with the present weights; results on the CPU.

        Where a batch doesn't fit the memory of a GPU, what is held is forgotten and all batches are halved.
        """
        if not self._is_fresh():
            self._forget()
        num_skipped = len(self._runner.skipped)
        if not num_skipped:
            return self._pass()
        try:
            found = self._pass()
        except Exception as error:  # whatever the stand-ins break, whole passes are right
            self._give_up(str(error) if isinstance(error, ReadError) else "the shortened pass fails")
            return self._pass()
        if num_skipped in self._compared or not self._runner.skipped:
            return found
        kept, size = (self._runner.skipped, self._runner.held), self._batch_size
        self._runner.skipped, self._runner.held = [], []
        whole = self._pass()
        if self._batch_size == size:  # else what is held belongs to larger batches
            self._runner.skipped, self._runner.held = kept
        if not _is_same(found, whole):
            self._give_up("on some examples the shortened pass gives another result")
        self._compared.add(num_skipped)
        return whole

    def _pass(self) -> Evaluation:
        while True:
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
            tensors: parameters and buffers of the network, as `guard.lent` lends them.
        """
        if lending(self.model).number != self._lent:
            self._forget()
            self._exact, self._lent = {}, lending(self.model).number
        if self._calls is None:
            self._calls = self._record()
        self._key = frozenset(storage_of(tensor) for tensor in tensors)
        skipped = self._calls[: self._place()]
        if skipped and self._key not in self._exact:
            self._exact[self._key] = self._is_exact(skipped)
        if not skipped or not self._exact[self._key]:
            self._forget()
            return
        if not self._is_fresh() or len(skipped) < len(self._runner.skipped):
            self._forget()
        if len(skipped) > len(self._runner.skipped):
            self._hold(skipped)
        if self._read & self._key:
            self._give_up("on some examples the tensors that change are read before their module is called")

    def _record(self) -> list[nn.Module]:
        """The children in the order of their calls, up to the first one that can't be held."""
        if lending(self.model).depends_on_mode:
            return []  # it writes weights itself
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

    def _place(self) -> int:
        """How many calls come before the first one of a child that holds one of the tensors that change."""
        calls = self._calls or []
        for place, child in enumerate(calls):
            if any(storage_of(own) in self._key for own in _own_tensors(child)):
                return place
        return len(calls)  # in a child that is called later; if not, it fails the trial

    def _hold(self, skipped: list[nn.Module]) -> None:
        """Runs the network up to the last of `skipped`, from where it is held already."""
        held: list[list[Tensor]] = []
        num_bytes = 0
        inputs, size, device = self.data[0], self._batch_size, device_of(self.model)
        self._runner.batch = 0
        reader = ReadTensors()
        try:
            for start in range(0, len(inputs), size):
                with reader:
                    outputs = _outputs(
                        self._runner, skipped, inputs[start : start + size].to(device, copy=True)
                    )
                num_bytes += outputs[-1].numel() * outputs[-1].element_size()
                if num_bytes > HELD_BYTES:
                    break
                held.append(outputs)
        except Exception as error:  # if it is the network's own, whole passes will raise it, too
            self._give_up(str(error) if isinstance(error, ReadError) else "the shortened pass fails")
            return
        if not held:
            self._forget()
            return
        self._runner.skipped, self._runner.held = skipped, held
        self._read |= reader.storages
        self._versions = [
            (own, own._version) for own in _own_tensors(self.model) if storage_of(own) in self._read
        ]

    def _is_exact(self, skipped: list[nn.Module]) -> bool:
        """True if a shortened pass gives the same result as a complete one on some examples, and its activations can
        be held."""
        some = self._some()
        whole = self.model(some)
        shortened, reader = _Shortened(self.model), ReadTensors()
        try:
            with reader:
                shortened.held = [_outputs(self.model, skipped, some)]
            shortened.skipped = skipped
            return not reader.storages & self._key and torch.equal(whole, shortened(some))
        except Exception:  # whatever the stand-ins break, whole passes are right
            return False

    def _give_up(self, reason: str) -> None:
        """From here on, whole passes for the tensors that change now."""
        names = {child: name for name, child in self.model.named_modules()}
        touched = [  # a pass may have replaced children
            child
            for child in self._children
            if child in names and {storage_of(x) for x in _own_tensors(child)} & self._key
        ]
        _log.warning(
            "passes of %s can't start at %s: %s. Complete passes are used instead, which are slower "
            "and give the same results.",
            type(self.model).__name__,
            ", ".join(f"'{names[child]}'" for child in touched) or "the changed tensors",
            reason,
        )
        self._exact[self._key] = False
        self._forget()

    def _some(self) -> Tensor:
        return self.data[0][: min(TRIED_EXAMPLES, self._batch_size)].to(device_of(self.model), copy=True)

    def _is_fresh(self) -> bool:
        if self._versions and lending(self.model).number != self._lent:
            return False
        return all(own._version == version for own, version in self._versions)

    def _forget(self) -> None:
        self._runner.skipped, self._runner.held = [], []
        self._read, self._versions = set(), []


class _Shortened(nn.Module):
    """The network, with children replaced by their outputs where these are held."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.batch = 0
        self.skipped: list[nn.Module] = []
        self.held: list[list[Tensor]] = []
        """For each batch the output of each skipped child, without values for all but the last."""

    def forward(self, inputs: Tensor) -> Tensor:
        index = self.batch
        self.batch += 1
        if index >= len(self.held):
            return self.model(inputs)
        calls: list[int] = []
        replaced: list[tuple[nn.Module, Callable[..., Tensor] | None]] = []
        try:
            for place, (child, output) in enumerate(zip(self.skipped, self.held[index], strict=True)):
                replaced.append((child, child.__dict__.get("forward")))
                child.__dict__["forward"] = _giving(output, place, calls)
            logits = self.model(inputs)
        finally:
            for child, forward in replaced:
                child.__dict__.pop("forward", None)
                if forward is not None:
                    child.__dict__["forward"] = forward
        if len(calls) != len(self.skipped):
            raise ReadError(_OTHER_CALLS)
        if isinstance(logits, Unread):
            raise ReadError("the logits depend on what isn't held")
        return logits


_OTHER_CALLS = "on some examples its modules are called in another order or another number of times"


def _outputs(network: nn.Module, children: Sequence[nn.Module], inputs: Tensor) -> list[Tensor]:
    """What the children give in a pass that ends with the last of them: without values for all but that one.

    Raises:
        ReadError: they aren't called one after the other, each once, or give something else than one tensor.
    """
    outputs: list[Tensor] = []

    def note(child: nn.Module, _: object, output: object) -> None:
        if child is not children[len(outputs)] or not isinstance(output, Tensor):
            raise ReadError(_OTHER_CALLS)
        outputs.append(output)
        if len(outputs) == len(children):
            raise _Reached

    try:
        with _hooks(children, note):
            network(inputs)
    except _Reached:
        if isinstance(outputs[-1], Unread):
            raise ReadError("what is to be held depends on what isn't") from None
        return [*(unread(output) for output in outputs[:-1]), outputs[-1]]
    raise ReadError(_OTHER_CALLS)


class _Reached(Exception):
    """Ends a forward pass that has come as far as it was wanted."""


def _giving(output: Tensor, place: int, calls: list[int]) -> Callable[..., Tensor]:
    """The forward of a replaced child, which must be called at its place and not again."""

    def forward(*_: object, **__: object) -> Tensor:
        if len(calls) != place:
            raise ReadError(_OTHER_CALLS)
        calls.append(place)
        # a copy each time: what follows may write into its input
        return output if isinstance(output, Unread) else output.clone()

    return forward


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
    yield from chain(module.parameters(), module.buffers())


def _is_same(a: Evaluation, b: Evaluation) -> bool:
    """True if two evaluations of the same examples are equal to the bit."""
    pairs = ((a.losses, b.losses), (a.correct, b.correct), (a.logits, b.logits))
    return all(x is y or _is_equal(x, y) for x, y in pairs)


def _is_equal(x: Tensor | None, y: Tensor | None) -> bool:
    return x is not None and y is not None and bool(torch.eq(x, y).logical_or(x.isnan() & y.isnan()).all())


@contextmanager
def _hooks(
    children: Sequence[nn.Module], hook: Callable[[nn.Module, object, object], None]
) -> Iterator[None]:
    """Calls the hook after each call of the children."""
    handles = [child.register_forward_hook(hook) for child in children]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
