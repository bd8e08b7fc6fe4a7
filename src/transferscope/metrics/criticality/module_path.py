"""The path of each module from its initial to its final tensors, in a network with final values elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn

from transferscope.metrics.evaluation.states import Modules, aligned, group_by_module, is_under, wide
from transferscope.metrics.inputs.arguments import prefixes_of_modules
from transferscope.metrics.inputs.guard import Lent
from transferscope.metrics.inputs.state_dicts import State, is_continuous
from transferscope.metrics.inputs.tensor_names import first_names


@dataclass(frozen=True, kw_only=True)
class ModulePath:
    """One module's tensors at both ends of its path."""

    name: str
    live: Lent
    """The network's own tensors."""
    init: Mapping[str, Tensor]
    final: Mapping[str, Tensor]
    parameters: tuple[str, ...]
    """The tensors that are parameters; only they get noise and count in the distance."""

    @property
    def distance(self) -> float:
        """||final - init||_F over the parameters, in float64."""
        squares = (
            (wide(self.final[name]) - wide(self.init[name])).abs().square().sum() for name in self.parameters
        )
        return math.sqrt(math.fsum(float(square) for square in squares))

    @property
    def tensors(self) -> list[Tensor]:
        """The network's own tensors of this module, which change along the path."""
        return [self.live[name] for name in self.final]

    @property
    def num_parameters(self) -> int:
        return sum(self.final[name].numel() for name in self.parameters)

    def draw_noise(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Standard normal noise for each parameter."""
        noise = {}
        for name in self.parameters:
            end = self.final[name]
            drawn = torch.randn(end.shape, generator=generator, device=generator.device, dtype=end.dtype)
            noise[name] = drawn.to(end.device)
        return noise

    def place(self, alpha: float, sigma: float, noise: Mapping[str, Tensor]) -> None:
        """Sets the module to (1 - alpha) init + alpha final + sigma noise; integer buffers stay final."""
        with self.live.writing():
            for name, end in self.final.items():
                own = self.live[name]
                if alpha == 1 or not is_continuous(own):
                    own.copy_(end)
                else:
                    torch.lerp(self.init[name], end, alpha, out=own)
                if sigma and name in noise:
                    own.add_(noise[name], alpha=sigma)

    def put_back(self) -> None:
        """Sets the whole module, buffers and all, to its initial tensors."""
        _write(self.live, self.init)

    def finish(self) -> None:
        """Sets the whole module to its final tensors."""
        _write(self.live, self.final)


def module_paths(
    model: nn.Module, live: Lent, inits: Mapping[str, State], final: State, modules: Modules | None
) -> dict[str, list[ModulePath]]:
    """Writes the final tensors into `live`, and returns each module's path from each of the initial states.

    Args:
        model: the architecture.
        live: its own tensors, not yet written.
        inits: networks or state dicts by name; they need only the tensors of the modules.
        final: network or state dict.
        modules: module name -> prefixes of the names of its tensors; the top-level children with parameters
            by default, below one that wraps the whole network.

    A tensor with several names (tied weights) belongs to the first module that contains it.

    Returns:
        For each initial state the paths of the modules, in the mapping's order.

    Raises:
        BadInput: states that don't fit the model, a module without parameters of its own, a tensor in two modules.
    """
    modules = prefixes_of_modules(modules)
    listed = live if modules is None else [n for n in live if is_under(n, chain(*modules.values()))]
    # what is moved, counted and gets noise are the same tensors: a tied one belongs to the first module that has it
    once = first_names(live, listed)
    learned = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    groups = group_by_module([name for name in once if name in learned], modules)
    prefixes = {name: [name] for name in groups} if modules is None else modules
    members = group_by_module(once, prefixes)
    finals = aligned(final, live, "final")
    # All states are read before the first write, as some may share memory with the network.
    wanted = [name for names in members.values() for name in names]
    starts = {to: aligned(init, live, to, names=wanted) for to, init in inits.items()}
    _write(live, finals)
    return {
        to: [
            ModulePath(
                name=module,
                live=live,
                init={name: start[name] for name in names},
                final={name: finals[name] for name in names},
                parameters=tuple(groups[module]),
            )
            for module, names in members.items()
        ]
        for to, start in starts.items()
    }


def _write(live: Lent, tensors: Mapping[str, Tensor]) -> None:
    with live.writing():
        for name, tensor in tensors.items():
            live[name].copy_(tensor)
