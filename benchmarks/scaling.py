"""How cost grows: CKA with models, layers and images; interpolation with pairs and alphas; the planner with tasks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.interpolation import _network, _states
from benchmarks.measure import Candidate, Case, Curve, Quantity, Result, Size, peak_memory, timed
from benchmarks.networks import ResNet, convolutions, images
from transferscope.metrics.landscape.path import paths
from transferscope.metrics.similarity.cka import cka
from transferscope.study.file import load_study
from transferscope.study.plan import plan
from transferscope.study.templates import embedded_study

JOB = "scaling"
NUM_TASKS = 10_000
PLANNER = "planner"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """Work of one kind at several sizes."""

    case: str
    against: str
    sizes: Sequence[int]
    work: Callable[[int], Any]
    """Prepares for a size, and gives what is measured."""
    statement: str = ""
    memory: bool = field(default=False)


def run(size: Size, rounds: int) -> Result:
    result = Result(curves=[_measured(growth, size, rounds) for growth in growths(size)])
    planner = next(curve for curve in result.curves if curve.case == PLANNER)
    large = [
        (tasks, seconds)
        for tasks, seconds in zip(planner.sizes, planner.wall_seconds, strict=True)
        if tasks >= NUM_TASKS
    ]
    if large:
        tasks, seconds = large[0]
        result.quantities.append(Quantity(case=PLANNER, what=f"{tasks:,.0f} tasks", value=seconds, unit="s"))
    return result


def cases(size: Size) -> Iterator[Case]:
    """For the measurement of memory in processes of their own."""
    for growth in growths(size):
        yield Case(
            name=growth.case,
            ours=[
                Candidate(name=str(each), run=lambda growth=growth, each=each: growth.work(each)())
                for each in growth.sizes
            ],
            peers=[],
            agree=lambda _: "",
        )


def growths(size: Size) -> list[Growth]:
    full = size == "full"
    n, steps = (256, 4) if full else (16, 2)
    return [
        Growth(
            case="CKA, 4 layers a model, all pairs",
            against="models",
            sizes=[2 * 2**i for i in range(steps)],
            work=lambda count: _cka(count, 4, n),
            statement="Passes grow with the models, pairs with their square.",
            memory=True,
        ),
        Growth(
            case="CKA of two models",
            against="layers",
            sizes=[2, 5, 10, 20] if full else [2, 4],
            work=lambda count: _cka(2, count, n),
            statement="The passes are the same; only Grams are added.",
            memory=True,
        ),
        Growth(
            case="CKA of two models, 4 layers",
            against="images",
            sizes=[n * 2**i for i in range(steps)],
            work=lambda count: _cka(2, 4, count),
            statement="Memory grows with the square of a batch, not with the images (which are in memory here).",
            memory=True,
        ),
        Growth(
            case="interpolation, 11 alphas",
            against="pairs",
            sizes=[1, 3, 6, 10] if full else [1, 3],
            work=lambda count: _paths(count, 11, n),
            statement="Each network itself is evaluated once.",
            memory=True,
        ),
        Growth(
            case="interpolation, one pair",
            against="alphas",
            sizes=[5, 11, 21, 41] if full else [3, 5],
            work=lambda count: _paths(1, count, n),
            statement="Memory holds the networks and one loss an image and alpha.",
            memory=True,
        ),
        Growth(
            case=PLANNER,
            against="tasks",
            sizes=[3, 6, 12, 20] if full else [2, 3],
            work=_plan,
        ),
    ]


def _measured(growth: Growth, size: Size, rounds: int) -> Curve:
    walls, cpus, sizes = [], [], []
    memory: list[float | None] = []
    works = [growth.work(each) for each in growth.sizes]
    found = [[timed(work) for work in works] for _ in range(rounds)]
    for place, each in enumerate(growth.sizes):
        # the planner says how many tasks a number of seeds gives
        sizes.append(float(found[0][place][0]) if growth.case == PLANNER else float(each))
        walls.append(statistics.median(turn[place][1] for turn in found))
        cpus.append(statistics.median(turn[place][2] for turn in found))
        is_measured = growth.memory and size == "full"
        memory.append(peak_memory(JOB, growth.case, str(each), size) if is_measured else None)
    half = len(sizes) // 2 - 1
    return Curve(
        case=growth.case,
        against=growth.against,
        sizes=sizes,
        wall_seconds=walls,
        cpu_seconds=cpus,
        memory_mb=memory,
        exponent=slope(sizes[max(0, half) :], cpus[max(0, half) :]),
        statement=growth.statement,
    )


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Of the line through the logarithms, by least squares.

    >>> round(slope([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    x, y = [math.log(size) for size in sizes], [math.log(max(value, 1e-9)) for value in seconds]
    middle_x, middle_y = statistics.fmean(x), statistics.fmean(y)
    return sum((a - middle_x) * (b - middle_y) for a, b in zip(x, y, strict=True)) / sum(
        (a - middle_x) ** 2 for a in x
    )


def _cka(num_models: int, num_layers: int, n: int) -> Callable[[], object]:
    models = {str(seed): ResNet(16, 10, large=False, seed=seed) for seed in range(num_models)}
    layers = convolutions(models["0"])[:num_layers]
    batches = list(images(n, 16).split(64))
    return lambda: cka(models, batches, layers=layers, permutations=0)


def _paths(num_pairs: int, num_alphas: int, n: int) -> Callable[[], object]:
    names = "abcde"[: next(k for k in range(2, 6) if k * (k - 1) // 2 >= num_pairs)]
    inputs = images(n, 32)
    states = _states(names, inputs[:64])
    alphas = torch.linspace(0, 1, num_alphas, dtype=torch.float64).tolist()
    data = (inputs, torch.arange(n) % 10)
    return lambda: paths(_network(0), states, data, alphas=alphas)


def _plan(num_seeds: int) -> Callable[[], int]:
    everywhere = [f"analyses.{name}.seeds=null" for name in ("barriers", "criticality", "feature_similarity")]
    everywhere += ["analyses.feature_reuse.shuffled_seeds=null", "analyses.barriers.best_targets=null"]
    study = load_study(embedded_study(), overrides=[f"seeds={num_seeds}", *everywhere])
    return lambda: len(plan(study).graph)
