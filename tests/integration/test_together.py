"""One training by two processes: what one makes, up to the rounding of sums."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest
import tiny
from test_killed_training import (
    EPOCHS,
    TIMEOUT_SECONDS,
    children,
    environment,
    start,
    tables,
    trainings,
    wait_for_epoch,
    workers,
)

from transferscope.study.file import load_study
from transferscope.study.plan import plan

TOLERANCE = 2e-3
"""Of losses after all epochs in float32: rounding grows as the training goes on."""


def study(folder: Path, num_workers: int) -> Path:
    document = tiny.document("parameter_distance", seeds=[0])
    document["source"]["pretraining"] |= {"epochs": 1, "keep_epochs": []}
    document["targets"] = {"digits": document["targets"]["digits"]}
    rates = {"p_t": 0.01, "ri_t": 0.01}
    document["training"] |= {"epochs": EPOCHS, "keep_epochs": [3], "learning_rate": rates, "mixup": 0.7}
    document["training"] |= {"num_workers": num_workers}
    return tiny.write(folder / f"{num_workers}.yaml", document)


def train_keys(study_file: Path) -> list[str]:
    return [task.key for task in plan(load_study(study_file)).graph if task.kind == "train"]


def histories(out: Path, keys: list[str]) -> list[pl.DataFrame]:
    return [pl.read_parquet(out / "store" / "objects" / key[:2] / key / "history.parquet") for key in keys]


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run in which one of two processes was killed in the middle of a training: study and folder."""
    folder = tmp_path_factory.mktemp("together")
    study_file, out = study(folder, 2), folder / "out"
    process = start(study_file, out, workers=2)
    wait_for_epoch(out, 4, process)
    ours = [
        rank
        for worker in workers(process.pid)
        for rank in children(worker, b"transferscope.execute.one_rank")
    ]
    assert len(ours) >= 2, "of one training, or of both"
    for pid in ours[1::2]:
        os.kill(pid, signal.SIGKILL)
    said, complained = process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0, said + complained
    assert "the training was stopped; it goes on after epoch" in said
    assert not list(out.glob("store/resume/*"))
    return study_file, out


def test_two_processes_train_what_one_does(disturbed: tuple[Path, Path], tmp_path: Path) -> None:
    study_file, out = disturbed
    alone = study(tmp_path, 1)
    tiny.run(alone, tmp_path / "alone")
    ours, theirs = train_keys(study_file), train_keys(alone)
    assert [a == b for a, b in zip(ours, theirs, strict=True)] == [True, False, False], (
        "the pre-training is one's"
    )
    for found, expected in zip(histories(out, ours), histories(tmp_path / "alone", theirs), strict=True):
        for column in ("train_loss", "test_loss"):
            difference = (found[column] - expected[column]).abs().max()
            assert isinstance(difference, float)
            assert difference <= TOLERANCE


def test_torchrun_makes_the_same_bits_and_the_run_finds_them(
    disturbed: tuple[Path, Path], tmp_path: Path
) -> None:
    study_file, out = disturbed
    again = tmp_path / "again"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "transferscope.api.torchrun", str(study_file), "--out", str(again), "--device", "cpu"]
    own = {**environment(), "GLOO_SOCKET_IFNAME": "lo"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=own)
    assert ended.returncode == 0, ended.stderr
    assert "find_unused_parameters" not in ended.stderr
    assert "done: train P-T digits seed 0" in ended.stdout
    keys = train_keys(study_file)
    assert trainings(again, keys) == trainings(out, keys), "the one that was killed went on to the same bits"
    rest = tiny.run(study_file, again)
    assert rest.exit_code == 0
    assert "1 failed" not in rest.printed
    assert tables(again) == tables(out)


ON_RAY = """
import sys
from pathlib import Path

import ray
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

study_file, out, notes = sys.argv[1:]


def work():
    from transferscope.api.torchrun import train_study
    from transferscope.study.file import load_study

    train_study(load_study(Path(study_file)), Path(out), device="cpu")


ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
TorchTrainer(
    work,
    scaling_config=ScalingConfig(num_workers=2, use_gpu=False),
    run_config=RunConfig(storage_path=notes),
).fit()
"""


@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'transferscope[ray]'")
def test_ray_train_makes_the_same_bits(disturbed: tuple[Path, Path], tmp_path: Path) -> None:
    study_file, out = disturbed
    again, program = tmp_path / "again", tmp_path / "on_ray.py"
    program.write_text(ON_RAY)
    command = [sys.executable, str(program), str(study_file), str(again), str(tmp_path / "notes")]
    own = {**environment(), "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=own)
    assert ended.returncode == 0, ended.stderr
    keys = train_keys(study_file)
    # P's own training is one process's: it is not theirs to make
    assert trainings(again, keys[1:]) == trainings(out, keys[1:])
