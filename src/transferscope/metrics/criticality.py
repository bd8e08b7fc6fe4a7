"""Module criticality: how far, and under how much noise, a module can be put back toward its init."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl
import torch
from torch import nn

from transferscope.errors import BadInput
from transferscope.metrics.evaluation import Data, Evaluation, check_data, evaluate
from transferscope.metrics.module_path import ModulePath, module_paths
from transferscope.metrics.states import Modules, State, borrowed

CELL_COLUMNS = {
    "module": pl.String,
    "alpha": pl.Float64,
    "sigma": pl.Float64,
    "sigma_absolute": pl.Float64,
    "loss": pl.Float64,
    "loss_se": pl.Float64,
    "metric": pl.Float64,
    "metric_se": pl.Float64,
    "draws": pl.Int64,
}
MODULE_COLUMNS = {
    "module": pl.String,
    "mu": pl.Float64,
    "distance": pl.Float64,
    "num_parameters": pl.Int64,
    "alpha": pl.Float64,
    "sigma": pl.Float64,
    "status": pl.String,
}


@dataclass(frozen=True, kw_only=True)
class Criticality:
    """Criticality of each module and of the network."""

    cells: pl.DataFrame
    """The map: one row a module, alpha and sigma."""
    modules: pl.DataFrame
    """One row a module, in the order of the network."""
    network: float
    """Sum of the modules' mu; infinite where one is."""
    epsilon: float
    """Largest mean loss that is admissible."""
    final_loss: float
    """Mean loss of the final network."""
    final_metric: float
    """Accuracy or mean AUC of the final network."""
    relative: bool
    """Whether sigma is given in units of the module's root mean square move."""


