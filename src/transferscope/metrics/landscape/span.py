"""The affine span of some networks: sums of their weights, and the geometry of their differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from transferscope.metrics.evaluation.states import aligned, re_estimate_batch_norm
from transferscope.metrics.inputs.arguments import tensor
from transferscope.metrics.inputs.guard import Lent
from transferscope.metrics.inputs.state_dicts import State, is_continuous
from transferscope.metrics.inputs.tensor_names import first_names

SpanBatchNorm = Literal["interpolate", "re-estimate"]
"""Running statistics are mixed like the weights, or re-estimated on training inputs at every place."""
SPAN_POLICIES: tuple[SpanBatchNorm, ...] = ("interpolate", "re-estimate")


@dataclass(frozen=True, kw_only=True)
class Span:
    """All sums of k states whose factors add up to 1, written into a lent network one at a time."""

    model: nn.Module
    live: Lent
    """The network's own tensors."""
    states: Sequence[Mapping[str, Tensor]]
    parameters: tuple[str, ...]
    """Names of the tensors that have a length: the parameters, the head's too, and no buffer."""
    batch_norm: SpanBatchNorm
    calibration: Tensor | None
    batch_size: int

    @property
    def num_parameters(self) -> int:
        return sum(self.live[name].numel() for name in self.parameters)

    def place(
        self, factors: Tensor, noise_scale: float = 0.0, generator: torch.Generator | None = None
    ) -> None:
        """Write sum_i factors_i states_i; integer buffers of the first state with a factor other than 0.

        Args:
            factors: (k,), adding up to 1; a state with factor 0 is left out, so that 1 gives the state itself.
            noise_scale: standard deviation of Gaussian noise on every parameter.
            generator: of the noise.
        """
        mixed = [pair for pair in zip(self.states, factors.tolist(), strict=True) if pair[1]]
        with self.live.writing():
            self._write(mixed, noise_scale, generator)
        if self.batch_norm == "re-estimate" and self.calibration is not None:
            re_estimate_batch_norm(self.model, self.calibration, self.batch_size)

    def _write(
        self,
        mixed: Sequence[tuple[Mapping[str, Tensor], float]],
        noise_scale: float,
        generator: torch.Generator | None,
    ) -> None:
        for name in first_names(self.live):  # a tied tensor once, or its noise would be overwritten
            own = self.live[name]
            own.copy_(mixed[0][0][name])
            if is_continuous(own):
                own.mul_(mixed[0][1])
                for state, factor in mixed[1:]:
                    own.add_(state[name], alpha=factor)
            if noise_scale and generator is not None and name in self.parameters:
                noise = torch.randn(own.shape, generator=generator, device=generator.device, dtype=own.dtype)
                own.add_(noise.to(own.device), alpha=noise_scale)


def span_of(
    model: nn.Module,
    live: Lent,
    states: Sequence[State],
    *,
    batch_norm: SpanBatchNorm,
    calibration: Tensor | None,
    batch_size: int,
) -> Span:
    """The span of the states.

    Args:
        model, live: a lent network and its tensors.
        states: networks or state dicts of its architecture.
        batch_norm: see `SpanBatchNorm`; without BatchNorm both are the same.
        calibration: (m, ...) training inputs for "re-estimate".
        batch_size: examples in one forward pass.

    Raises:
        BadInput: states that don't fit the model.
    """
    return Span(
        model=model,
        live=live,
        states=[aligned(state, live, f"state {index}") for index, state in enumerate(states)],
        parameters=tuple(name for name, _ in model.named_parameters() if name in live),
        batch_norm=batch_norm,
        calibration=calibration,
        batch_size=batch_size,
    )


def differences_gram(states: Sequence[Mapping[str, Tensor]], names: Sequence[str]) -> Tensor:
    """(k, k) float64 inner products of the states' differences from the first, over the tensors `names`."""
    total = torch.zeros(len(states), len(states), dtype=torch.float64)
    for name in names:
        # the length of a complex number is that of its real and imaginary part
        parts = [torch.view_as_real(x) if (x := state[name]).is_complex() else x for state in states]
        rows = torch.stack([own.double().flatten() for own in parts])
        rows -= rows[:1].clone()
        total += (rows @ rows.T).cpu()
    return total


def policy_problems(batch_norm: str, calibration: Tensor | None) -> list[str]:
    """What is wrong with a policy for BatchNorm, in words."""
    problems = []
    if batch_norm not in SPAN_POLICIES:
        problems.append(f"Unknown policy for BatchNorm: {batch_norm!r}. Valid: {', '.join(SPAN_POLICIES)}.")
    if calibration is not None:
        tensor(calibration, "calibration")
    if batch_norm == "re-estimate" and (calibration is None or not calibration.ndim or not len(calibration)):
        problems.append("Re-estimating BatchNorm's statistics needs training inputs as `calibration`.")
    return problems
