"""Loggers get the numbers of the histories; one that fails never fails the run. MLflow and W&B where installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny

from transferscope.core.errors import BadInput
from transferscope.execute.progress import loggers
from transferscope.execute.progress.loggers import About, make_logger

TRAINING = "train P-T digits seed 0 (x), 12% abcd1234"


@pytest.fixture
def about(tmp_path: Path) -> About:
    return About(study="tiny [x]", variant=None, out=tmp_path, seeds=(0, 1))


def tell(logger: loggers.Logger) -> None:
    logger.epoch(TRAINING, 0, {"test_loss": 2.5})
    logger.epoch(TRAINING, 1, {"test_loss": 1.25, "train_loss": 2.0})
    logger.summary({"tasks_done": 3, "finding/one": -0.5})
    logger.close()


def events(folder: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Name of the training -> name of the number -> (step, value)."""
    from tensorboardX.proto.event_pb2 import Event

    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        numbers = found.setdefault(path.parent.name, {})
        while at < len(data):
            size = int.from_bytes(data[at : at + 8], "little")
            event = Event.FromString(data[at + 12 : at + 12 + size])
            for value in event.summary.value:
                numbers.setdefault(value.tag, []).append((event.step, value.simple_value))
            at += 16 + size
    return found


@pytest.mark.usefixtures("empty_figures")
def test_tensorboard_gets_the_numbers_and_conclusions_of_a_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed")
    from rich.console import Console

    from transferscope.api.run import RunOptions, run_study
    from transferscope.execute.store.local import Store
    from transferscope.study.plan import plan

    study = tiny.study(tmp_path, "mistakes", seeds=[0, 1])
    out, where = tmp_path / "out", tmp_path / "tb"
    options = RunOptions(out=out, workers=1, device="cpu", log=[f"tensorboard:{where}"], verbose=True)
    assert run_study(study, options, Console(quiet=True)) == 0
    found = events(where)
    trainings = [task for task in plan(study).graph if task.kind == "train"]
    assert len(found) == len(trainings) + 1
    for task in trainings:
        history = pl.read_parquet(Store(out / "store").path(task.key) / "history.parquet")
        (name,) = [name for name in found if name.endswith(task.key[:8])]
        for column in set(history.columns) - {"epoch"}:
            stored = [pair for pair in history.select("epoch", column).rows() if pair[1] is not None]
            assert [step for step, _ in found[name].get(column, [])] == [epoch for epoch, _ in stored]
            assert [value for _, value in found[name].get(column, [])] == pytest.approx(
                [v for _, v in stored]
            )
    assert found["summary"]["tasks_done"][-1][1] == len(plan(study).graph)
    assert not (out / "progress").exists()


@pytest.mark.filterwarnings("ignore")  # of what it is built on
def test_mlflow_gets_the_numbers(about: About) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    uri = f"sqlite:///{about.out / 'mlflow.db'}"
    tell(make_logger(f"mlflow:{uri}", about))
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(about.study)
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["finding/one"] == -0.5
    history = client.get_metric_history(run.info.run_id, "train P-T digits seed 0 -x- 12- abcd1234/test_loss")
    assert [(one.step, one.value) for one in history] == [(0, 2.5), (1, 1.25)]


@pytest.mark.filterwarnings("ignore")
def test_wandb_takes_the_numbers_offline(about: About, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="wandb is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    tell(make_logger("wandb:project", about))
    (written,) = (about.out / "wandb").glob("offline-run-*/run-*.wandb")
    content = written.read_bytes()
    assert b"test_loss" in content


class Fails:
    """Takes one epoch, and then nothing more."""

    def __init__(self) -> None:
        self.told = 0

    def epoch(self, training: str, epoch: int, numbers: Mapping[str, float]) -> None:
        self.told += 1
        if self.told == 2:
            raise ConnectionError("the server is gone")

    def summary(self, numbers: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


def test_a_logger_that_fails_is_said_once_and_the_run_ends_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    from rich.console import Console

    from transferscope.api.run import RunOptions, run_study

    logger = Fails()
    monkeypatch.setattr(loggers, "make_logger", lambda *_: logger)
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    study = tiny.study(
        tmp_path, "mistakes", seeds=[0, 1], targets={"digits": tiny.document()["targets"]["digits"]}
    )
    out, log = tmp_path / "out", ["mlflow:http://127.0.0.1:9"]
    assert run_study(study, RunOptions(out=out, workers=1, device="cpu", log=log), console) == 0
    said = "--log mlflow:http://127.0.0.1:9 failed, and the run goes on without it: ConnectionError: the server is gone"
    assert printed.getvalue().count("the run goes on without it") == 1
    assert said in printed.getvalue()
    assert logger.told == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "tensorbord:x",
            "unknown. Did you mean 'tensorboard'? Valid: tensorboard:DIR, mlflow:URI, wandb:PROJECT.",
        ),
        ("mlflow", "say where, as in mlflow:URI."),
        ("wandb:", "say where, as in wandb:PROJECT."),
    ],
)
def test_a_logger_that_there_is_not_is_told(text: str, said: str, about: About) -> None:
    with pytest.raises(BadInput, match="--log") as caught:
        make_logger(text, about)
    assert said in str(caught.value)


def test_an_extra_that_is_missing_is_told(about: About, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.delitem(sys.modules, "transferscope.execute.progress.to_tensorboard", raising=False)
    with pytest.raises(BadInput, match=r"pip install 'transferscope\[tensorboard\]'"):
        make_logger("tensorboard:x", about)


def test_the_core_imports_no_logger() -> None:
    code = (
        "import sys, transferscope.execute.progress.loggers, transferscope.api.run\n"
        "assert not {'tensorboardX', 'mlflow', 'wandb'} & set(sys.modules)\n"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