def module_criticality(
    model: nn.Module,
    init: State,
    final: State,
    data: Data,
    *,
    alphas: Sequence[float],
    sigmas: Sequence[float],
    draws: int = 10,
    epsilon: float | None = None,
    tolerance: float = 0.1,
    relative: bool = False,
    modules: Modules | None = None,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
) -> Criticality:
    """Criticality of each module on the direct path.

    Module i is set to (1 - alpha) init_i + alpha final_i + sigma * N(0, I), all others stay final:

        mu_i(epsilon) = min over alpha, sigma > 0 of alpha^2 ||final_i - init_i||_F^2 / sigma^2
                        subject to mean over the noise of the loss <= epsilon.

    The network's criticality is the sum. Source: the definition of module and network criticality in
    Chatterji, Neyshabur, Sedghi 2020; Neyshabur, Sedghi, Zhang 2020, on module criticality. The minimum is
    over the grid: a finer one can only lower mu. mu_i is 0 where alpha = 0 is admissible under some noise,
    and infinite where nothing is. The condition reads the estimated mean, not an end of its interval.

    The same draws of noise are used over a module's whole grid. Only parameters get noise and count in the
    distance; BatchNorm's running statistics move with alpha, integer buffers stay final.

    Args:
        model: the architecture; its own weights and modes are put back at the end, also after an exception.
        init, final: networks or state dicts; `init` needs the tensors of the modules alone.
        data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
        alphas: places in [0, 1], 0 = init; in any order.
        sigmas: noise scales, at least 0 and one above; in any order.
        draws: draws of the noise for each cell with sigma > 0. One says little; ten or more.
        epsilon: largest admissible mean loss, in nats; final loss + `tolerance` by default.
        tolerance: see epsilon, in nats.
        relative: sigma counts in units of ||final_i - init_i||_F / sqrt(number of parameters of module i), so
            that it is comparable between modules; in the units of the weights by default, as in the papers.
        modules: module name -> prefixes of the names of its tensors, in the order of the network; the
            top-level children with parameters by default.
        batch_size: examples in one forward pass.
        generator: of the noise; one with seed 0 by default.

    Returns:
        `cells` with columns module; alpha; sigma; sigma_absolute (in the units of the weights); loss, loss_se
        (mean and standard error over the draws, in nats); metric, metric_se; draws (1 and errors 0 where
        sigma is 0; errors NaN with one draw). `modules` with columns module; mu; distance
        (||final - init||_F); num_parameters; alpha, sigma (the cell where mu is reached; null where
        none); status ("ok", "no admissible cell", or "unmoved": distance 0, so mu is 0 where a cell is
        admissible).

    Raises:
        BadInput: grids out of range, states or modules that don't fit, data that don't go together.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2))
    >>> final = {"0.weight": torch.tensor([[4.0], [0.0]]), "0.bias": torch.zeros(2)}
    >>> init = {"0.weight": torch.zeros(2, 1), "0.bias": torch.zeros(2)}
    >>> data = (torch.ones(1, 1), torch.tensor([0]))
    >>> found = module_criticality(net, init, final, data, alphas=[0, 0.5, 1], sigmas=[0, 0.1], epsilon=0.2)
    >>> found.modules.select("module", "mu", "alpha").row(0)  # 0.5^2 * 4^2 / 0.1^2
    ('0', 400.0, 0.5)
    """
    _check_grids(alphas, sigmas, draws)
    check_data(data, batch_size)
    source = torch.Generator().manual_seed(0) if generator is None else generator
    rows: list[dict[str, object]] = []
    with borrowed(model) as live:
        parts = module_paths(model, live, init, final, modules)
        measure = partial(evaluate, model, data, batch_size)
        reference = measure()
        for part in parts:
            unit = part.distance / math.sqrt(part.num_parameters) if relative else 1.0
            scales = {float(sigma): float(sigma) * unit for sigma in sigmas}
            for (alpha, sigma), found in _map(part, alphas, scales, draws, source, measure).items():
                keys = {"module": part.name, "alpha": alpha, "sigma": sigma, "sigma_absolute": scales[sigma]}
                rows.append({**keys, **_summary(found, noisy=sigma > 0)})
    limit = reference.loss + tolerance if epsilon is None else float(epsilon)
    cells = pl.DataFrame(rows, schema=CELL_COLUMNS)
    table = pl.DataFrame([_mu(cells, part, limit) for part in parts], schema=MODULE_COLUMNS)
    return Criticality(
        cells=cells,
        modules=table,
        network=math.fsum(table["mu"]),
        epsilon=limit,
        final_loss=reference.loss,
        final_metric=reference.metric,
        relative=relative,
    )


def rewind(
    model: nn.Module,
    init: State,
    final: State,
    data: Data,
    *,
    modules: Modules | None = None,
    cumulative: bool = False,
    batch_size: int = 256,
) -> pl.DataFrame:
    """Loss and metric with modules put back to `init`, one at a time or from the bottom up to each.

    `init` may be any earlier checkpoint: a row for each checkpoint and module is the optimization path of
    Neyshabur, Sedghi, Zhang 2020. A module's buffers go back with its parameters.

    Args:
        model: the architecture; its own weights and modes are put back at the end, also after an exception.
        init, final: networks or state dicts; `init` needs the tensors of the modules alone.
        data: inputs (n, ...) and labels (n,) int64 or (n, k) float.
        modules: as for `module_criticality`; their order is the order from the bottom up.
        cumulative: put back all modules up to this one.
        batch_size: examples in one forward pass.

    Returns:
        One row a module. Columns: module; loss (in nats); metric; rise_loss (loss - loss of the final
        network); drop_metric (metric of the final network - metric). NaN where the network's output is.

    Raises:
        BadInput: states or modules that don't fit, data that don't go together.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2))
    >>> final = {"0.weight": torch.tensor([[4.0], [0.0]]), "0.bias": torch.zeros(2)}
    >>> init = {"0.weight": torch.tensor([[0.0], [4.0]]), "0.bias": torch.zeros(2)}
    >>> rewind(net, init, final, (torch.ones(1, 1), torch.tensor([0]))).select("module", "drop_metric").row(0)
    ('0', 1.0)
    """
    check_data(data, batch_size)
    rows = []
    with borrowed(model) as live:
        parts = module_paths(model, live, init, final, modules)
        reference = evaluate(model, data, batch_size)
        for part in parts:
            part.put_back()
            found = evaluate(model, data, batch_size)
            if not cumulative:
                part.finish()
            rows.append(
                {
                    "module": part.name,
                    "loss": found.loss,
                    "metric": found.metric,
                    "rise_loss": found.loss - reference.loss,
                    "drop_metric": reference.metric - found.metric,
                }
            )
    numbers = dict.fromkeys(("loss", "metric", "rise_loss", "drop_metric"), pl.Float64)
    return pl.DataFrame(rows, schema={"module": pl.String, **numbers})


