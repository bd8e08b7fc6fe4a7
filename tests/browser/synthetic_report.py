"""A made-up report with everything that can go wrong in one: gaps, NaNs, long names, hostile text."""

from __future__ import annotations

import math
from functools import cache

import altair as alt
import polars as pl
import torch
from made_findings import made_finding

from transferscope.analyses import theme as figures
from transferscope.analyses.claims import Claim, Finding, not_measured
from transferscope.analyses.contract import Advice, Gallery, Headline, Picture, PictureRow
from transferscope.core.tables import Column
from transferscope.data.inspect.thumbnail import png_thumbnail
from transferscope.report.page.content import (
    Answer,
    DrawnPanel,
    ReportContent,
    ReportTable,
    Section,
    Setting,
)

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;"
LONG = "a_target_with_a_very_long_name_" * 4
TARGETS = ("rendered digits", "symbols", LONG, HOSTILE)
ANALYSES = {
    "feature_reuse": "Feature reuse",
    "mistakes": "Mistakes",
    "feature_similarity": "Feature similarity",
    "parameter_distance": "Parameter distance",
    "barriers": "Barriers and basins",
    "criticality": "Module criticality",
    "checkpoints": "Which checkpoint",
}
GAPPY = "criticality"
NUM_ROWS = 400
NUM_PICTURES = 11
NUM_STRIPS = 3
"""Pictures that stand with the charts."""


def synthetic_content() -> ReportContent:
    """All seven analyses, 45 panels."""
    findings = [finding for name in ANALYSES for finding in _findings(name)]
    return ReportContent(
        title=f"Digits to symbols {HOSTILE}",
        description="Does a network trained on handwritten digits help on drawn symbols? " + HOSTILE,
        variant="quick " + HOSTILE,
        answer=Answer(
            paragraphs=[
                "Pre-training gave this network 6.2 points of accuracy on rendered digits, 2.1 on doodles; "
                "it got there in half the epochs. A third of the gain on rendered digits is left when the "
                "images are cut into 4-pixel blocks: low-level statistics carry part of it.",
                "Two networks fine-tuned from the same weights sit in one basin; two trained from scratch do "
                f"not. Nothing can be said about {LONG}.",
            ],
            headlines=[
                Headline(
                    value="+6.2 points", label="accuracy gained by P-T over RI-T", detail="rendered digits"
                ),
                Headline(value="33 %", label="of the gain left at 4-pixel blocks"),
                Headline(value="0.00 nats", label="barrier between two P-T", detail="RI-T & RI-T: 1.84"),
                Headline(value="0.42", label="distance ratio P-T & P-T over RI-T & RI-T", detail=HOSTILE),
            ],
            advice=[
                Advice(
                    text=f"Start from the pre-trained weights on {name}.",
                    numbers=f"Gain +6.2 points [+1.0, +9.0]. {HOSTILE}",
                    evidence=evidence,
                    why="the whole 95 % interval over 3 seeds lies on one side",
                    analysis="feature_reuse",
                )
                for name, evidence in zip(TARGETS, ("strong", "indirect", "hint", "open"), strict=True)
            ],
            summary=[
                f"Pre-training helped on rendered digits; it hurt on {LONG} and {HOSTILE}.",
                "With the images cut into shuffled blocks of 1 px, a gain is left in speed.",
            ],
            figures=[
                _panel(number, "bars", f"What the gain rests on {HOSTILE}", "Parts.") for number in (0, 1)
            ],
        ),
        findings=findings,
        sections=[_section(name, title) for name, title in ANALYSES.items()],
        study_yaml=f"name: digits\ntargets:\n  {LONG}:\n    data: symbols\n# {HOSTILE}\n"
        + "seeds: [0, 1, 2]\n" * 60,
        provenance={
            "command": "transferscope run studies/digits.yaml --variant quick --out results/digits",
            "versions": {"transferscope": "0.1.0", "torch": "2.12.1", "python": "3.11.7"},
            "hardware": {"device": "cpu", "cores": 2, "memory": None, "note": HOSTILE},
            "seeds": [0, 1, 2, 3, 4],
            "tasks": [
                {
                    "title": f"{kind} of {TARGETS[count % 4]}, seed {count}",
                    "kind": kind,
                    "seconds": 3.7**count if count else None,
                    "cached": not count,
                }
                for kind in ("pretrain", "train", "measure")
                for count in range(8)
            ],
        },
    )


