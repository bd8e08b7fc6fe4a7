"""What criticality says on the first page: where in the network transfer sits, and what to leave frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transferscope.analyses.claims import SMALL_METRIC, Finding
from transferscope.analyses.contract import Advice, AdviceEvidence, FirstPage, Headline
from transferscope.analyses.findings import MIN_SEEDS, Estimate
from transferscope.analyses.shared.phrases import (
    counted,
    interval,
    listed,
    mean_estimate,
    points,
    rows_of,
    side,
    targets_of,
)

if TYPE_CHECKING:
    import polars as pl

WORTH_FREEZING = 0.2
"""Smallest share of the parameters whose freezing saves anything worth having."""


def headline(
    tables: Mapping[str, pl.DataFrame], findings: Sequence[Finding], beside: Mapping[str, str]
) -> FirstPage:
    """The modules that can be rewound to their pre-trained values, alone and together."""
    text, number = _place(tables)
    return FirstPage(
        paragraphs=[text], headlines=[] if number is None else [number], summary=[_in_short(tables)]
    )


@dataclass(frozen=True, kw_only=True)
class PutBack:
    """What rewinding each module of P-T to its pre-trained values costs, one at a time."""

    drops: Mapping[str, Estimate]
    """Test metric lost, in [-1, 1], by module from the bottom up."""

    @classmethod
    def of(cls, p_t: pl.DataFrame) -> PutBack:
        """From the rows of P-T without heads."""
        import polars as pl

        modules = p_t.sort("depth")["module"].unique(maintain_order=True).to_list()
        return cls(
            drops={name: mean_estimate(p_t.filter(pl.col("module") == name), "test_drop") for name in modules}
        )

    def where(self, sign: int) -> list[str]:
        """Modules whose whole interval lies below two points (-1) or above (1), or contains them (0)."""
        return [name for name, drop in self.drops.items() if side(drop, SMALL_METRIC) == sign]


def _place(tables: Mapping[str, pl.DataFrame]) -> tuple[str, Headline | None]:
    """The modules that can be rewound to their pre-trained values, alone and together."""
    import polars as pl

    table = rows_of(tables, "criticality", ~pl.col("is_head"))
    if table is None or table.filter(pl.col("kind") == "P-T").is_empty():
        return "", None
    p_t, ri_t = (table.filter(pl.col("kind") == kind) for kind in ("P-T", "RI-T"))
    single = PutBack.of(p_t)
    drop, modules = single.drops, list(single.drops)
    cheap, open_ = single.where(-1), single.where(0)
    costly = max(modules, key=lambda name: drop[name].effect)
    limit = points(SMALL_METRIC, signed=False).replace(".0", "")
    back = "rewinding one module of a fine-tuned network to its pre-trained values costs less than"
    if len(open_) == len(modules):
        text = f"Where it sits: whether {back} {limit} of the test metric is undecided for every module; "
    else:
        untold = listed([f"{name} at {_cost(drop[name])}" for name in open_])
        text = f"Where it sits: {back} {limit} of the test metric for {listed(cheap) if cheap else 'no module'}; "
        text += f"for {untold} that is undecided; " if open_ else ""
    text += f"the most costly is {costly}, {_cost(drop[costly])}. "
    text += _together(p_t, modules, limit)
    if not ri_t.is_empty():
        scratch = mean_estimate(ri_t, "test_drop")
        text += (
            "In a network trained from scratch, rewinding one module to its random values costs "
            f"{points(scratch.effect, signed=False)} {interval(scratch)} on average."
        )
    seeds = counted(p_t["seed"].n_unique(), "seed")
    return text.strip(), Headline(
        value=f"{len(cheap)}{f' to {len(cheap) + len(open_)}' if open_ else ''} of {len(modules)}",
        label="modules can be rewound to their pre-trained values",
        detail=f"one at a time, at less than {limit}; {seeds}"
        + (f"; {len(open_)} undecided" if open_ else ""),
    )


def _together(p_t: pl.DataFrame, modules: Sequence[str], limit: str) -> str:
    """Up to where the modules from the bottom on can be rewound together."""
    import polars as pl

    last, cost, tail = "", "", ""
    for name in modules:
        found = mean_estimate(p_t.filter(pl.col("module") == name), "test_drop_cumulative")
        told = side(found, SMALL_METRIC)
        if told >= 0:
            tail = f"; with {name} that is undecided, {_cost(found)}" if told == 0 else ""
            break
        last, cost = name, _cost(found)
    if last and (tail or last != modules[0]):
        return f"Everything up to {last} can be rewound together at {cost}{tail}. "
    if last:
        return f"From the bottom up only {last} can be rewound at less than {limit}. "
    if tail:
        return f"It is undecided whether modules from the bottom up can be rewound at less than {limit}. "
    return f"From the bottom up not even {modules[0]} can be rewound at less than {limit}. "


def _cost(found: Estimate) -> str:
    return f"{points(found.effect, signed=False)} {interval(found)}"


def _in_short(tables: Mapping[str, pl.DataFrame]) -> str:
    import polars as pl

    table = rows_of(tables, "criticality", ~pl.col("is_head") & (pl.col("kind") == "P-T"))
    if table is None:
        return ""
    single = PutBack.of(table)
    cheap, needed, open_ = (single.where(sign) for sign in (-1, 1, 0))
    cost = f"{100 * SMALL_METRIC:g} points of the test metric"
    mean = f"(mean over seeds, on {listed(targets_of(table))})"
    back = f"be rewound to its pre-trained values for less than {cost} {mean}"
    if len(cheap) == len(single.drops):
        return f"Any single module of a fine-tuned network can {back}."
    if len(needed) == len(single.drops):
        return f"No module of a fine-tuned network can {back}."
    if len(open_) == len(single.drops):
        return f"These seeds do not decide whether any single module of a fine-tuned network can {back}."
    each = "each of them" if len(needed) > 1 else "it"
    changed = f"Fine-tuning had to change {listed(needed)}: reset alone, {each} costs more."
    if not open_:
        return f"Any module but {listed(needed)} can alone {back}. {changed}"
    how_many = f"{listed(open_)} ({len(open_)} of {len(single.drops)} modules)"
    if not cheap:
        rest = f"These seeds do not decide whether {how_many} can {back}."
        return f"{rest} {changed}" if needed else rest
    who = f"Each of the modules {listed(cheap)}" if len(cheap) > 1 else f"Module {listed(cheap)}"
    rest = f"These seeds do not decide whether {how_many} can."
    return " ".join([f"{who} can alone {back}.", *([changed] if needed else []), rest])


def advice(tables: Mapping[str, pl.DataFrame]) -> Iterator[Advice]:
    """The modules from the bottom up that every P-T can keep, and what that costs on test images."""
    import polars as pl

    table = rows_of(tables, "criticality_freezing")
    if table is None:
        return
    rows = table.filter((pl.col("kind") == "P-T") & (pl.col("order") == "bottom up"))
    for target in targets_of(rows):
        own = rows.filter(pl.col("target") == target)
        text, numbers = _frozen(own, target)
        evidence: AdviceEvidence = "indirect"
        why = "judged by rewinding modules after training, not by training with them frozen"
        if (seeds := own["seed"].n_unique()) < MIN_SEEDS:
            text = f"Which modules of {target} to leave frozen is undecided with {counted(seeds, 'seed')}."
            evidence, why = "open", f"at least {MIN_SEEDS} seeds are needed"
        yield Advice(text=text, numbers=numbers, evidence=evidence, why=why, analysis="criticality")


def _frozen(own: pl.DataFrame, target: str) -> tuple[str, str]:
    """The advice on freezing for one target, and its evidence."""
    import polars as pl

    chosen = own.filter("chosen")
    seeds = own["seed"].n_unique()
    counts = chosen["num_modules"].to_list()
    if chosen.is_empty() or chosen["seed"].n_unique() < seeds:
        text = f"No set of modules of {target} can be left frozen in every one of {counted(seeds, 'seed')}."
        return text, ""
    count = min(counts)
    kept = own.filter(pl.col("num_modules") == count)
    limit = points(kept["acceptable_drop"][0], signed=False)
    if not count:
        return f"Leave no module of {target} frozen.", (
            f"Putting even the lowest back costs more than {limit} of the training metric in {counts.count(0)} of "
            f"{counted(seeds, 'seed')}."
        )
    drop = mean_estimate(kept, "test_drop")
    modules, share = _names(kept["modules"][0]), f"{100 * kept['share'][0]:.0f} % of the parameters"
    text = f"On {target}, leave {modules} frozen ({share})."
    if kept["share"][0] < WORTH_FREEZING:
        text = f"On {target}, freezing saves nothing: only {modules} can be left frozen, {share}."
    return text, (
        f"Back at their pre-trained values together, they cost at most {limit} of the training metric in every seed, "
        f"and {points(drop.effect, signed=False)} {interval(drop)} of the test metric."
    )


def _names(modules: str) -> str:
    return listed([name.strip() for name in modules.split(",")])
