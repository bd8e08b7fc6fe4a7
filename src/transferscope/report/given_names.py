"""Replace the numbers of given networks by the user's names in tables, figures and sentences.

Analyses number such networks as they number seeds, and that number is what intervals are computed over. Readers know
the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from transferscope.analyses.claims import Finding
from transferscope.core.config import Study
from transferscope.core.instances import NAME_COLUMN, NAME_COLUMNS, given_names
from transferscope.core.tables import Column
from transferscope.report.page.content import Answer

if TYPE_CHECKING:
    import polars as pl

    # it imports torch, which a rerun of a finished study does without
    from transferscope.report.collect import AnalysisResult

_SEED = re.compile(r"\b(s|S)eed(s?)\b")
_MEANING = "Name of the network, as it was given"


def with_given_names(results: Mapping[str, AnalysisResult], study: Study) -> dict[str, AnalysisResult]:
    """The results with the user's names; a table that has only kind and number gets a column `instance` for them."""
    names = given_names(study)
    return {analysis: _named(result, names) if names else result for analysis, result in results.items()}


def _named(result: AnalysisResult, names: Mapping[str, str]) -> AnalysisResult:
    tables, columns = {}, {}
    for name, table in result.tables.items():
        tables[name], columns[name] = _with_names(table, result.columns[name], names)
    return replace(result, tables=tables, columns=columns)


def _with_names(
    table: pl.DataFrame, columns: tuple[Column, ...], names: Mapping[str, str]
) -> tuple[pl.DataFrame, tuple[Column, ...]]:
    import polars as pl

    there = [column for column in NAME_COLUMNS if column in table.columns]
    if not there and {"kind", "seed"} <= set(table.columns):
        name = pl.concat_str("kind", pl.lit(" "), pl.col("seed").cast(pl.String)).alias(NAME_COLUMN)
        place = [column.name for column in columns].index("seed") + 1
        table = table.insert_column(place, table.select(name).to_series())
        columns = (*columns[:place], Column(NAME_COLUMN, "str", _MEANING), *columns[place:])
        there = [NAME_COLUMN]
    table = table.with_columns(pl.col(there).replace(dict(names)))
    return table, tuple(
        replace(column, meaning=column.meaning.replace("kind and seed", "name as given"))
        if column.name in there
        else replace(column, meaning="Number of the network, from 0, in the order given")
        if column.name.startswith("seed")
        else column
        for column in columns
    )


def counted(instances: Collection[str] | None) -> Literal["seed", "network"]:
    """The unit that intervals are computed over: "seed", or "network" if networks were given."""
    return "seed" if instances is None else "network"


def in_words_of(instances: Collection[str] | None, targets: Collection[str]) -> Callable[[str], str]:
    """Returns a function that fits sentences to the study: given networks have no seeds, and each counts as one.

    The user's own names in a sentence stay as they are.

    Args:
        instances: names of the networks that were given; None where the study trains its own.
        targets: names of its targets.
    """
    if instances is None:
        return lambda text: text
    own = sorted({*instances, *targets}, key=len, reverse=True)
    pattern = re.compile("|".join((*(rf"(?<!\w){re.escape(name)}(?!\w)" for name in own), _SEED.pattern)))

    def fitted(found: re.Match[str]) -> str:
        if found[1] is None:
            return found[0]
        return f"{'n' if found[1] == 's' else 'N'}etwork{found[2]}"

    return lambda text: pattern.sub(fitted, text)


def finding_in_words(finding: Finding, fitted: Callable[[str], str]) -> Finding:
    """The finding with its sentences as `in_words_of` makes them."""
    claim = replace(finding.claim, statistic=fitted(finding.claim.statistic))
    return replace(finding, claim=claim, note=fitted(finding.note), over=fitted(finding.over))


def answer_in_words(answer: Answer, fitted: Callable[[str], str]) -> Answer:
    """The answer with its sentences as `in_words_of` makes them."""
    return replace(
        answer,
        paragraphs=[fitted(text) for text in answer.paragraphs],
        summary=[fitted(text) for text in answer.summary],
        headlines=[replace(one, detail=fitted(one.detail)) for one in answer.headlines],
        advice=[
            replace(one, **{name: fitted(getattr(one, name)) for name in ("text", "evidence", "why")})
            for one in answer.advice
        ],
    )