def _section(name: str, title: str) -> Section:
    return Section(
        name=name,
        title=title,
        shows="How accurate a network becomes on images cut into ever smaller, shuffled blocks, from the "
        "pre-trained weights (`P-T`) and from a random initialization (`RI-T`).\n\nWhat is left of the gain "
        "at small blocks can't come from shapes.",
        how_to_read="Left is the unshuffled image, right single pixels. The band is a 95 % interval over "
        "seeds. Where the bands part, the seeds agree.",
        caveats="A permutation is drawn once for each data set: another one may shift the curve a little. "
        + HOSTILE,
        source="Neyshabur, Sedghi, Zhang 2020, section 3.1 and figure 3; Kornblith et al. 2019.",
        panels=[
            _panel(number, *kind)
            for number, kind in enumerate(_PANELS * 2)
            if number < (7 if name in ("feature_reuse", GAPPY, "barriers") else 6)
        ],
        galleries={"mistakes": [_gallery()], "feature_reuse": [_film_strip()]}.get(name, []),
        settings=[Setting(name="draws", value="1000", meaning=f"How many draws. {HOSTILE}")],
        tables=[_table(name), _small_table(f"{name}_summary")],
        findings=_findings(name),
        gap=f"2 of 14 tasks failed: loss is not finite in RI-T on {HOSTILE}, seed 3."
        if name == GAPPY
        else "",
    )


_PANELS = (
    ("lines", "Accuracy by block size: rendered digits", "P-T lies above RI-T at every block size."),
    ("heat", "Accuracy with one module put back", "The head loses most, the stem least."),
    ("bars", f"Uncommon mistakes: {LONG}", "Two P-T disagree least."),
    ("path", f"Loss along the path: {HOSTILE}", "Flat between two P-T, a hill in all other pairs."),
)


def _panel(number: int, chart: str, title: str, summary: str) -> DrawnPanel:
    return DrawnPanel(
        name=f"{chart}-{number}",
        title=title,
        summary=summary,
        svg=drawing(chart),
        group=HOSTILE if number in (1, 2) else "",
        secondary=number == 4,
    )


@cache
def drawing(name: str) -> str:
    """The SVG of one of the made-up charts."""
    return figures.draw({"lines": _lines, "heat": _heat, "bars": _bars, "path": _path}[name]())


def _lines() -> alt.LayerChart:
    rows = [
        {"size": size, "kind": kind, "mean": mean, "low": mean - 0.03, "high": mean + 0.02}
        for kind, top in (("P-T", 0.95), ("RI-T", 0.88))
        for step, size in enumerate((28, 14, 7, 4, 2, 1))
        for mean in [top - 0.02 * step**2 * (1.1 if kind == "P-T" else 1)]
    ]
    color = alt.Color("kind:N", title=None, scale=figures.color_scale(("P-T", "RI-T"), figures.KIND_COLORS))
    base = alt.Chart(pl.DataFrame(rows)).encode(
        x=alt.X("size:O", sort="descending", title="Block size (px)"), color=color
    )
    band = base.mark_area(opacity=0.2).encode(y=alt.Y("low:Q", scale=alt.Scale(zero=False)), y2="high:Q")
    line = base.mark_line(point=True).encode(y=alt.Y("mean:Q", title="Test accuracy"))
    return band + line


def _heat() -> alt.LayerChart:
    rows = [
        {"module": module, "alpha": step / 10, "accuracy": None if (depth, step) == (2, 3) else 0.95 - loss}
        for depth, module in enumerate(("stem", "stage1", "stage2", "stage3", "stage4", "head"))
        for step in range(11)
        for loss in [0.15 * depth * (1 - step / 10) ** 2]
    ]
    base = alt.Chart(pl.DataFrame(rows)).encode(
        x=alt.X("alpha:O", title="Place on the path (0 = init, 1 = final)"),
        y=alt.Y("module:N", title=None, sort=None),
    )
    return base.mark_rect().encode(color=alt.Color("accuracy:Q", title="Training accuracy")) + base.mark_text(
        text="×", color=figures.INK
    ).transform_filter("datum.accuracy === null")


def _bars() -> alt.Chart:
    pairs = [*figures.PAIR_COLORS, f"with {LONG}"]
    rows = pl.DataFrame({"pair": pairs, "mistakes": [0.021, 0.055, 0.061, 0.058, 0.12, 0.3, math.nan]})
    return (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("mistakes:Q", title="Share of test images that only one gets wrong"),
            y=alt.Y("pair:N", title=None, sort=None),
            color=alt.Color("pair:N", scale=figures.color_scale(pairs), legend=None),
        )
    )


def _path() -> alt.LayerChart:
    rows = [
        {"t": step / 10, "pair": pair, "loss": 0.2 + height * max(0.0, math.sin(math.pi * step / 10))}
        for pair, height in zip(figures.PAIR_COLORS, (0.02, 1.3, 1.8, 1.6, 0.1, 0.4), strict=True)
        for step in range(-2, 13)
    ]
    line = (
        alt.Chart(pl.DataFrame(rows))
        .mark_line()
        .encode(
            x=alt.X("t:Q", title="Place t on the path from A (0) to B (1)"),
            y=alt.Y("loss:Q", title="Test loss (nats)"),
            color=alt.Color("pair:N", title=None, scale=figures.color_scale(figures.PAIR_COLORS)),
            strokeDash=alt.StrokeDash("pair:N", title=None, scale=figures.dash_scale(figures.PAIR_COLORS)),
        )
    )
    ends = alt.Chart(pl.DataFrame({"t": [0, 1]})).mark_rule(strokeDash=[3, 3]).encode(x="t:Q")
    return line + ends


