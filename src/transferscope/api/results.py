"""Studies from Python and in notebooks: run one, open a finished one, look at what came out.

```python
import transferscope as ts

found = ts.run("study.yaml", out="runs/first")
found.findings
found.figures.of("barriers")
found.tables["barriers"]
```
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, overload

import yaml

from transferscope.analyses.claims import Finding
from transferscope.api.run import RunOptions, run_study
from transferscope.core.config import Study
from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.tables import html_table
from transferscope.report.console import marked
from transferscope.report.given_names import counted
from transferscope.study.file import load_study

if TYPE_CHECKING:
    import polars as pl


class Findings(Sequence[Finding]):
    """What a study says of the claims; in a notebook a table of those that were measured."""

    def __init__(self, findings: Sequence[Finding], over: str = "seed") -> None:
        self._findings, self._over = tuple(findings), over

    @overload
    def __getitem__(self, index: int) -> Finding: ...
    @overload
    def __getitem__(self, index: slice) -> Findings: ...
    def __getitem__(self, index: int | slice) -> Finding | Findings:
        return (
            Findings(self._findings[index], self._over) if isinstance(index, slice) else self._findings[index]
        )

    def __len__(self) -> int:
        return len(self._findings)

    def of(self, analysis: str) -> Findings:
        """Those that rest on one analysis."""
        return Findings([finding for finding in self if finding.claim.analysis == analysis], self._over)

    def _repr_html_(self) -> str:
        measured = [finding for finding in self if finding.is_measured]
        rows = [
            (
                finding.claim.statement,
                marked(finding),
                finding.size,
                f"{finding.effect:+.3g}" if math.isfinite(finding.effect) else "–",
                f"{finding.low:+.3g} to {finding.high:+.3g}" if math.isfinite(finding.low) else "–",
                finding.num_seeds,
            )
            for finding in measured
        ]
        left = len(self) - len(measured)
        caption = "Claims, and what this study says" + (
            f"; {left} more could not be measured" if left else ""
        )
        return html_table(
            rows,
            head=("claim", "verdict (evidence)", "size", "effect", "95 % interval", f"{self._over}s"),
            caption=caption,
        )


@dataclass(frozen=True)
class Figure:
    """One figure, as SVG; a notebook shows it."""

    name: str
    svg: str

    def _repr_html_(self) -> str:
        from transferscope.analyses.theme import with_ids

        # Names within a drawing are unique on a page only with the figure's own in front.
        return f'<div role="img" aria-label="{escape(self.name)}">{with_ids(self.svg, f"{self.name}-")}</div>'


class Figures(Mapping[str, Figure]):
    """The figures by name; in a notebook all of them, side by side."""

    def __init__(self, figures: Mapping[str, Figure]) -> None:
        self._figures = dict(figures)

    def __getitem__(self, name: str) -> Figure:
        if name not in self._figures:
            raise KeyError(f"no figure '{name}'.{did_you_mean(name, self._figures)}")
        return self._figures[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)

    def of(self, prefix: str) -> Figures:
        """Those whose names begin with this, as "barriers" or "barriers-metric"."""
        return Figures({name: figure for name, figure in self.items() if name.startswith(prefix)})

    def _repr_html_(self) -> str:
        drawn = "".join(figure._repr_html_() for figure in self.values())
        return f'<div style="display:flex;flex-wrap:wrap;gap:12px">{drawn}</div>'


@dataclass(frozen=True)
class Results:
    """What came out of a run; reads from its folder what is asked for."""

    folder: Path
    exit_code: int = 0
    """0, or 1 where a task failed; the report says which."""

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.folder / "report.html"

    @cached_property
    def study(self) -> Study:
        """The study as it was run, defaults included."""
        return load_study(self.folder / "study.yaml")

    @cached_property
    def tables(self) -> Mapping[str, pl.DataFrame]:
        """All tables by name, as in the folder `tables`."""
        import polars as pl

        return {
            path.stem: pl.read_parquet(path) for path in sorted((self.folder / "tables").glob("*.parquet"))
        }

    @property
    def networks(self) -> pl.DataFrame:
        """What each given network reaches on the test images, and what is suspicious about it.

        Raises:
            BadInput: the study trained its networks itself.
        """
        if "networks" not in self.tables:
            raise BadInput(
                f"{self.folder} has no table of given networks: its study trained them. See its tables instead."
            )
        return self.tables["networks"]

    @cached_property
    def findings(self) -> Findings:
        """What the study says of each claim."""
        from transferscope.report.workspace import read_findings

        found = read_findings((self.folder / "findings.json").read_text(encoding="utf-8"))
        # only looked at, not checked: what the study reads need not be on this machine
        document = yaml.safe_load((self.folder / "study.yaml").read_text(encoding="utf-8"))
        return Findings(found, counted(document.get("instances")))

    @cached_property
    def figures(self) -> Figures:
        """The report's figures by name, as in the folder `figures`."""
        paths = sorted((self.folder / "figures").glob("*.svg"))
        return Figures({path.stem: Figure(path.stem, path.read_text(encoding="utf-8")) for path in paths})

    def _repr_html_(self) -> str:
        failed = " Some tasks failed; the report says which." if self.exit_code else ""
        place = escape(str(self.report))
        return f'<p><a href="{place}">{place}</a>.{failed}</p>{self.findings._repr_html_()}'


def run(
    study: Study | str | Path,
    out: str | Path,
    *,
    overrides: Sequence[str] = (),
    variant: str | None = None,
    workers: int | None = 1,
    device: str = "auto",
    images: bool = True,
) -> Results:
    """Run a study and write its report; what is finished in the folder is not run again.

    Prints what each network of a study's `instances` reaches, before anything is measured on them.

    Args:
        study: a study, or its file.
        out: folder for results and report.
        overrides: "key=value" each, as `training.epochs=5`; of a study's file.
        variant: one of the file's variants.
        workers: processes; None for as many as cores. With more than one in a script, call this below
            `if __name__ == "__main__":`.
        device: "auto", "cpu" or "cuda".
        images: show test images in the report, and keep them in its tables.

    Returns:
        Tables, findings, figures, and where the report is; a notebook shows them.

    Raises:
        BadInput: the study or the folder can't be used; has all problems.

    >>> run("missing.yaml", out="unused")
    Traceback (most recent call last):
        ...
    transferscope.core.errors.BadInput: missing.yaml: no such file; `transferscope init FILE` writes one to start from
    """
    from rich.console import Console

    if isinstance(study, Study):
        if overrides or variant is not None:
            raise BadInput(
                "overrides and variant change a study's file; give its path, or load_study them in."
            )
        loaded = study
    else:
        loaded = load_study(study, overrides=overrides, variant=variant)
    options = RunOptions(out=Path(out), workers=workers, device=device, images=images, networks=True)
    return Results(options.out, run_study(loaded, options, Console(quiet=True)))


def open_run(folder: str | Path) -> Results:
    """The results of a run that is finished, wherever it was run.

    Args:
        folder: its --out folder.

    Returns:
        Tables, findings, figures, and where the report is; a notebook shows them.

    Raises:
        BadInput: no report was written there.

    >>> open_run("nowhere")
    Traceback (most recent call last):
        ...
    transferscope.core.errors.BadInput: nowhere holds no finished run: there is no findings.json. Name an --out folder.
    """
    found = Results(Path(folder))
    if not (found.folder / "findings.json").is_file():
        raise BadInput(f"{folder} holds no finished run: there is no findings.json. Name an --out folder.")
    return found
