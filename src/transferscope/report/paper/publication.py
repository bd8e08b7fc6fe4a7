"""Figures and tables for a paper, from the files of a drawn report."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import polars as pl

from transferscope.analyses.claims import Finding
from transferscope.report.page import numbers
from transferscope.report.page.outlines import with_outlines

Format = Literal["pdf", "png", "svg"]
FORMATS: tuple[Format, ...] = ("pdf", "png", "svg")
PAPER_SVG = ".paper.svg"
"""Ending of an SVG for a paper; the drawings of the report end in .svg."""

CM_PER_PX = 9.0 / 340
"""Size on paper: a panel of 340 px fits a column of 9 cm."""
PNG_PPI = 300
"""Pixels an inch, on paper."""
MAX_ROWS = 200
"""A longer table is data, not a table of a paper: it stays a CSV file."""

_SIZE = re.compile(r'<svg\b[^>]*?\bwidth="([\d.]+)" height="([\d.]+)"')
_SPECIAL: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "∞": r"$\infty$",
    "\u202f": r"\,",
}
_RAISED = re.compile(r"[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_LOWERED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def figure(svg: str, suffix: Format) -> bytes:
    """A drawing in the size of a paper's column, 9 cm for a panel.

    Args:
        svg: a drawing by `figures.draw`.
        suffix: pdf, with the fonts embedded and the text as text; png with 300 pixels an inch; or svg, with the
            text as paths (`outlines`).
    """
    import vl_convert

    points = CM_PER_PX * 72 / 2.54
    if suffix == "png":
        return vl_convert.svg_to_png(svg, scale=points, ppi=PNG_PPI)
    found = _SIZE.search(svg)
    if found is None:
        raise ValueError("a drawing without a size")
    width, height = (float(size) * points for size in found.groups())
    sized = found[0].replace(
        f'width="{found[1]}" height="{found[2]}"', f'width="{width:.2f}" height="{height:.2f}"'
    )
    if suffix == "svg":
        in_cm = found[0].replace(
            f'width="{found[1]}" height="{found[2]}"',
            f'width="{float(found[1]) * CM_PER_PX:.3f}cm" height="{float(found[2]) * CM_PER_PX:.3f}cm"',
        )
        return with_outlines(svg.replace(found[0], in_cm, 1)).encode()
    return vl_convert.svg_to_pdf(svg.replace(found[0], sized, 1))


def figures_in(folder: Path, formats: Sequence[Format]) -> Iterator[tuple[Path, bytes]]:
    """The files to write beside the drawings of a folder."""
    for path in sorted(folder.glob("*.svg")):
        for suffix in () if path.name.endswith(PAPER_SVG) else formats:
            ending = PAPER_SVG if suffix == "svg" else f".{suffix}"
            yield path.with_suffix(ending), figure(path.read_text(encoding="utf-8"), suffix)


def tables_in(folder: Path, findings: Sequence[Finding]) -> Iterator[tuple[Path, str]]:
    """LaTeX (package booktabs, and longtable for the data): claims.tex, and each table of at most 200 rows."""
    yield folder / "claims.tex", claims_table(findings)
    for path in sorted(folder.glob("*.parquet")):
        frame = pl.read_parquet(path)
        if frame.height <= MAX_ROWS:
            yield path.with_suffix(".tex"), data_table(frame)


def claims_table(findings: Sequence[Finding]) -> str:
    """Verdict and evidence, size, effect, 95 % interval, p and its adjusted value, one row a claim."""
    heads = ("Claim", "Verdict (evidence)", "Size", "Effect", "95 % interval", "$p$", "$p$ (Holm)", "Seeds")
    rows = []
    for finding in findings:
        effect, interval = numbers.effect(finding.effect, finding.low, finding.high, unit=finding.claim.unit)
        p_values = (numbers.number(p) for p in (finding.p_value, finding.p_adjusted))
        seeds = str(finding.num_seeds) if finding.num_seeds else numbers.NOT_AVAILABLE
        if finding.claim.unit and not math.isnan(finding.effect):
            effect = f"{effect} {finding.claim.unit}"
        cells = (
            finding.claim.statement,
            finding.standing,
            finding.size,
            effect,
            interval or "–",
            *p_values,
            seeds,
        )
        rows.append([latex(cell) for cell in cells])
    head = [heads[0], heads[1], heads[2], heads[3], latex(heads[4]), *heads[5:]]
    return _environment("tabular", "p{0.38\\linewidth}lllllll", head, rows)


def data_table(frame: pl.DataFrame) -> str:
    """All columns but pictures, numbers with three digits."""
    columns = [name for name, dtype in frame.schema.items() if dtype != pl.Binary]
    numeric = [frame.schema[name].is_numeric() for name in columns]
    rows = [[_cell(value) for value in row] for row in frame.select(columns).iter_rows()]
    layout = "".join("r" if is_number else "l" for is_number in numeric)
    return _environment("longtable", layout, [latex(name) for name in columns], rows)


def latex(text: str) -> str:
    """The text with nothing in it that LaTeX takes for a command."""
    escaped = "".join(_SPECIAL.get(character, character) for character in text)
    return _RAISED.sub(lambda match: f"$^{{{match[0].translate(_LOWERED)}}}$", escaped)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or isinstance(value, int | float):
        return latex(numbers.number(value))
    return latex(str(value))


def _environment(name: str, layout: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    end_of_head = ["\\endhead"] if name == "longtable" else []
    lines = [
        f"\\begin{{{name}}}{{{layout}}}",
        "\\toprule",
        f"{' & '.join(heads)} \\\\",
        "\\midrule",
        *end_of_head,
        *(f"{' & '.join(row)} \\\\" for row in rows),
        "\\bottomrule",
        f"\\end{{{name}}}",
    ]
    return "\n".join(lines) + "\n"