def _map(
    part: ModulePath,
    alphas: Sequence[float],
    scales: Mapping[float, float],
    draws: int,
    generator: torch.Generator,
    measure: Callable[[], Evaluation],
) -> dict[tuple[float, float], list[tuple[float, float]]]:
    """(alpha, sigma) -> loss and metric of each draw; the module is final again at the end."""
    found: dict[tuple[float, float], list[tuple[float, float]]] = {
        (float(alpha), sigma): [] for alpha in alphas for sigma in scales
    }
    for draw in range(draws):
        noise = part.draw_noise(generator)
        for (alpha, sigma), values in found.items():
            if sigma == 0 and draw > 0:
                continue
            part.place(alpha, scales[sigma], noise)
            outcome = measure()
            values.append((outcome.loss, outcome.metric))
    part.finish()
    return found


def _summary(found: Sequence[tuple[float, float]], noisy: bool) -> dict[str, float | int]:
    """Mean and standard error over the draws."""
    values = torch.tensor(found, dtype=torch.float64)
    mean = values.mean(0).tolist()
    error = [0.0, 0.0]
    if noisy:
        error = (values.std(0) / math.sqrt(len(values))).tolist() if len(values) > 1 else [math.nan, math.nan]
    return {
        "loss": mean[0],
        "loss_se": error[0],
        "metric": mean[1],
        "metric_se": error[1],
        "draws": len(values),
    }


def _mu(cells: pl.DataFrame, part: ModulePath, limit: float) -> dict[str, object]:
    """The module's row: the admissible cell of least alpha^2 distance^2 / sigma^2."""
    row: dict[str, object] = {
        "module": part.name,
        "distance": part.distance,
        "num_parameters": part.num_parameters,
    }
    # NaN compares as the largest number in Polars: a cell that can't be computed is not admissible.
    cost = (
        pl.lit(0.0)
        if part.distance == 0
        else (pl.col("alpha") * part.distance / pl.col("sigma_absolute")) ** 2
    )
    admissible = (
        cells.filter(module=part.name)
        .filter((pl.col("sigma") > 0) & (pl.col("loss") <= limit))
        .select("alpha", "sigma", mu=cost)
        .sort("mu", "alpha", "sigma")
    )
    if admissible.is_empty():
        return {**row, "mu": math.inf, "alpha": None, "sigma": None, "status": "no admissible cell"}
    return {**row, **admissible.row(0, named=True), "status": "ok" if part.distance else "unmoved"}


def _check_grids(alphas: Sequence[float], sigmas: Sequence[float], draws: int) -> None:
    problems = []
    if not alphas or not all(0 <= alpha <= 1 for alpha in alphas):
        problems.append(f"Expected alphas in [0, 1] (0 = init, 1 = final), got {list(alphas)}.")
    if not all(0 <= sigma < math.inf for sigma in sigmas) or not any(sigma > 0 for sigma in sigmas):
        problems.append(
            f"Expected noise scales of at least 0, one of them above, got {list(sigmas)}; mu divides by them."
        )
    if draws < 1:
        problems.append(f"Expected at least one draw of noise, got {draws}.")
    if problems:
        raise BadInput(problems)
