"""The figures of the analysis of module criticality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from transferscope.analyses.contract import Panel
from transferscope.analyses.criticality.maps import maps, module_order, path
from transferscope.analyses.shared.bands import BAND, BAND_OPACITY, STROKE, over_pairs, with_band
from transferscope.analyses.theme import AXIS, CATEGORY_SHAPES, INK, KIND_COLORS, PANEL_WIDTH_PX, color_scale
from transferscope.core.instances import name_of

KINDS = ("P-T", "RI-T")
WHOLE = "none"
"""In the place of a module: nothing is rewound."""
NOTHING = "none"
"""What the empty set of modules is called."""
TRAINED = "as trained"
STATE_NAMES = {"init": "the init", "fresh draw": "a new random initialization"}


def criticality_panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target: what rewinding costs, what could be frozen, the maps of one seed, the epochs."""
    drawn = []
    for target in tables["criticality"]["target"].unique(maintain_order=True):
        part = {name: table.filter(pl.col("target") == target) for name, table in tables.items()}
        body = module_order(part["criticality"].filter(~pl.col("is_head")))
        drawn.append(_rewinding(part["criticality_rewinding"], target))
        drawn.append(_cumulative(part["criticality_rewinding"], target))
        drawn.append(_freezing(part["criticality_freezing"], body, target))
        drawn += maps(part["criticality_map"], target)
        drawn.append(path(part["criticality_path"], target))
        drawn.append(_training(part["criticality_training"], target))
    return drawn


def _with_whole(table: pl.DataFrame) -> pl.DataFrame:
    """The rows, and for each instance one for the final network with nothing rewound."""
    whole = table.unique(["kind", "seed", "to"], keep="first", maintain_order=True).with_columns(
        module=pl.lit(WHOLE), test_metric=pl.col("final_test_metric")
    )
    return pl.concat([whole, table])


def _listed(states: Sequence[str]) -> str:
    return " or to ".join(STATE_NAMES[to] for to in states)


def _colors() -> Any:
    return alt.Color("kind:N", scale=color_scale(KINDS, KIND_COLORS), title=None)


def _symbols() -> Any:
    """In the order of the colours, so that they have one legend."""
    return alt.Shape(
        "kind:N", scale=alt.Scale(domain=list(KINDS), range=list(CATEGORY_SHAPES[: len(KINDS)])), title=None
    )


def _rewinding(table: pl.DataFrame, target: str) -> Panel:
    alone = _with_whole(table.filter(~pl.col("together")))
    order = [WHOLE, *module_order(table)]
    states = alone["to"].unique(maintain_order=True).to_list()
    rows = []
    for to in states:
        is_last = to == states[-1]
        base = alt.Chart(
            alone.filter(pl.col("to") == to),
            width=PANEL_WIDTH_PX - 62,
            height=112,
            title=f"Rewound to {STATE_NAMES[to]}",
        ).encode(
            x=alt.X(
                "module:N",
                sort=order,
                title="module rewound" if is_last else None,
                axis=alt.Axis(labels=is_last, ticks=is_last),
            ),
            xOffset=alt.XOffset("kind:N", sort=list(KINDS)),
            color=_colors(),
        )
        y = alt.Y("test_metric:Q", title="test metric", scale=alt.Scale(domain=[0, 1]))
        mean = alt.Y("mean(test_metric):Q", title="test metric", scale=alt.Scale(domain=[0, 1]))
        within = with_band(over_pairs(base.data, ["module", "kind"], "test_metric"))
        ends = alt.Y("low:Q", title="test metric", scale=alt.Scale(domain=[0, 1]))
        strokes = base.mark_rule(color=INK, clip=True).encode(y=ends, y2="high:Q", color=alt.Undefined)
        strokes.data = within
        rows.append(
            alt.layer(
                base.mark_bar(opacity=0.55).encode(y=mean), strokes, base.mark_point(size=14).encode(y=y)
            )
        )
    return Panel(
        name=f"rewinding-{target}",
        title=f"{target}: one module rewound",
        chart=alt.vconcat(*rows, spacing=10),
        summary=f"Test metric on {target} with one module rewound to {_listed(states)}, and with none; a bar is "
        f"the mean, a point a seed, {STROKE}.",
    )


def _cumulative(table: pl.DataFrame, target: str) -> Panel:
    together = _with_whole(table.filter(pl.col("together")))
    order = [WHOLE, *module_order(table)]
    states = together["to"].unique(maintain_order=True).to_list()
    base = alt.Chart(together).encode(
        x=alt.X("module:N", sort=order, title="rewound up to and with"),
        color=_colors(),
    )
    dash = alt.StrokeDash("to:N", sort=states, title=None)
    scale = alt.Scale(domain=[0, 1])
    bands = base.mark_area(opacity=BAND_OPACITY, line=False, clip=True)
    bands.data = with_band(over_pairs(together, ["module", "kind", "to"], "test_metric"))
    chart = alt.layer(
        bands.encode(y=alt.Y("low:Q", title="test metric", scale=scale), y2="high:Q", detail="to:N"),
        base.mark_line().encode(
            y=alt.Y("mean(test_metric):Q", title="test metric", scale=scale), strokeDash=dash
        ),
        base.mark_point(size=24, opacity=0.7).encode(
            shape=_symbols(), y=alt.Y("test_metric:Q", title="test metric", scale=scale)
        ),
    )
    return Panel(
        name=f"cumulative-{target}",
        title=f"{target}: all modules up to one rewound",
        chart=chart,
        summary=f"Test metric on {target} with all modules from the bottom up to one rewound to "
        f"{_listed(states)}; a line is the mean, a point a seed, and {BAND}.",
    )


