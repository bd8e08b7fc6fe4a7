"""Labels that are one-hot: taken for findings, and said to be looked at."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from rich.console import Console
from typer.testing import CliRunner

from transferscope.cli import app
from transferscope.cli.plan import show_plan
from transferscope.core.datasets import describe
from transferscope.data.sets.arrays import Options
from transferscope.execute.jobs import run_task
from transferscope.execute.store.local import Store
from transferscope.study.checks import label_notes
from transferscope.study.file import load_study
from transferscope.study.plan import plan

SAID = "every image has exactly one of the 3 labels"


def saved(path: Path, *, second: bool = False) -> Path:
    """Thirty images of three classes, one-hot; the last test image has a second finding where asked."""
    generator = np.random.default_rng(0)
    labels = np.eye(3, dtype=np.int64)[np.arange(30) % 3]
    test = labels[:12].copy()
    test[-1, 0] = second or test[-1, 0]
    images = generator.integers(0, 256, (42, 16, 16, 3), dtype=np.uint8)
    np.savez(path, train_images=images[:30], train_labels=labels, test_images=images[30:], test_labels=test)
    return path


@pytest.mark.parametrize("second", [False, True])
def test_one_hot_labels_are_said_before_anything_is_trained(tmp_path: Path, second: bool) -> None:
    path = saved(tmp_path / "labels.npz", second=second)
    about = describe(Options(path=path))
    assert about.multi_label
    assert about.one_finding_each is not second

    document = tiny.document("mistakes")
    document["targets"] = {"mine": {"data": {"dataset": "arrays", "path": str(path)}}}
    study = load_study(tiny.write(tmp_path / "study.yaml", document))
    notes = label_notes(study)
    assert (notes == []) is second
    assert all(note.startswith(f"mine: {SAID}") and "labels.argmax(axis=1)" in note for note in notes)
    printed = io.StringIO()
    show_plan(study, None, console=Console(file=printed, width=200))
    assert (SAID in printed.getvalue()) is not second

    command = ["data", "check", f"arrays:{path}", "--out", str(tmp_path / "sheet.png"), "--json"]
    checked = CliRunner().invoke(app, command)
    assert checked.exit_code == 0, checked.output
    (entry,) = json.loads(checked.stdout)["datasets"]
    assert any(note.startswith(SAID) for note in entry["notes"]) is not second

    store = Store(tmp_path / "store")
    (task,) = [task for task in plan(study).graph if task.title == "data mine"]
    run_task(task, store, torch.device("cpu"))
    assert any(note.startswith(SAID) for note in store.info(task.key).get("notes", ())) is not second
