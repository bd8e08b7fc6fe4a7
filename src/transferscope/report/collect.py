"""From stored rows to the tables of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from transferscope.analyses.contract import analysis_module
from transferscope.core.tables import Column
from transferscope.execute.store.artifacts import DTYPES
from transferscope.execute.store.local import Store
from transferscope.study.plan import Plan, PlannedCell


@dataclass(frozen=True, kw_only=True)
class AnalysisResult:
    """All rows of one analysis."""

    tables: Mapping[str, pl.DataFrame]
    """By name; the rows in the order of the cells. Empty, but with all columns, where nothing was measured."""
    columns: Mapping[str, tuple[Column, ...]]
    """The documentation of each table's columns, in order."""
    missing: tuple[PlannedCell, ...]
    """Cells that have no result."""

    def readable(self, table: str) -> tuple[tuple[Column, ...], pl.DataFrame]:
        """Columns and rows of a table without its pictures: what can be written as text."""
        columns = tuple(column for column in self.columns[table] if column.dtype != "png")
        return columns, self.tables[table].select([column.name for column in columns])


def collect(plan: Plan, store: Store) -> dict[str, AnalysisResult]:
    """The tables of every analysis of the plan, from what the store has."""
    keys = [planned.task_key for planned in plan.cells]
    store.fetch(keys)
    there = store.present(keys)
    return {name: _collect(name, plan, store, there) for name in plan.study.analyses}


def _collect(name: str, plan: Plan, store: Store, there: set[str]) -> AnalysisResult:
    module = analysis_module(name)
    cells = [planned for planned in plan.cells if planned.analysis == name]
    present = [planned for planned in cells if planned.task_key in there]
    columns = {table: (*module.KEYS, *own) for table, own in module.TABLES.items()}
    tables = {}
    for table, documented in columns.items():
        schema = {column.name: DTYPES[column.dtype] for column in documented}
        parts = [pl.DataFrame(schema=schema)]
        for planned in present:
            rows = pl.read_parquet(store.result(planned.task_key) / f"{table}.parquet")
            keys = [
                pl.lit(planned.cell.keys[column.name], DTYPES[column.dtype]).alias(column.name)
                for column in module.KEYS
            ]
            parts.append(rows.select(*keys, pl.all()))
        tables[table] = pl.concat(parts)
    summaries = getattr(module, "SUMMARIES", {})
    rows = module.summarize(tables) if summaries else {}
    for table, documented in summaries.items():
        schema = {column.name: DTYPES[column.dtype] for column in documented}
        columns[table] = tuple(documented)
        tables[table] = pl.DataFrame(rows[table], schema=schema)
    done = {id(planned) for planned in present}
    missing = tuple(planned for planned in cells if id(planned) not in done)
    return AnalysisResult(tables=tables, columns=columns, missing=missing)
