"""Damage to stored results: found, named, computed again, and the same tables after."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import small_study
import tiny
from rich.console import Console
from tiny import TinyRun

from transferscope.cli.status import check_results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    folder = tmp_path_factory.mktemp("whole")
    return tiny.run(small_study.write(folder / "small.yaml"), folder / "out")


@pytest.mark.parametrize("damage", small_study.DAMAGES.values(), ids=list(small_study.DAMAGES))
def test_damage_to_every_result_is_found_named_and_mended(
    whole: TinyRun, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    out = shutil.copytree(whole.out, tmp_path / "out")
    for task in whole.plan.graph:
        for path in small_study.files_of(out, task):
            if path.name != "done.json":
                damage(path)
    small_study.forget(out, whole.plan.graph, "measure")
    again = tiny.run(whole.study_file, out)
    assert again.exit_code == 0
    for task in whole.plan.graph:
        assert task.kind == "measure" or f"{task.title}: {out}" in again.printed, "named by task and file"
    assert small_study.outcome(out) == small_study.outcome(whole.out)
    assert small_study.results(out) == small_study.results(whole.out)
    assert not list((out / "store" / "unfinished").iterdir())


def test_damage_that_shows_in_the_middle_of_a_run_costs_what_is_damaged(
    whole: TinyRun, tmp_path: Path
) -> None:
    out = shutil.copytree(whole.out, tmp_path / "out")
    train = next(task for task in whole.plan.graph if task.title.startswith("train P-T"))
    flipped = next(
        path for path in small_study.files_of(out, train) if path.name == "test_logits.safetensors"
    )
    small_study.flip(flipped)
    small_study.forget(out, whole.plan.graph, "measure")
    again = tiny.run(whole.study_file, out)
    assert f"damaged: the result of {train.title}: {flipped} has another checksum" in again.printed
    assert "2 tasks succeeded, 6 were cached, 0 failed, 0 not run" in again.printed
    assert small_study.outcome(out) == small_study.outcome(whole.out)


def test_what_was_drawn_from_damaged_rows_is_drawn_again(whole: TinyRun, tmp_path: Path) -> None:
    out = shutil.copytree(whole.out, tmp_path / "out")
    measure = next(task for task in whole.plan.graph if task.kind == "measure")
    small_study.flip(small_study.files_of(out, measure)[-1])
    small_study.empty(out / "findings.json")
    small_study.flip(out / "tables" / "mistakes.csv")
    again = tiny.run(whole.study_file, out)
    assert f"damaged: {measure.title}: " in again.printed
    assert "1 tasks succeeded, 7 were cached, 0 failed, 0 not run" in again.printed
    assert small_study.outcome(out) == small_study.outcome(whole.out)


def checked(out: Path) -> tuple[int, str]:
    printed = io.StringIO()
    code = check_results(out, console=Console(file=printed, width=200))
    return code, printed.getvalue()


def test_status_check_names_every_damaged_result_and_changes_nothing(whole: TinyRun, tmp_path: Path) -> None:
    out = shutil.copytree(whole.out, tmp_path / "out")
    total = len(whole.plan.graph)
    assert checked(out) == (0, f"{total} results looked at, 0 damaged\n")
    flipped = sorted((out / "store" / "objects").rglob("checkpoint-0.safetensors"))
    assert len(flipped) == 5
    for path in flipped:
        small_study.flip(path)
    before = small_study.results(out)
    code, printed = checked(out)
    assert code == 1
    assert all(f"{path} has another checksum" in printed for path in flipped)
    assert f"{total} results looked at, 5 damaged; transferscope run" in printed
    assert small_study.results(out) == before
