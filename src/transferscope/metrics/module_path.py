"""Each module's way from its initial to its final tensors, in a network that is otherwise final."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transferscope.metrics.state_dicts import State, is_continuous
from transferscope.metrics.states import Modules, aligned, group_by_module


@dataclass(frozen=True, kw_only=True)
class ModulePath:
    """One module's tensors at both ends of its path."""

    name: str
    live: Mapping[str, Tensor]
    """The network's own tensors, written in place."""
    init: Mapping[str, Tensor]
    final: Mapping[str, Tensor]
    parameters: tuple[str, ...]
    """Which of the tensors are parameters: these count in the distance, and get the noise."""

    @property
    def distance(self) -> float:
        """||final - init||_F over the parameters, in float64."""
        squares = (
            (self.final[name].double() - self.init[name].double()).square().sum() for name in self.parameters
        )
        return math.sqrt(math.fsum(float(square) for square in squares))

    @property
    def tensors(self) -> list[Tensor]:
        """The network's own tensors of this module: what changes along the path."""
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
        for name, tensor in self.init.items():
            self.live[name].copy_(tensor)

    def finish(self) -> None:
        """Sets the whole module to its final tensors."""
        for name, tensor in self.final.items():
            self.live[name].copy_(tensor)


def module_paths(
    model: nn.Module, live: Mapping[str, Tensor], init: State, final: State, modules: Modules | None
) -> list[ModulePath]:
    """Writes the final tensors into `live`, and gives each module's path, in the mapping's order.

    Args:
        model: the architecture.
        live: its own tensors, as `borrowed` lends them.
        init, final: networks or state dicts; `init` needs the tensors of the modules alone.
        modules: module name -> prefixes of the names of its tensors; the top-level children with parameters
            by default.

    Raises:
        BadInput: states that don't fit the model, a module without parameters, a tensor in two modules.
    """
    parameters = [name for name, _ in model.named_parameters() if name in live]
    groups = group_by_module(parameters, modules)
    prefixes = {name: [name] for name in groups} if modules is None else modules
    members = group_by_module(list(live), prefixes)
    finals = aligned(final, live, "final")
    inits = aligned(init, live, "init", names=[name for names in members.values() for name in names])
    for name, tensor in finals.items():
        live[name].copy_(tensor)
    return [
        ModulePath(
            name=module,
            live=live,
            init={name: inits[name] for name in names},
            final={name: finals[name] for name in names},
            parameters=tuple(groups[module]),
        )
        for module, names in members.items()
    ]