def _freezing(table: pl.DataFrame, order: Sequence[str], target: str) -> Panel:
    """A row a chosen set: which modules are in it, and what that does to the test metric."""
    chosen = table.filter(pl.col("chosen"))
    rows, cells = [], []
    for row in chosen.iter_rows(named=True):
        name = f"{name_of(row)}, {row['order']}"
        left = row["modules"].split(", ")
        ends = f"({_points(-row['test_drop_high'])} to {_points(-row['test_drop_low'])})"
        cost = NOTHING if left == [NOTHING] else f"{_points(-row['test_drop'])} {ends}"
        rows.append({"set": name, "cost": cost})
        cells += [
            {"set": name, "module": module, "state": row["kind"] if module in left else TRAINED}
            for module in order
        ]
    names = [row["set"] for row in rows]
    height = 17 * max(1, len(rows))
    y = alt.Y("set:N", sort=names, title=None)
    above = alt.Axis(
        orient="top",
        labelAngle=-45,
        labelAlign="left",
        labelBaseline="bottom",
        labelOverlap=False,
        ticks=False,
    )
    kinds = [kind for kind in KINDS if kind in chosen["kind"].unique()]
    matrix = (
        alt.Chart(pl.DataFrame(cells, schema=dict.fromkeys(("set", "module", "state"), pl.String)))
        .mark_rect(stroke=AXIS, strokeWidth=0.5)
        .encode(
            x=alt.X("module:N", sort=order, title=None, axis=above),
            y=y,
            color=alt.Color(
                "state:N",
                title="left at the init",
                scale=alt.Scale(
                    domain=[*kinds, TRAINED], range=[*(KIND_COLORS[kind] for kind in kinds), "transparent"]
                ),
                legend=alt.Legend(values=kinds),
            ),
        )
        .properties(width=min(24 * max(1, len(order)), 150), height=height)
    )
    costs = (
        alt.Chart(
            pl.DataFrame(rows, schema=dict.fromkeys(("set", "cost"), pl.String)),
            title=alt.TitleParams("points of test metric", fontSize=10, fontWeight="normal", anchor="start"),
        )
        .mark_text(align="left", fontSize=10, x=0)
        .encode(y=alt.Y("set:N", sort=names, axis=None), text="cost:N")
        .properties(width=100, height=height)
    )
    return Panel(
        name=f"freezing-{target}",
        title=f"{target}: what could be frozen",
        chart=alt.hconcat(matrix, costs, spacing=6),
        summary=_advice(chosen, target),
    )


def _points(change: float) -> str:
    return f"{round(100 * change, 1) + 0.0:+.1f}"  # no -0.0


def _advice(chosen: pl.DataFrame, target: str) -> str:
    """What can be left at the pre-trained values in every P-T, in words."""
    p_t = chosen.filter(pl.col("kind") == "P-T")
    limit = 100 * max(chosen["acceptable_drop"].to_list(), default=0.0)
    how = (
        f"The modules that can be left at their initial values together on {target} while the training metric drops "
        f"by at most {limit:g} points, and what all of them together do to the test metric (95 % interval over test "
        "images)."
    )
    if p_t.is_empty():
        return how
    sets = [set(row.split(", ")) - {NOTHING} for row in p_t["modules"]]
    first = p_t["modules"][0].split(", ")
    common = [name for name in first if all(name in each for each in sets)]
    if not common:
        return f"{how} No module is in the set of every P-T."
    return f"{how} In the set of every P-T: {', '.join(common)}."


def _training(table: pl.DataFrame, target: str) -> Panel:
    means = (
        table.filter(~pl.col("is_head"))
        .group_by("kind", "seed", "epoch", maintain_order=True)
        .agg(pl.col("test_drop").mean())
    )
    start = means.unique(["kind", "seed"], maintain_order=True).with_columns(
        epoch=pl.lit(0, pl.Int64), test_drop=pl.lit(0.0)
    )
    means = pl.concat([start, means])
    base = alt.Chart(means).encode(x=alt.X("epoch:Q", title="epoch"), color=_colors())
    bands = base.mark_area(opacity=BAND_OPACITY, line=False)
    bands.data = with_band(over_pairs(means, ["kind", "epoch"], "test_drop"))
    title = "drop, mean over modules"
    chart = alt.layer(
        bands.encode(y=alt.Y("low:Q", title=title), y2="high:Q"),
        base.mark_line().encode(y=alt.Y("mean(test_drop):Q", title=title)),
        base.mark_point(size=28, opacity=0.6).encode(shape=_symbols(), y=alt.Y("test_drop:Q", title=title)),
    )
    return Panel(
        name=f"training-{target}",
        title=f"{target}: criticality along training",
        chart=chart,
        summary=f"Drop of the test metric on {target} when one module of the network of an epoch is rewound to the "
        f"init, mean over all modules but the head; a line is the mean over seeds, a point a seed, and {BAND}.",
    )
