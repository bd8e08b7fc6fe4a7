"""A training that is killed goes on from its last snapshot, and leaves what an undisturbed one does, to the bit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny

from transferscope.study.file import load_study
from transferscope.study.plan import plan

TIMEOUT_SECONDS = 300
EPOCHS = 16
RECIPES: dict[str, dict[str, Any]] = {
    "sgd": {
        "mixup": 0.7,
        "augmentation": "crop_and_flip",
        "best_by": "held_out",
        "held_out": 0.2,
        "accumulate": 2,
    },
    "adamw": {"optimizer": "adamw", "precision": "bf16", "augmentation": "affine", "schedule": "cosine"},
}


def study(folder: Path, name: str) -> Path:
    document = tiny.document("parameter_distance", seeds=[0])
    document["source"]["pretraining"] |= {"epochs": 1, "keep_epochs": []}
    document["targets"] = {"digits": document["targets"]["digits"]}
    rates = {"p_t": 0.01, "ri_t": 0.01}
    document["training"] |= {"epochs": EPOCHS, "keep_epochs": [3], "learning_rate": rates, **RECIPES[name]}
    return tiny.write(folder / "tiny.yaml", document)


def start(study_file: Path, out: Path, workers: int) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "transferscope",
        "run",
        str(study_file),
        "--out",
        str(out),
        "--device",
        "cpu",
    ]
    return subprocess.Popen(
        [*command, "--workers", str(workers)],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """The environment of a run that notes its progress after every epoch."""
    return {**os.environ, "TRANSFERSCOPE_SNAPSHOT_SECONDS": "0"}


def epochs_noted(out: Path) -> dict[str, int]:
    """How far each training under way is, by key."""
    found = {}
    for path in out.glob("store/resume/*/training.json"):
        try:
            found[path.parent.name] = json.loads(path.read_text())["facts"]["epoch"]
        except FileNotFoundError:  # it has just ended
            continue
    return found


def wait_for_epoch(out: Path, epoch: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not any(epoch <= noted < EPOCHS - 4 for noted in epochs_noted(out).values()):
        assert process.poll() is None, "it ended before its time"
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


def trainings(out: Path, keys: list[str]) -> dict[str, bytes]:
    """All files of the trainings' results, but for the note of when and how fast they were made."""
    files = [path for key in keys for path in (out / "store" / "objects" / key[:2] / key).iterdir()]
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes() for path in files if path.name != "done.json"
    }


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


@pytest.mark.parametrize("name", RECIPES)
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, name: str) -> None:
    study_file, out = study(tmp_path, name), tmp_path / "out"
    keys = [task.key for task in plan(load_study(study_file)).graph if task.kind == "train"]
    # a worker is killed: the run gives the task to another one, which goes on
    process = start(study_file, out, workers=2 if name == "sgd" else 1)
    wait_for_epoch(out, 4, process)
    if name == "sgd":
        for child in workers(process.pid):
            os.kill(child, signal.SIGKILL)
    else:  # the whole run is killed
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        process = start(study_file, out, workers=1)
    said, complained = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, said + complained
    assert "the training was stopped; it goes on after epoch" in said
    assert not list(out.glob("store/resume/*"))
    undisturbed = tiny.run(study_file, tmp_path / "undisturbed")
    assert trainings(out, keys) == trainings(undisturbed.out, keys)
    assert tables(out) == tables(undisturbed.out)
    noted = json.loads((out / "provenance.json").read_text())["tasks"]
    assert any("goes on after epoch" in note for task in noted for note in task.get("notes", ()))


def workers(pid: int) -> list[int]:
    """The workers of a run that are at a task: forks of a process that it has started."""
    return [worker for server in children(pid, b"forkserver") for worker in children(server, b"forkserver")]


def children(pid: int, command: bytes) -> list[int]:
    """Children of a process whose command line has these words."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in listed if command in Path(f"/proc/{child}/cmdline").read_bytes()]
