"""The basin test against closed forms on quadratic losses, and its geometry against linear programs."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import linprog
from torch import nn

from transferscope.core.errors import BadInput
from transferscope.metrics.landscape.basin import basin
from transferscope.metrics.landscape.simplex import exit_of, one_in_each_part, spread, uniform

ONE = (torch.zeros(1, 1, dtype=torch.float64), torch.tensor([0]))
SIZE = 10
DRAWS = 200


class Bowl(nn.Module):
    """Cross entropy with label 0 is 0.5 + along w_0^2 + across |w_1..|^2."""

    def __init__(self, w, along=1.0, across=1.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=torch.float64))
        self.register_buffer("steps", torch.tensor(0))
        self.along, self.across = along, across

    def forward(self, x):
        loss = 0.5 + self.along * self.w[0] ** 2 + self.across * self.w[1:].square().sum()
        return torch.stack([0 * x[:, 0], torch.log(torch.expm1(loss)).expand(len(x))], 1)


def ends(*firsts):
    return [{"w": torch.tensor([first] + [0.0] * (SIZE - 1)), "steps": torch.tensor(7)} for first in firsts]


def within(found, expected, error, sigmas=4.0):
    return abs(found - expected) <= sigmas * error


@pytest.mark.parametrize(("along", "across", "delta"), [(1.0, 1.0, 0.5), (0.2, 5.0, 2.0)])
def test_segment_of_a_bowl(along, across, delta):
    """On w_0 uniform in [-1, 1]: E w_0^2 = 1/3, E|w_0^2 - 1/3| = 4 / (9 sqrt 3); the exits are at +-1."""
    test = basin(
        Bowl([3.0] * SIZE, along, across), ends(-1.0, 1.0), ONE, delta=delta, draws=DRAWS, points=DRAWS
    )
    assert within(test.mu, 0.5 + along / 3, test.mu_se)
    assert within(test.deviation, along * 4 / (9 * math.sqrt(3)), test.deviation_se)
    noise = 0.5 + along + delta**2 * (along + across * (SIZE - 1)) / SIZE
    assert within(test.noise_loss, noise, test.noise_loss_se)
    ray = 0.5 + along * (1 + 2 * delta * math.sqrt(2 / math.pi) + delta**2)
    assert within(test.ray_loss, ray, test.ray_loss_se)
    assert (test.num_states, test.num_parameters, test.n) == (2, SIZE, 1)
    # no image is misclassified: the price of a mistake can't be had
    assert (test.epsilon, test.epsilon_source) == (0.1, "usual value")
    assert test.threshold == test.mu + 2 * test.epsilon
    assert test.wall == min(test.noise_loss, test.ray_loss) - test.mu
    assert test.margin == min(0.1 - test.deviation, test.wall - 0.2)


@pytest.mark.parametrize(
    ("along", "across", "epsilon", "conditions"),
    [
        (1.0, 1.0, 0.3, (True, True, True)),
        (1.0, 1.0, 0.2, (False, True, True)),  # the loss on S is not flat enough
        (0.0, 1.0, 0.01, (True, True, False)),  # a valley that goes on
        (-0.2, 1.0, 0.1, (True, True, False)),  # a saddle
        (0.3, 0.0, 1.0, (True, False, False)),  # nowhere steep enough
    ],
)
def test_conditions(along, across, epsilon, conditions):
    test = basin(
        Bowl([0.0] * SIZE, along, across),
        ends(-1.0, 1.0),
        ONE,
        delta=0.7,
        epsilon=epsilon,
        draws=80,
        points=80,
    )
    assert (test.condition_i, test.condition_ii, test.condition_iii) == conditions
    assert test.is_basin == all(conditions) == (test.margin >= 0)


@pytest.mark.parametrize(("along", "across"), [(1.0, 1.0), (1.0, 9.0), (-0.05, 1.0)])
def test_largest_epsilon(along, across):
    """S is a basin from the deviation to the largest epsilon, and for no other epsilon."""
    options = {"delta": 0.7, "draws": 30, "points": 30}
    found = basin(Bowl([0.0] * SIZE, along, across), ends(-1.0, 1.0), ONE, **options)
    for epsilon in (
        found.deviation,
        found.deviation / 2,
        found.largest_epsilon,
        found.largest_epsilon * 1.001,
    ):
        if epsilon >= 0:
            test = basin(Bowl([0.0] * SIZE, along, across), ends(-1.0, 1.0), ONE, epsilon=epsilon, **options)
            assert test.largest_epsilon == found.largest_epsilon
            assert test.is_basin == (found.deviation <= epsilon <= found.largest_epsilon + 1e-15)
    assert (found.largest_epsilon < 0) == (along < 0)


def test_triangle_of_a_bowl():
    """On the triangle (0, 0), (1, 0), (0, 1), |w|^2 has mean 1/3; the exits lie on its border."""
    corners = [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    states = [{"w": torch.tensor(c), "steps": torch.tensor(0)} for c in corners]
    test = basin(Bowl([0.0, 0.0]), states, ONE, delta=1e-4, draws=DRAWS, points=DRAWS)
    assert within(test.mu, 0.5 + 1 / 3, test.mu_se)
    rng = np.random.default_rng(0)
    w1, w2 = (rng.dirichlet(np.ones(3), 20_000) @ np.array(corners) for _ in range(2))
    step = np.min(
        [
            np.where(w2[:, 0] < w1[:, 0], w1[:, 0] / np.abs(w1[:, 0] - w2[:, 0]), np.inf),
            np.where(w2[:, 1] < w1[:, 1], w1[:, 1] / np.abs(w1[:, 1] - w2[:, 1]), np.inf),
            np.where(w2.sum(1) > w1.sum(1), (1 - w1.sum(1)) / np.abs(w2.sum(1) - w1.sum(1)), np.inf),
        ],
        axis=0,
    )
    border = w1 + step[:, None] * (w2 - w1)
    losses = 0.5 + (border**2).sum(1)
    error = math.hypot(test.ray_loss_se, losses.std() / math.sqrt(20_000))
    assert within(test.ray_loss, losses.mean(), error)
    assert within(test.noise_loss, losses.mean(), error)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), k=st.integers(2, 5))
def test_exit_is_the_farthest_place_on_the_simplex(seed, k):
    start, through = uniform(2, k, torch.Generator().manual_seed(seed))
    found = exit_of(start, through)
    direction = (through - start).numpy()
    # max t so that start + t direction >= 0
    best = linprog([-1], A_ub=-direction[:, None], b_ub=start.numpy(), bounds=[(0, None)], method="highs").x[
        0
    ]
    np.testing.assert_allclose(found, start.numpy() + best * direction, atol=1e-9)
    assert 0 <= found.min() <= 1e-12
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_points_are_uniform_on_the_simplex():
    points = uniform(20_000, 4, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(points.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(points.mean(0), 0.25, atol=0.01)
    expected = np.full((4, 4), 1 / 20) + np.eye(4) / 20  # E x_i x_j of Dirichlet(1, 1, 1, 1)
    np.testing.assert_allclose(points.T @ points / len(points), expected, atol=0.005)


def test_length_of_the_ray_is_in_the_units_of_all_weights():
    """Ends 8 apart along the diagonal of all axes: going on by |v| raises |w|^2 by 2 * 4 |v| + v^2."""
    w = torch.full((SIZE,), 4 / math.sqrt(SIZE), dtype=torch.float64)
    states = [{"w": sign * w, "steps": torch.tensor(0)} for sign in (-1, 1)]
    test = basin(Bowl([0.0] * SIZE), states, ONE, delta=0.5, draws=DRAWS, points=10)
    expected = 0.5 + 16 + 8 * 0.5 * math.sqrt(2 / math.pi) + 0.25
    assert within(test.ray_loss, expected, test.ray_loss_se)


def test_same_generator_same_test():
    tests = [
        basin(
            Bowl([0.0] * SIZE), ends(-1.0, 1.0), ONE, delta=1, draws=5, points=5, generator=torch.Generator()
        )
        for _ in range(2)
    ]
    assert tests[0] == tests[1]


class Breaks(Bowl):
    left = 10**9  # of the class: what a pass leaves in a network is undone

    def forward(self, x):
        Breaks.left -= 1
        if Breaks.left < 0:
            raise RuntimeError("out of memory")
        return super().forward(x)


@pytest.mark.parametrize("after", [0, 6, 13])
def test_the_model_is_restored(after):
    model = Breaks([5.0] * SIZE)
    model.train()
    Breaks.left = after
    with pytest.raises(RuntimeError, match="out of memory"):
        basin(model, ends(-1.0, 1.0), ONE, delta=1, draws=5, points=5)
    assert model.training
    assert model.w.tolist() == [5.0] * SIZE
    assert model.steps == 0
    Breaks.left = 10**9
    basin(model, ends(-1.0, 1.0), ONE, delta=1, draws=5, points=5)
    assert model.w.tolist() == [5.0] * SIZE


def test_policies_of_batch_norm():
    def network(seed):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(3, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))

    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(40, 3, generator=generator), torch.randint(2, (40,), generator=generator)
    a, b = network(0), network(1)
    a[1].running_mean.fill_(-3.0)
    b[1].running_mean.fill_(3.0)
    options = {"delta": 0.1, "draws": 5, "points": 5}
    mixed = basin(copy.deepcopy(a), [a, b], (x, y), **options)
    renewed = basin(copy.deepcopy(a), [a, b], (x, y), batch_norm="re-estimate", calibration=x, **options)
    assert mixed.num_parameters == 6 * 3 + 6 + 12 + 14
    assert abs(mixed.mu - renewed.mu) > 1e-4
    with pytest.raises(BadInput, match="calibration"):
        basin(a, [a, b], (x, y), batch_norm="re-estimate", **options)


def test_nan_fails_the_conditions():
    states = ends(-1.0, 1.0)
    states[1]["w"][3] = math.nan
    test = basin(Bowl([0.0] * SIZE), states, ONE, delta=1, draws=3, points=3)
    assert math.isnan(test.mu)
    assert math.isnan(test.largest_epsilon)
    assert math.isnan(test.margin)
    assert not any((test.condition_i, test.condition_ii, test.condition_iii, test.is_basin))


def test_all_reasons_are_named():
    with pytest.raises(BadInput) as caught:
        basin(Bowl([0.0] * SIZE), ends(1.0), ONE, delta=0, epsilon=-1, draws=1)
    assert len(caught.value.problems) == 4
    with pytest.raises(BadInput, match="span a point"):
        basin(Bowl([0.0] * SIZE), ends(1.0, 1.0), ONE, delta=1)
    with pytest.raises(BadInput, match="state 1"):
        basin(Bowl([0.0] * SIZE), [*ends(1.0), {"v": torch.zeros(2)}], ONE, delta=1)


@pytest.mark.parametrize("num_states", [2, 3])
def test_every_mean_is_that_of_the_definition(num_states):
    """Points, exits and noise of the same generator, laid out by hand; the exit is sought by halving."""
    generator = torch.Generator().manual_seed(num_states)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    sizes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    states = [
        {name: torch.randn(shape, generator=generator).double() for name, shape in sizes.items()}
        for _ in range(num_states)
    ]
    data = (torch.randn(20, 3, generator=generator).double(), torch.arange(20) % 2)
    delta, points, draws = 1.5, 7, 6
    found = basin(
        model, states, data, delta=delta, points=points, draws=draws, generator=generator.manual_seed(9)
    )

    def loss_at(vector):
        parts = torch.split(vector, [shape.numel() for shape in sizes.values()])
        state = {name: part.view(sizes[name]) for name, part in zip(sizes, parts, strict=True)}
        logits = torch.func.functional_call(copy.deepcopy(model), state, data[0])
        return float(nn.functional.cross_entropy(logits, data[1]))

    def on_the_simplex(count):
        drawn = -torch.log(1 - torch.rand(count, num_states, generator=generator, dtype=torch.float64))
        return drawn / drawn.sum(1, keepdim=True)

    generator.manual_seed(9)
    corners = torch.stack([torch.cat([tensor.flatten() for tensor in state.values()]) for state in states])
    size = corners.shape[1]
    if num_states == 2:  # one place in each part of the segment
        second = (
            np.arange(points) + torch.rand(points, generator=generator, dtype=torch.float64).numpy()
        ) / points
        places = torch.tensor(np.stack([1 - second, second], 1))
    else:
        places = on_the_simplex(points)
    inside = np.array([loss_at(factors @ corners) for factors in places])
    there, back = on_the_simplex(draws // 2), on_the_simplex(draws // 2)
    starts, throughs = [*there, *back], [*back, *there]
    parts = torch.rand(draws, generator=generator, dtype=torch.float64)
    shares = [(part + float(drawn)) / draws for part, drawn in enumerate(parts)]
    lengths = [delta * stats.halfnorm.ppf(shares[i]) for i in torch.randperm(draws, generator=generator)]
    noisy, farther = [], []
    for start, through, length in zip(starts, throughs, lengths, strict=True):
        near, far = 0.0, 1e6
        for _ in range(100):
            middle = (near + far) / 2
            is_in = bool((start + middle * (through - start) >= 0).all())
            near, far = (middle, far) if is_in else (near, middle)
        border = (start + near * (through - start)) @ corners
        noise = [
            torch.randn(shape, generator=generator, dtype=torch.float64).flatten() for shape in sizes.values()
        ]
        noisy.append(loss_at(border + delta / math.sqrt(size) * torch.cat(noise)))
        direction = border - start @ corners
        farther.append(loss_at(border + length * direction / direction.norm()))
    mu = inside.mean()
    assert found.mu == pytest.approx(mu, rel=1e-9)
    assert found.deviation == pytest.approx(np.abs(inside - mu).mean(), rel=1e-9)
    assert found.noise_loss == pytest.approx(np.mean(noisy), rel=1e-9)
    assert found.noise_loss_se == pytest.approx(np.std(noisy, ddof=1) / math.sqrt(draws), rel=1e-9)
    assert found.ray_loss == pytest.approx(np.mean(farther), rel=1e-9)
    assert found.largest_epsilon == pytest.approx((min(np.mean(noisy), np.mean(farther)) - mu) / 2, rel=1e-9)


class Landscape(nn.Module):
    """Cross entropy with label 0: a bump between -1 and 1 on the axis w_0, and a round valley around the axis."""

    def __init__(self, height, across):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(SIZE, dtype=torch.float64))
        self.register_buffer("steps", torch.tensor(0))
        self.height, self.across = height, across

    def forward(self, x):
        along = self.w[0]
        bump = self.height * torch.clamp(1 - along**2, min=0)
        beyond = torch.clamp(along.abs() - 1, min=0) ** 2
        loss = 0.2 + bump + self.across * (beyond + self.w[1:].square().sum())
        return torch.stack([0 * x[:, 0], torch.log(torch.expm1(loss)).expand(len(x))], 1)


@pytest.mark.parametrize(
    ("height", "across", "is_basin"),
    [
        (0.0, 3.0, True),  # a valley
        (0.3, 3.0, True),  # a bump of .3 nats: E|loss - mu| = .3 * 4 / (9 sqrt 3) = .08
        (0.6, 3.0, False),  # .15
        (3.0, 3.0, False),  # two valleys
        (3.0, 30.0, False),  # with walls far above the bump
        (0.0, 0.0, False),  # a plain
        (0.0, 0.1, False),  # walls of less than .2 nats
    ],
)
def test_only_a_flat_floor_between_walls_is_a_basin(height, across, is_basin):
    test = basin(Landscape(height, across), ends(-1.0, 1.0), ONE, delta=1.0, draws=12, points=40)
    assert test.is_basin == is_basin
    assert test.deviation == pytest.approx(height * 4 / (9 * math.sqrt(3)), rel=0.1, abs=1e-9)
    if (height, across) == (3.0, 30.0):
        assert test.deviation < test.largest_epsilon  # for some epsilon it is one: epsilon must be fixed


def test_spread_places_need_fewer_draws():
    """The spread of mu over 20 repetitions is below a third of that of independent places."""
    errors = []
    for seed in range(20):
        found = basin(
            Bowl([0.0] * SIZE),
            ends(-1.0, 1.0),
            ONE,
            delta=0.5,
            draws=2,
            points=12,
            generator=torch.Generator().manual_seed(seed),
        )
        errors.append((found.mu - 0.5 - 1 / 3, found.mu_se))
    off, expected = np.array(errors).T
    assert np.sqrt((off**2).mean()) < expected.mean() / 3


def test_numbers_are_spread_over_their_parts():
    generator = torch.Generator().manual_seed(0)
    numbers = one_in_each_part(50, generator)
    assert (numbers * 50).floor().tolist() == list(range(50))
    places = spread(50, 2, generator)
    assert ((places[:, 1] * 50).floor().tolist(), places.sum(1).tolist()) == (list(range(50)), [1.0] * 50)
    assert spread(5, 3, generator).shape == (5, 3)
