"""The first page of made-up tables."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import polars as pl

from transferscope.analyses.claims import Finding
from transferscope.analyses.contract import Advice, Panel
from transferscope.report.answer import answer
from transferscope.report.page.content import Answer

Tables = dict[str, dict[str, pl.DataFrame]]
SPREAD = (-0.01, 0.0, 0.01, 0.005, -0.005)
"""What seeds add to a number."""


def frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, infer_schema_length=None)


def on_page(
    tables: Tables, seeds: int = 3, findings: Sequence[Finding] = (), failed: Sequence[str] = ()
) -> Answer:
    """The first page; its figures are left as panels."""
    study: Any = SimpleNamespace(seeds=tuple(range(seeds)), instances=None, analyses={})
    return answer(study, tables, findings, draw=lambda panel: cast("Any", panel), failed=failed)


def figures(tables: Tables) -> list[Panel]:
    return cast("list[Panel]", list(on_page(tables).figures))


def said(item: Advice) -> str:
    return f"{item.text} {item.numbers}"


def advice(tables: Tables) -> list[str]:
    return [said(item) for item in on_page(tables).advice]


def text_of(tables: Tables, **options: Any) -> str:
    return " ".join(on_page(tables, **options).paragraphs)
