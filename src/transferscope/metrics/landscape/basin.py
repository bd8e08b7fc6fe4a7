"""The (epsilon, delta)-basin test on the segment or simplex spanned by networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation.evaluate import Data, Evaluation, check_data, evaluate
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.metrics.inputs.arguments import generator_of, network, real_number, states_of, whole_number
from transferscope.metrics.inputs.guard import guarded, lent
from transferscope.metrics.inputs.state_dicts import State
from transferscope.metrics.landscape.basin_epsilon import EpsilonSource, epsilon_of
from transferscope.metrics.landscape.simplex import exit_of, one_in_each_part, spread, uniform
from transferscope.metrics.landscape.span import SpanBatchNorm, differences_gram, policy_problems, span_of


@dataclass(frozen=True, kw_only=True)
class BasinTest:
    """The result of `basin`: the estimates, and whether the convex hull S of the networks is an (epsilon, delta)-basin.

    Losses are in nats; errors are standard errors over the points or draws, not over images, and upper bounds
    (`basin` spreads its draws evenly).
    """

    epsilon: float
    """The largest deviation of a flat loss, and half of the rise that makes a wall."""
    epsilon_source: EpsilonSource
    """What epsilon rests on; see `basin`."""
    delta: float
    mu: float
    """Mean loss on S."""
    mu_se: float
    deviation: float
    """E|loss - mu| on S."""
    deviation_se: float
    noise_loss: float
    """Mean loss after leaving S by Gaussian noise."""
    noise_loss_se: float
    ray_loss: float
    """Mean loss after leaving S along a ray."""
    ray_loss_se: float
    num_states: int
    num_parameters: int
    points: int
    """Number of points on S for mu and the deviation."""
    draws: int
    """Number of draws for each of the other two means."""
    n: int
    """Number of examples for each loss."""

    @property
    def threshold(self) -> float:
        """mu + 2 epsilon: the loss required outside of S."""
        return self.mu + 2 * self.epsilon

    @property
    def wall(self) -> float:
        """Rise of the loss from S to the lower of the two means outside, in nats; NaN where a loss is."""
        outside = (self.noise_loss, self.ray_loss)
        return math.nan if any(map(math.isnan, outside)) else min(outside) - self.mu

    @property
    def margin(self) -> float:
        """By how many nats S meets the three conditions: the least of epsilon - deviation and wall - 2 epsilon.

        S is a basin where this is 0 or more. Below 0 it is the distance to the condition that S misses most. NaN
        where a loss is.
        """
        room = (self.epsilon - self.deviation, self.wall - 2 * self.epsilon)
        return math.nan if any(map(math.isnan, room)) else min(room)

    @property
    def largest_epsilon(self) -> float:
        """wall / 2: the largest epsilon with which (ii) and (iii) hold, in nats.

        S is a basin for the epsilons from the deviation to this one; for none where this one is smaller.
        """
        return self.wall / 2

    @property
    def condition_i(self) -> bool:
        """The loss on S is flat: E|loss - mu| <= epsilon."""
        return self.deviation <= self.epsilon

    @property
    def condition_ii(self) -> bool:
        """Noise at the border of S raises the mean loss to mu + 2 epsilon or more; False where NaN."""
        return self.noise_loss >= self.threshold

    @property
    def condition_iii(self) -> bool:
        """Going on beyond the border raises the mean loss to mu + 2 epsilon or more; False where NaN."""
        return self.ray_loss >= self.threshold

    @property
    def is_basin(self) -> bool:
        """True if the estimates meet all three conditions."""
        return self.condition_i and self.condition_ii and self.condition_iii


@guarded
def basin(
    model: nn.Module,
    states: Sequence[State],
    data: Data,
    *,
    delta: float,
    epsilon: float | None = None,
    draws: int = 50,
    points: int = 50,
    batch_norm: SpanBatchNorm = "interpolate",
    calibration: Tensor | None = None,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
) -> BasinTest:
    """Test if the convex hull S of the states is an (epsilon, delta)-basin of the mean loss on `data`.

    With w, w1, w2 uniform on S, mu = E loss(w), and f the point where the ray from w1 through w2 leaves S, S
    is a basin if (Neyshabur, Sedghi, Zhang 2020, definition of a basin)

    - (i) E|loss(w) - mu| <= epsilon,
    - (ii) E loss(f + v) >= mu + 2 epsilon with v ~ N(0, delta^2 / n I), n the number of parameters,
    - (iii) E loss(f + |v| (f - w1) / ||f - w1||) >= mu + 2 epsilon with v ~ N(0, delta^2).

    How the definition was read: "uniform" is uniform in the barycentric coordinates, the same as uniform on
    S unless the states depend on each other affinely. delta is a length in the space of all parameters, with
    the head and without buffers. mu in (i) is its estimate. One pair (w1, w2) gives both a draw of (ii) and
    one of (iii). The conditions compare the estimates; the standard errors say how far to trust them.

    The default `epsilon` is the loss that two points of the metric are worth to these networks: .02 times the mean
    loss of their wrong decisions minus that of their right ones, mean over the networks (`epsilon_of`); .1 nats
    where no network has both. It doesn't depend on the loss between the networks, so a bump between them can't make
    it larger.

    Draws are spread evenly, so that fewer are needed: places on a segment are one in each of `points` equal parts,
    the |v| of (iii) one in each of `draws` equal parts of their distribution, and each pair (w1, w2) is also used
    as (w2, w1). The standard errors are those of independent draws, so they are upper bounds.

    Args:
        model: the architecture; it is the same afterwards, also after an exception.
        states: two (a segment) or more (a simplex) networks or state dicts.
        data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
        delta: how far outside S, above 0, in the units of the weights' L2 norm.
        epsilon: in nats, at least 0; default: see above.
        draws: ways out of S, at least 2.
        points: places on S, at least 2.
        batch_norm: running statistics are mixed like the weights, or re-estimated on `calibration` at every
            place; mixed ones can turn into negative variances outside S, and the loss into NaN.
        calibration: (m, ...) training inputs for "re-estimate".
        batch_size: examples in one forward pass.
        generator: of points, pairs and noise; one with seed 0 by default.

    Returns:
        The estimates with standard errors, and the conditions. NaN where a loss is NaN; a condition on NaN is
        False.

    Raises:
        BadInput: fewer than two states, states that are all the same or don't fit the model, options out of
            range.

    >>> import torch
    >>> class Bowl(torch.nn.Module):  # the loss is w1^2 + log 2 up to third order: flat along w0
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.w = torch.nn.Parameter(torch.zeros(2))
    ...     def forward(self, x):
    ...         return torch.stack([torch.zeros(len(x)), 2 * self.w[1] ** 2 + 0 * x[:, 0]], 1)
    >>> ends = [{"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([1.0, 0.0])}]
    >>> test = basin(Bowl(), ends, (torch.zeros(1, 1), torch.tensor([0])), delta=1.0, epsilon=0.01)
    >>> test.condition_i, test.condition_ii, test.condition_iii
    (True, True, False)
    """
    states = states_of(states)
    draws, points = whole_number(draws, "draws"), whole_number(points, "points")
    delta = real_number(delta, "delta")
    epsilon = None if epsilon is None else real_number(epsilon, "epsilon")
    _check(states, delta, epsilon, draws, points, batch_norm, calibration)
    check_data(data, batch_size)
    source = generator_of(generator)
    network(model)
    with lent(model) as live:
        span = span_of(
            model, live, states, batch_norm=batch_norm, calibration=calibration, batch_size=batch_size
        )
        squares = differences_gram(span.states, span.parameters)
        if not squares.any():
            raise BadInput("All states hold the same parameters: they span a point. Give different networks.")

        def evaluated_at(weights: Tensor, noise_scale: float = 0.0) -> Evaluation:
            span.place(weights, noise_scale, source)
            return evaluate(model, data, batch_size)

        def loss_at(weights: Tensor, noise_scale: float = 0.0) -> float:
            return evaluated_at(weights, noise_scale).loss

        corners = torch.eye(len(states), dtype=torch.float64)
        span.place(corners[0])
        check_forward(model, data[0])
        chosen: tuple[float, EpsilonSource] = (epsilon or 0.0, "given")
        if epsilon is None:
            chosen = epsilon_of([evaluated_at(corner) for corner in corners])
        inside = torch.tensor(
            [loss_at(at) for at in spread(points, len(states), source)], dtype=torch.float64
        )
        outside = _outside(loss_at, squares, delta, span.num_parameters, draws, source)
    mu = inside.mean()
    deviations = (inside - mu).abs()
    deviation = float(deviations.mean())
    return BasinTest(
        epsilon=chosen[0],
        epsilon_source=chosen[1],
        delta=float(delta),
        mu=float(mu),
        mu_se=_error(inside),
        deviation=deviation,
        deviation_se=_error(deviations),
        noise_loss=float(outside[:, 0].mean()),
        noise_loss_se=_error(outside[:, 0]),
        ray_loss=float(outside[:, 1].mean()),
        ray_loss_se=_error(outside[:, 1]),
        num_states=len(states),
        num_parameters=span.num_parameters,
        points=points,
        draws=draws,
        n=len(data[0]),
    )


def _outside(
    loss_at: Callable[..., float],
    squares: Tensor,
    delta: float,
    num_parameters: int,
    draws: int,
    generator: torch.Generator,
) -> Tensor:
    """(draws, 2) losses after leaving S by noise and along the ray."""
    pairs = -(-draws // 2)
    there, back = (uniform(pairs, len(squares), generator) for _ in range(2))
    lengths = delta * torch.special.ndtri((1 + one_in_each_part(draws, generator)) / 2)
    lengths = lengths[torch.randperm(draws, generator=generator, device=generator.device).cpu()]
    starts, throughs = torch.cat([there, back])[:draws], torch.cat([back, there])[:draws]
    losses = []
    for start, through, length in zip(starts, throughs, lengths, strict=True):
        border = exit_of(start, through)
        direction = border - start
        norm = (direction @ squares @ direction).clamp_min(0).sqrt()
        by_noise = loss_at(border, delta / math.sqrt(num_parameters))
        losses.append([by_noise, loss_at(border + length / norm * direction)])
    return torch.tensor(losses, dtype=torch.float64)


def _error(values: Tensor) -> float:
    return float(values.std() / math.sqrt(len(values)))


def _check(
    states: Sequence[State],
    delta: float,
    epsilon: float | None,
    draws: int,
    points: int,
    batch_norm: str,
    calibration: Tensor | None,
) -> None:
    problems = []
    if len(states) < 2:
        problems.append(f"A basin is tested between at least two states, got {len(states)}.")
    if not 0 < delta < math.inf:
        problems.append(f"delta is a length above 0, got {delta}.")
    if epsilon is not None and not 0 <= epsilon < math.inf:
        problems.append(f"epsilon is a difference of losses of at least 0, got {epsilon}.")
    if min(draws, points) < 2:
        problems.append(f"A standard error needs at least 2 draws and points, got {draws} and {points}.")
    problems += policy_problems(batch_norm, calibration)
    if problems:
        raise BadInput(problems)