def _gallery() -> Gallery:
    """Pictures, one that isn't at hand, and a row without any."""
    pictures = [
        Picture(
            png=_png(number),
            alt=f"Test image {number}: {HOSTILE}",
            caption=[f"label {number}", f"P-T: {LONG} (99 %)", f"RI-T: {HOSTILE} (52 %)"],
        )
        for number in range(NUM_PICTURES)
    ]
    absent = Picture(png=None, alt="Test image 99: g", caption=["g", "P-T: q (80 %)", "RI-T: g (70 %)"])
    return Gallery(
        name=HOSTILE,
        title=f"{HOSTILE}: images that are got wrong",
        summary=f"The most confident mistakes come first. {HOSTILE}",
        rows=[
            PictureRow(title="Only P-T is wrong", pictures=[*pictures, absent]),
            PictureRow(title="Only RI-T is wrong", pictures=[], empty="No image."),
        ],
    )


def _film_strip() -> Gallery:
    """The same image in every column."""
    pictures = [
        Picture(png=_png(number), alt=f"Block size {number}: {HOSTILE}", caption=[HOSTILE])
        for number in range(NUM_STRIPS)
    ]
    return Gallery(
        name="strip",
        title=f"What the networks see of {HOSTILE}",
        summary="The first test image.",
        rows=[PictureRow(title=f"{number} px", pictures=[one]) for number, one in enumerate(pictures)],
        group=HOSTILE,
    )


def _png(number: int) -> bytes:
    image = torch.full((3, 32, 32), 20 * number, dtype=torch.uint8)
    return png_thumbnail(image)


def _table(name: str) -> ReportTable:
    rows = range(NUM_ROWS)
    frame = pl.DataFrame(
        {
            "target": [TARGETS[row % 4] for row in rows],
            "kind": [("P-T", "RI-T")[row % 2] for row in rows],
            "seed": [row % 5 for row in rows],
            "block_size_px": [(28, 14, 7, 4, 2, 1)[row % 6] for row in rows],
            "accuracy": [math.nan if row % 9 == 4 else 0.97 - (row * 37 % 100) / 300 for row in rows],
            "loss": [None if row % 11 == 7 else -(10 ** (row % 13 - 7)) * 1.2345 for row in rows],
            "converged": [row % 3 > 0 for row in rows],
            "which_weights_were_measured_and_where": ["best on the held-out split of the target"] * NUM_ROWS,
        },
        strict=False,
    )
    return ReportTable(name=name, columns=_columns(frame), frame=frame)


def _small_table(name: str) -> ReportTable:
    frame = pl.DataFrame({"target": list(TARGETS), "gain": [0.1, math.nan, -2.5, 12.0]})
    return ReportTable(name=name, columns=_columns(frame), frame=frame)


def _columns(frame: pl.DataFrame) -> list[Column]:
    dtypes = {pl.String: "str", pl.Int64: "int", pl.Float64: "float", pl.Boolean: "bool"}
    units = {"block_size_px": "px", "loss": "nats"}
    return [
        Column(name, dtypes[type(dtype)], f"What {name} means. {HOSTILE}", units.get(name, ""))
        for name, dtype in frame.schema.items()
    ]


def _findings(name: str) -> list[Finding]:
    claim = Claim(
        id=f"{name}.gain",
        analysis=name,
        statement="The gain from pre-training shrinks as the blocks shrink, most where the target looks like "
        "the source.",
        table="t",
        statistic="relative gain at the largest block less that at the smallest, mean over targets",
        threshold=0.0,
        reason="a gain that does not shrink would not depend on shapes",
        unit="of the unshuffled accuracy",
    )
    vague = Claim(
        id=f"{name}.speed",
        analysis=name,
        statement=f"Low-level statistics speed up the optimization on {HOSTILE}.",
        table="t",
        statistic="mean training accuracy of P-T less that of RI-T",
        threshold=0.05,
        side="below",
        reason="",
        unit="nats",
    )
    seen = {"num_seeds": 5, "num_images": 50000}
    low, high = {"mistakes": (-0.31, -0.0812), "barriers": (-0.12, 0.4)}.get(name, (0.0812, 0.31))
    verdict = "undecided" if low < 0 < high else "holds" if low > 0 else "does not hold"
    first = made_finding(claim=claim, verdict=verdict, effect=(low + high) / 2, low=low, high=high, **seen)
    if name == GAPPY:
        return [first, not_measured(vague, f"No seeds left: {HOSTILE}")]
    note = "2 seeds; at least 3 are needed to decide."
    nothing = made_finding(
        claim=vague,
        verdict="undecided",
        effect=-1.5,
        low=math.nan,
        high=math.nan,
        num_seeds=2,
        num_images=0,
        note=note,
    )
    return [first, nothing] if name in ("feature_reuse", "barriers") else [first]
