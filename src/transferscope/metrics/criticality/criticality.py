"""Module criticality: how far, and under how much noise, a module can be moved back towards its initialization."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import polars as pl
import torch
from torch import nn

from transferscope.core.errors import BadInput
from transferscope.metrics.criticality.module_path import ModulePath, module_paths
from transferscope.metrics.evaluation.evaluate import Data, Evaluation
from transferscope.metrics.evaluation.folding import TRIED_EXAMPLES, Folding
from transferscope.metrics.evaluation.forward_checks import check_forward
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses, first_level
from transferscope.metrics.evaluation.states import Modules, device_of
from transferscope.metrics.inputs.arguments import generator_of, real_number, real_numbers, whole_number
from transferscope.metrics.inputs.guard import guarded, lent
from transferscope.metrics.inputs.state_dicts import State

LARGEST_SIGMA = 1.0
"""Noise beyond it doesn't count for mu: its definition has 0 <= sigma <= 1."""
OK = "ok"
NONE_ADMISSIBLE = "no admissible cell"
UNMOVED = "unmoved"
NOT_A_NUMBER = "not a number"

CELL_COLUMNS = {
    "module": pl.String,
    "split": pl.String,
    "scale": pl.String,
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
    "mu_at_final": pl.Float64,
    "distance": pl.Float64,
    "num_parameters": pl.Int64,
    "alpha": pl.Float64,
    "sigma_absolute": pl.Float64,
    "status": pl.String,
}


@dataclass(frozen=True, kw_only=True)
class Criticality:
    """Criticality of each module and of the network."""

    cells: pl.DataFrame
    """The maps: one row per module, split, scale, alpha and sigma."""
    modules: pl.DataFrame
    """One row per module, in the order of the network."""
    network: float
    """Sum of the modules' mu; infinite where one is, NaN where one is."""
    status: str
    """"ok", or the reason why the sum is not finite, with the modules."""
    epsilon: float
    """Largest mean training loss that is admissible."""
    final: Mapping[str, Evaluation]
    """Evaluation of the final network on each split."""


