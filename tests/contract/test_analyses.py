"""What every analysis must keep to, whatever it measures."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from xml.etree import ElementTree

import polars as pl
import pytest
import tiny
import torch
from planted_studies import planted
from tiny import TinyRun

from transferscope.analyses.claims import Finding
from transferscope.analyses.contract import (
    ConfigProblem,
    Panel,
    Row,
    all_claims,
    analysis_module,
    analysis_names,
    measured_settings,
)
from transferscope.core.config import AnalysisConfig
from transferscope.core.options import Frozen
from transferscope.core.tables import Column
from transferscope.execute.store.artifacts import DTYPES, StoredCellData, StoredSubject, write_rows
from transferscope.report.collect import collect
from transferscope.study.plan import PlannedCell
from transferscope.study.task import Measurement

CLAIMS = all_claims()

NAMES = analysis_names()
Tables = Mapping[str, pl.DataFrame]
CPU = torch.device("cpu")

every = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="session")
def tables(tiny_run: TinyRun) -> dict[str, Tables]:
    return {name: result.tables for name, result in collect(tiny_run.plan, tiny_run.store).items()}


def telling_cells(tiny_run: TinyRun, name: str) -> list[PlannedCell]:
    """For each table the first cell that gives rows to it: cells of one analysis may measure different things."""
    cells = [planned for planned in tiny_run.plan.cells if planned.analysis == name]
    found: dict[str, PlannedCell] = {}
    for table in analysis_module(name).TABLES:
        giving = (
            planned
            for planned in cells
            if not pl.read_parquet(tiny_run.store.path(planned.task_key) / f"{table}.parquet").is_empty()
        )
        planned = next(giving, None)
        assert planned is not None, f"no cell gives rows to {table}"
        found[planned.task_key] = planned
    return list(found.values())


def test_they_are_imported_without_what_computes() -> None:
    script = "\n".join(
        [
            "import importlib, sys",
            *(f"importlib.import_module('transferscope.analyses.{name}')" for name in NAMES),
            "print(*sorted({'torch', 'polars', 'altair', 'scipy', 'sklearn'} & set(sys.modules)))",
        ]
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_each_has_a_place_of_its_own() -> None:
    modules = [analysis_module(name) for name in NAMES]
    assert len({module.ORDER for module in modules}) == len(modules)
    assert len({module.TITLE for module in modules}) == len(modules)
    table_names = [
        table for module in modules for table in (*module.TABLES, *getattr(module, "SUMMARIES", {}))
    ]
    assert len(set(table_names)) == len(table_names), "tables of all analyses lie in one folder"


@every
def test_it_has_all_that_the_report_and_the_planner_ask_for(name: str) -> None:
    module = analysis_module(name)
    assert module.__doc__
    for text in ("TITLE", "SHOWS", "HOW_TO_READ", "CAVEATS", "SOURCE"):
        assert isinstance(getattr(module, text), str), text
        assert getattr(module, text).strip(), text
    assert isinstance(module.ORDER, int)
    assert isinstance(module.VERSION, int)
    assert module.VERSION >= 1
    assert next(iter(module.TABLES)) == name, "the first table has the analysis's own name"
    signatures = {
        "check": ["study", "config"],
        "cells": ["study", "config"],
        "measure": ["subjects", "data", "settings", "generator"],
        "panels": ["tables"],
        "findings": ["tables", "study"],
    }
    for function, parameters in signatures.items():
        assert list(inspect.signature(getattr(module, function)).parameters) == parameters
        assert getattr(module, function).__doc__, f"{function} says what it does"


@every
def test_settings_decide_numbers_and_choose_no_cells(name: str) -> None:
    module = analysis_module(name)
    assert issubclass(module.Settings, Frozen)
    assert issubclass(module.Config, AnalysisConfig)
    assert issubclass(module.Config, module.Settings)
    assert not issubclass(module.Settings, AnalysisConfig)
    own = set(module.Settings.model_fields)
    assert not own & {*AnalysisConfig.model_fields, "across", "pretrain_epochs", "block_sizes_px"}
    module.Config()  # has defaults
    for model in (module.Settings, module.Config):
        for field, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{field} has no docstring"


@every
def test_its_columns_are_documented(name: str) -> None:
    module = analysis_module(name)
    documented = [[*module.KEYS, *own] for own in module.TABLES.values()]
    for columns in (*documented, *getattr(module, "SUMMARIES", {}).values()):
        assert all(isinstance(column, Column) for column in columns)
        names = [column.name for column in columns]
        assert len(set(names)) == len(names), names
        assert "target" in names
        for column in columns:
            assert column.name == column.name.lower()
            assert column.name.isidentifier()
            assert column.meaning
            assert not column.meaning.endswith(".")
            assert column.dtype in DTYPES


@every
def test_the_tiny_study_is_no_problem_to_it(name: str, tiny_run: TinyRun) -> None:
    study = tiny_run.plan.study
    assert list(analysis_module(name).check(study, study.analyses[name])) == []


@every
def test_its_cells_are_on_known_targets_with_their_keys(name: str, tiny_run: TinyRun) -> None:
    module, study = analysis_module(name), tiny_run.plan.study
    cells = list(module.cells(study, study.analyses[name]))
    assert cells
    seen = set()
    for cell in cells:
        assert set(cell.keys) == {column.name for column in module.KEYS}
        assert cell.keys["target"] in study.targets
        assert cell.data == study.targets[str(cell.keys["target"])].data
        assert cell.subjects
        assert cell.cost > 0
        for column in module.KEYS:
            value = cell.keys[column.name]
            assert value is None or isinstance(
                value, {"str": str, "int": int, "float": float, "bool": bool}[column.dtype]
            )
        seen.add((tuple(cell.keys.items()), tuple(cell.subjects)))
    assert len(seen) == len(cells), "no cell stands there twice"


@every
def test_the_choice_of_targets_and_seeds_is_followed(name: str, tiny_run: TinyRun) -> None:
    module, study = analysis_module(name), tiny_run.plan.study
    config = study.analyses[name].model_copy(update={"targets": ("scans",), "seeds": (1, 2)})
    for cell in module.cells(study, config):
        assert cell.keys["target"] == "scans"
        runs = [point.run for point in cell.subjects.values() if point.run.data == cell.data]
        # networks of a search have seeds of their own
        assert {run.seed for run in runs if not run.is_search} <= {1, 2}


def measured(tiny_run: TinyRun, planned: PlannedCell) -> Callable[[], dict[str, list[Row]]]:
    """A function that measures the cell again, always on the same subjects and data."""
    task = tiny_run.plan.graph[planned.task_key]
    assert isinstance(task.payload, Measurement)
    store, cell = tiny_run.store, planned.cell
    subjects = {
        role: StoredSubject(store.path(task.payload.run_keys[role]), point.run, point.epoch, CPU)
        for role, point in cell.subjects.items()
    }
    normalization = next(iter(cell.subjects.values())).run.normalization
    data = StoredCellData(store.path(task.inputs[0]), cell.view, normalization, CPU)
    module = analysis_module(planned.analysis)
    settings = measured_settings(planned.analysis, tiny_run.plan.study.analyses[planned.analysis])

    def measure() -> dict[str, list[Row]]:
        generator = torch.Generator().manual_seed(int(task.key[:15], 16))
        with torch.random.fork_rng(devices=[]):
            return module.measure(subjects, data, settings, generator)

    return measure


@every
def test_measuring_is_pure(name: str, tiny_run: TinyRun, tmp_path: Path) -> None:
    module = analysis_module(name)
    for planned in telling_cells(tiny_run, name):
        measure = measured(tiny_run, planned)
        torch.manual_seed(1)
        write_rows(tmp_path, module.TABLES, measure())
        first = {table: pl.read_parquet(tmp_path / f"{table}.parquet") for table in module.TABLES}
        torch.manual_seed(2)
        # on the same subjects: nothing may be changed in place
        write_rows(tmp_path, module.TABLES, measure())
        for table, rows in first.items():
            stored = pl.read_parquet(tiny_run.store.path(planned.task_key) / f"{table}.parquet")
            assert rows.equals(pl.read_parquet(tmp_path / f"{table}.parquet")), table
            assert rows.equals(stored), table


@every
def test_its_tables_are_as_documented(name: str, tables: dict[str, Tables]) -> None:
    module = analysis_module(name)
    documented = {table: (*module.KEYS, *own) for table, own in module.TABLES.items()}
    documented |= getattr(module, "SUMMARIES", {})
    assert list(tables[name]) == list(documented)
    for table, columns in documented.items():
        expected = {column.name: DTYPES[column.dtype] for column in columns}
        assert dict(tables[name][table].schema) == expected
        for column in columns:
            if column.unit == "0 to 1":
                values = tables[name][table][column.name].drop_nulls().drop_nans()
                assert values.is_between(0, 1).all(), column.name


@every
def test_its_panels_need_nothing_but_its_tables(
    name: str, tiny_run: TinyRun, tables: dict[str, Tables]
) -> None:
    panels = analysis_module(name).panels(tables[name])
    assert panels
    assert len({panel.name for panel in panels}) == len(panels)
    for panel in panels:
        assert isinstance(panel, Panel)
        assert panel.title
        assert panel.summary.endswith(".")
        svg = (tiny_run.out / "figures" / f"{name}-{panel.name}.svg").read_text()
        assert ElementTree.fromstring(svg).tag.endswith("svg")
    for table, rows in tables[name].items():
        assert pl.read_parquet(tiny_run.out / "tables" / f"{table}.parquet").equals(rows), (
            "drawn again, the same"
        )
    drawn = {path.name for path in (tiny_run.out / "figures").glob(f"{name}-*.svg")}
    assert drawn == {f"{name}-{panel.name}.svg" for panel in panels}


def part(tables: Tables, which: str) -> dict[str, pl.DataFrame]:
    """What may be left of the tables of a study that is small, or where tasks failed."""
    found = {}
    for table, rows in tables.items():
        columns = set(rows.columns)
        if which in ("only P-T", "only RI-T"):
            kinds = [pl.col(column) for column in ("pair", "kind") if column in columns]
            p_t = [kind.str.contains(r"(^|& )P-T") for kind in kinds]
            ri_t = [kind.str.contains("RI") for kind in kinds]
            keep = ~pl.any_horizontal(p_t if which == "only RI-T" else ri_t) if kinds else pl.lit(True)
        elif which in ("one seed", "two seeds"):
            seeds = [pl.col(column).fill_null(0) for column in columns if column.startswith("seed")]
            few = [seed < (1 if which == "one seed" else 2) for seed in seeds]
            keep = pl.all_horizontal(few) if few else pl.lit(True)
        else:
            keep = {"one target": pl.col("target") == "digits"}.get(which, pl.lit(which == "everything"))
        found[table] = rows.filter(keep)
    return found


@every
@pytest.mark.parametrize(
    "which", ["everything", "one target", "one seed", "two seeds", "only P-T", "only RI-T", "nothing"]
)
def test_it_finds_on_its_claims_whatever_is_left_of_its_tables(
    name: str, which: str, tiny_run: TinyRun, tables: dict[str, Tables]
) -> None:
    module = analysis_module(name)
    left = part(tables[name], which)
    findings = module.findings(left, tiny_run.plan.study)
    assert all(isinstance(finding, Finding) for finding in findings)
    claims = sorted(claim.id for claim in CLAIMS if claim.analysis == name)
    assert sorted(finding.claim.id for finding in findings) == claims
    for finding in findings:
        if which in ("one seed", "two seeds", "nothing"):
            assert finding.verdict == "undecided"
            assert finding.note
    drawn = which in (
        "one target",
        "one seed",
        "only P-T",
        "only RI-T",
    )  # the others leave what these or the whole do
    if drawn and not any(table.is_empty() for table in left.values()):
        assert all(panel.chart.to_dict() for panel in module.panels(left))


@every
def test_a_wrong_choice_is_said_with_its_key(name: str, tmp_path: Path) -> None:
    study = tiny.study(tmp_path)
    module = analysis_module(name)
    for key, value in getattr(planted(name), "WRONG_CHOICES", ()) if getattr(module, "CLAIMS", ()) else ():
        problems = list(module.check(study, study.analyses[name].model_copy(update={key: value})))
        assert problems, (key, value)
        for problem in problems:
            assert isinstance(problem, ConfigProblem)
            assert problem.key == key
            assert problem.message