@guarded
def module_criticality(
    model: nn.Module,
    init: State,
    final: State,
    data: Data,
    *,
    alphas: Sequence[float],
    sigmas: Sequence[float],
    relative_sigmas: Sequence[float] = (),
    test: Data | None = None,
    draws: int = 10,
    epsilon: float | None = None,
    tolerance: float = 0.1,
    relative_tolerance: float | None = None,
    modules: Modules | None = None,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
    fold: bool = False,
    shortened: bool = True,
) -> Criticality:
    """Criticality of each module on the direct path.

    Module i is set to (1 - alpha) init_i + alpha final_i + sigma * N(0, I), all others stay final:

        mu_i(epsilon) = min over alpha in [0, 1], sigma in (0, 1] of alpha^2 ||final_i - init_i||_F^2 / sigma^2
                        subject to mean over the noise of the training loss <= epsilon.

    The network's criticality is the sum. Source: the definition of module and network criticality in
    Chatterji, Neyshabur, Sedghi 2020; Neyshabur, Sedghi, Zhang 2020, on module criticality. The minimum is
    over the grid, with absolute and relative scales together; a finer grid can only lower mu. mu_i is 0 if
    alpha = 0 is admissible under some noise, and infinite if no cell is admissible. The condition uses the estimated
    mean, not an end of its interval.

    All cells of a module use the same draws of noise, for both scales and both splits. Noise and distance include only
    parameters. BatchNorm's running statistics move with alpha; integer buffers keep their final values. Passes start at
    the changed module if the result is the same (`RepeatedPasses`).

    Args:
        model: the architecture; it is the same afterwards, also after an exception.
        init, final: networks or state dicts; `init` needs only the tensors of the modules.
        data: training inputs (n, ...) and labels (n,) int64 or (n, k) float; mu is of these.
        alphas: places in [0, 1], 0 = init; in any order.
        sigmas: noise scales in the units of the weights, as in the papers; at least 0, in any order.
        relative_sigmas: noise scales in units of ||final_i - init_i||_F / sqrt(number of parameters of module
            i), so that they are comparable between modules: with 1, the noise is as long as the module's change.
        test: further examples for which to compute the same map.
        draws: number of noise draws for each cell with sigma > 0; use ten or more.
        epsilon: largest admissible mean loss, in nats; default: final training loss + `tolerance`, or the final
            training loss times (1 + `relative_tolerance`) if that is given.
        tolerance, relative_tolerance: see epsilon; in nats, and as a share of the final training loss.
        modules: module name -> prefixes of the names of its tensors, in the order of the network; default:
            the top-level children with parameters.
        batch_size: examples in one forward pass.
        generator: generator of the noise; default: seed 0.
        fold: fold BatchNorm into convolutions where possible (see `Folding`) and if both are in one child of the
            network. This is faster, and equal only up to rounding.
        shortened: start passes at the changed module if the result is bit-identical; False always makes complete
            passes.

    Returns:
        `cells` with columns module; split ("train" or "test"); scale ("absolute" or "relative"); alpha; sigma
        (in the scale's units); sigma_absolute (in the units of the weights); loss, loss_se (mean and standard
        error over the draws, in nats); metric, metric_se; draws (1 and errors 0 where sigma is 0; errors NaN
        with one draw).
        `modules` with columns module; mu; mu_at_final (the same with alpha = 1: what orders modules whose mu
        is 0; NaN where 1 isn't on the grid); distance (||final - init||_F); num_parameters; alpha,
        sigma_absolute (the cell where mu is reached; null where none); status ("ok"; "no admissible cell";
        "unmoved": distance 0, so mu is 0 where a cell is admissible; "not a number": mu is NaN because
        epsilon or the distance is).

    Raises:
        BadInput: grids out of range, states or modules that don't fit, data that don't match.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2))
    >>> final = {"0.weight": torch.tensor([[4.0], [0.0]]), "0.bias": torch.zeros(2)}
    >>> init = {"0.weight": torch.zeros(2, 1), "0.bias": torch.zeros(2)}
    >>> data = (torch.ones(1, 1), torch.tensor([0]))
    >>> found = module_criticality(net, init, final, data, alphas=[0, 0.5, 1], sigmas=[0, 0.1], epsilon=0.2)
    >>> found.modules.select("module", "mu", "alpha").row(0)  # 0.5^2 * 4^2 / 0.1^2
    ('0', 400.0, 0.5)
    """
    alphas, sigmas = real_numbers(alphas, "alphas"), real_numbers(sigmas, "sigmas")
    relative_sigmas = real_numbers(relative_sigmas, "relative_sigmas")
    tolerance = real_number(tolerance, "tolerance")
    if relative_tolerance is not None:
        relative_tolerance = real_number(relative_tolerance, "relative_tolerance")
    draws = whole_number(draws, "draws")
    _check_grids(alphas, sigmas, relative_sigmas, draws)
    passes = {"train": RepeatedPasses(model, data, batch_size, shortened=shortened)}
    if test is not None:
        passes["test"] = RepeatedPasses(model, test, batch_size, shortened=shortened)
    source = generator_of(generator)
    rows: list[dict[str, object]] = []
    with lent(model) as live, ExitStack() as stack:
        parts = module_paths(model, live, {"init": init}, final, modules)["init"]
        check_forward(model, data[0])
        if fold:
            # from here on, so that what is held was computed in the same way as what follows
            some = data[0][:TRIED_EXAMPLES].to(device_of(model))
            stack.enter_context(Folding(model, some, first_level(model)).folded())
        reference = {split: each.evaluate() for split, each in passes.items()}
        for part in parts:
            unit = part.distance / math.sqrt(part.num_parameters)
            scales = [("absolute", float(sigma), float(sigma)) for sigma in sigmas]
            scales += [("relative", float(sigma), float(sigma) * unit) for sigma in relative_sigmas]
            found = _map(
                part, alphas, [absolute for _, _, absolute in scales], draws, source, passes, reference
            )
            rows += [
                {
                    "module": part.name,
                    "split": split,
                    "scale": scale,
                    "alpha": float(alpha),
                    "sigma": sigma,
                    "sigma_absolute": absolute,
                    **_summary(found[float(alpha), absolute][split], noisy=absolute != 0),
                }
                for split in passes
                for scale, sigma, absolute in scales
                for alpha in alphas
            ]
    loss = reference["train"].loss
    limit = loss + tolerance if relative_tolerance is None else loss * (1 + relative_tolerance)
    if epsilon is not None:
        limit = real_number(epsilon, "epsilon")
    cells = pl.DataFrame(rows, schema=CELL_COLUMNS)
    on_train = cells.filter(split="train")
    table = pl.DataFrame([_mu(on_train, part, limit) for part in parts], schema=MODULE_COLUMNS)
    return Criticality(
        cells=cells,
        modules=table,
        network=math.fsum(table["mu"]),
        status=_network_status(table),
        epsilon=limit,
        final=reference,
    )


Outcomes = dict[str, list[tuple[float, float]]]
"""Split -> loss and metric of each draw."""


def _map(
    part: ModulePath,
    alphas: Sequence[float],
    sigmas: Sequence[float],
    draws: int,
    generator: torch.Generator,
    passes: Mapping[str, RepeatedPasses],
    reference: Mapping[str, Evaluation],
) -> dict[tuple[float, float], Outcomes]:
    """(alpha, absolute sigma) -> its outcomes; the module is final again at the end.

    The cell (1, 0), the final network, is the reference.
    """
    found: dict[tuple[float, float], Outcomes] = {
        (float(alpha), sigma): {split: [] for split in passes} for alpha in alphas for sigma in sigmas
    }
    for each in passes.values():
        each.stand_before(part.tensors)
    for draw in range(draws):
        noise = part.draw_noise(generator)
        for (alpha, sigma), outcomes in found.items():
            if sigma == 0 and draw > 0:
                continue
            is_final = alpha == 1 and sigma == 0
            if not is_final:
                part.place(alpha, sigma, noise)
            for split, each in passes.items():
                outcome = reference[split] if is_final else each.evaluate()
                outcomes[split].append((outcome.loss, outcome.metric))
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
        "alpha": None,
        "sigma_absolute": None,
    }
    # An unmoved module has mu 0 under any noise, and no noise at all at relative scales.
    cost = (
        pl.lit(0.0)
        if part.distance == 0
        else (pl.col("alpha") * part.distance / pl.col("sigma_absolute")) ** 2
    )
    counted = cells.filter(module=part.name).filter(
        (pl.col("sigma") > 0) & (pl.col("sigma_absolute") <= LARGEST_SIGMA)
    )
    # NaN compares as the largest number in Polars: a cell that can't be computed is not admissible.
    admissible = (
        counted.filter(pl.col("loss") <= limit)
        .select("alpha", "sigma_absolute", mu=cost)
        .sort("mu", "alpha", "sigma_absolute")
    )
    at_final = math.nan
    if 1.0 in cells["alpha"]:
        at_final = min(admissible.filter(pl.col("alpha") == 1)["mu"], default=math.inf)
    if math.isnan(limit) or (math.isnan(part.distance) and not admissible.is_empty()):
        return {**row, "mu": math.nan, "mu_at_final": math.nan, "status": NOT_A_NUMBER}
    if admissible.is_empty():
        return {**row, "mu": math.inf, "mu_at_final": at_final, "status": NONE_ADMISSIBLE}
    status = OK if part.distance else UNMOVED
    return {**row, **admissible.row(0, named=True), "mu_at_final": at_final, "status": status}


def _network_status(modules: pl.DataFrame) -> str:
    for reason in (NOT_A_NUMBER, NONE_ADMISSIBLE):
        names = modules.filter(status=reason)["module"].to_list()
        if names:
            return f"{reason}: {', '.join(names)}"
    return OK


def _check_grids(
    alphas: Sequence[float], sigmas: Sequence[float], relative_sigmas: Sequence[float], draws: int
) -> None:
    problems = []
    scales = [*sigmas, *relative_sigmas]
    if not alphas or not all(0 <= alpha <= 1 for alpha in alphas):
        problems.append(f"Expected alphas in [0, 1] (0 = init, 1 = final), got {list(alphas)}.")
    if not all(0 <= sigma < math.inf for sigma in scales) or not any(sigma > 0 for sigma in scales):
        problems.append(
            f"Expected noise scales of at least 0, one of them above, got {scales}; mu divides by them."
        )
    if draws < 1:
        problems.append(f"Expected at least one draw of noise, got {draws}.")
    if problems:
        raise BadInput(problems)
