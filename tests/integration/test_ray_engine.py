"""The Ray engine gives the tables of the local one, also when a worker or a node is killed.

Needs Ray (`pip install 'transferscope[ray]'`); skipped without it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from rich.console import Console
from tiny import TinyRun

from transferscope.api.run import RunOptions, run_study
from transferscope.core.errors import BadInput
from transferscope.core.options import DatasetOptions
from transferscope.execute import ray as ray_engine
from transferscope.execute.events import Event
from transferscope.execute.store.local import Store
from transferscope.execute.store.remote import CACHE_VARIABLE
from transferscope.execute.store.remote_folder import StoreUnreachable
from transferscope.study.file import load_study
from transferscope.study.plan import plan
from transferscope.study.task import Task

pytest.importorskip("ray", reason="Ray is not installed: pip install 'transferscope[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

TIMEOUT_SECONDS = 120
RESULTS = "store/objects/*/*/done.json"
TOKEN = "not-to-be-seen-anywhere-0123456789abcdef"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A part of the tiny study, run by the local engine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    document = tiny.document("feature_reuse", "mistakes", seeds=[0, 1])
    document["targets"] = {"digits": document["targets"]["digits"]}
    document["training"]["epochs"] = 6  # long enough to be killed
    return tiny.run(tiny.write(folder / "tiny.yaml", document), folder / "out")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A node of one CPU and what it takes for a GPU; a token of a cluster is in the environment of all."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", TOKEN)
        resources = {"num_cpus": 1, "num_gpus": 1, "include_dashboard": False}
        head = tmp_path_factory.mktemp("head")
        made = Cluster(
            initialize_head=True, head_node_args={**resources, "env_vars": {CACHE_VARIABLE: str(head)}}
        )
        made.caches = [head]
        try:
            yield made
        finally:
            made.shutdown()


@pytest.fixture
def second(cluster: Any, tmp_path: Path) -> Iterator[Any]:
    """A second node of one CPU, with a folder for results of its own."""
    cache = tmp_path / "second"
    node = cluster.add_node(num_cpus=1, env_vars={CACHE_VARIABLE: str(cache)})
    cluster.caches.append(cache)
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)
    cluster.caches.pop()


def run_on(cluster: Any, run: TinyRun, out: Path, url: str | None = None) -> int:
    study = load_study(run.study_file)
    options = RunOptions(out=out, device="cpu", engine="ray", address=cluster.address, store=url)
    return run_study(study, options, Console(quiet=True))


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


def after(count: int, place: Path, pattern: str, act: Any) -> threading.Thread:
    """Act once so many files of a pattern are there."""

    def watch() -> None:
        end = time.monotonic() + TIMEOUT_SECONDS
        while sum(1 for _ in place.glob(pattern)) < count and time.monotonic() < end:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def ray_tasks(cluster: Any) -> list[int]:
    """Processes of the cluster that compute a task of ours, by Ray's name for them."""
    raylets = {
        str(started.process.pid)
        for node in cluster.list_all_nodes()
        for started in node.all_processes["raylet"]
    }
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().split(b"\0")[0]
            parent = (folder / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        ours = parent in raylets  # another cluster's may run on this machine as well
        if ours and name.startswith((b"ray::train", b"ray::pre-train", b"ray::feature_reuse")):
            found.append(int(folder.name))
    return found


def interrupted(
    command: list[str], begun: str, count: int, wait: Callable[[], None] = lambda: None
) -> tuple[int, str, float]:
    """Press Ctrl-C so often once a line has been printed; exit code, all that was printed, seconds it took to end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "transferscope", *command],
        start_new_session=True,  # as a terminal does: the signal goes to all processes of the group
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"},
    )
    assert process.stdout is not None
    try:
        printed = ""
        while begun not in printed:
            line = process.stdout.readline()
            assert line, printed
            printed += line
        wait()
        start = time.monotonic()
        for _ in range(count):
            time.sleep(0.5)  # the next task is handed over after the line
            os.killpg(process.pid, signal.SIGINT)
        printed += process.communicate(timeout=TIMEOUT_SECONDS)[0]
        return process.returncode, printed, time.monotonic() - start
    finally:
        process.kill()
        process.communicate()


def within(seconds: float, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.usefixtures("empty_figures")
def test_two_nodes_of_which_one_dies_give_the_same_tables(
    undisturbed: TinyRun, cluster: Any, second: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    remove = lambda: cluster.remove_node(second, allow_graceful=False)  # noqa: E731
    killer = after(4, out, RESULTS, remove)
    assert run_on(cluster, undisturbed, out) == 0
    killer.join()
    assert len(cluster.list_all_nodes()) == 1
    assert tables(out) == tables(undisturbed.out)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker in /proc")
@pytest.mark.usefixtures("empty_figures")
def test_nodes_without_a_common_folder_and_a_killed_worker_give_the_same_tables(
    undisturbed: TinyRun, cluster: Any, second: Any, tmp_path: Path
) -> None:
    """Results go through a URL; the token of the cluster goes nowhere."""
    out, shared = tmp_path / "out", tmp_path / "shared"
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + TIMEOUT_SECONDS
        while not killed and time.monotonic() < end:
            for pid in ray_tasks(cluster):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = after(3, shared, "markers/*.json", kill)
    assert run_on(cluster, undisturbed, out, f"file://{shared}") == 0
    killer.join()
    assert killed
    # these tables need the predictions of each network, which stay on the nodes
    there = ("test_metrics", "failed_trainings")
    everywhere = {
        name: table for name, table in tables(undisturbed.out).items() if not name.startswith(there)
    }
    assert tables(out) == everywhere
    made = [
        {path.parent.name for path in cache.glob("*/*/objects/*/*/done.json")} for cache in cluster.caches
    ]
    keys = {task.key for task in undisturbed.plan.graph}
    assert set().union(*made) == {path.stem for path in shared.glob("markers/*.json")} == keys
    assert all(made)
    assert any(keys - here for here in made), "each node has what it made or read"
    trained_here = {path.parent.name for path in out.glob("store/objects/*/*/history.parquet")}
    assert not trained_here, "the driver fetches what it draws, and no more"
    for folder in (out, shared, *cluster.caches):
        for path in folder.rglob("*"):
            assert path.is_dir() or TOKEN.encode() not in path.read_bytes()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for what is left in /proc")
def test_ctrl_c_once_finishes_what_is_under_way_and_twice_stops_now(cluster: Any, tmp_path: Path) -> None:
    """Once with a Ray of the run's own, whose processes get the signal too; then twice on a cluster, which stays."""
    document = tiny.document("parameter_distance", seeds=[0])
    document["source"]["pretraining"] |= {"epochs": 1, "keep_epochs": []}
    document["targets"] = {"digits": document["targets"]["digits"]}
    document["training"] |= {"epochs": 150, "keep_epochs": []}
    out, stamps = tmp_path / "out", lambda: {path: path.stat().st_mtime_ns for path in out.glob(RESULTS)}
    command = ["run", str(tiny.write(tmp_path / "tiny.yaml", document)), "--out", str(out), "--engine", "ray"]

    code, printed, _ = interrupted([*command, "--workers", "1"], "data digits", 1)
    assert code == 130
    assert "stopping as soon as the tasks under way are finished" in printed
    assert len(re.findall(r"\] train ", printed)) == 1, (
        "one was under way, and is finished; no other is begun"
    )
    assert "the same command goes on from here" in printed
    finished = stamps()
    assert len(finished) == 4

    command += ["--address", cluster.address, "--set", "training.epochs=100000"]
    under_way = lambda: within(TIMEOUT_SECONDS, lambda: bool(ray_tasks(cluster)))  # noqa: E731
    code, printed, seconds = interrupted(command, "3 cached", 2, under_way)
    assert code == 130
    assert "the same command goes on from here" in printed
    assert seconds < TIMEOUT_SECONDS / 4
    within(TIMEOUT_SECONDS / 4, lambda: not ray_tasks(cluster))
    assert stamps() == finished
    assert not list(out.glob("store/unfinished/*"))


def test_only_transient_errors_are_tried_again_and_progress_is_told(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = tmp_path / "calls"

    def pretends(task: Any, store: Any, device: str, progress: Any) -> Any:
        with calls.open("a") as file:
            file.write(f"{task.title}\n")
        if task.title == "cut off" and calls.read_text().count("cut off") < 3:
            raise ConnectionResetError("reset by peer")
        if task.title == "unreachable":
            raise StoreUnreachable("--store s3://bucket: can't be used")
        if task.title == "defect":
            raise ValueError("a defect")
        progress.tell.remote(task.key, 0.5, {"loss": 1.0})
        time.sleep(1)
        return Event(key=task.key, what="done")

    monkeypatch.setattr(ray_engine, "_run", pretends)
    executor = ray_engine.RayCluster(Store(tmp_path), "cpu", address=cluster.address, num_cpus=0.5)
    try:
        ended: dict[str, Event] = {}
        told: list[Event] = []
        for title in ("cut off", "unreachable", "defect"):
            payload = DatasetOptions(dataset="none")
            executor.submit(Task(kind="data", key=title, inputs=(), title=title, payload=payload, cost=1))
        while len(ended) < 3:
            for event in executor.events():
                if event.what == "progress":
                    told.append(event)
                else:
                    ended[event.key] = event
    finally:
        executor.close()
    assert ended["cut off"].what == "done"
    assert [(event.key, event.share, event.row) for event in told] == [("cut off", 0.5, {"loss": 1.0})]
    assert (
        "in 3 attempts: StoreUnreachable: --store s3://bucket: can't be used" in ended["unreachable"].reason
    )
    assert ended["defect"].what == "failed"
    lines = calls.read_text().splitlines()
    assert {title: lines.count(title) for title in ended} == {"cut off": 3, "unreachable": 3, "defect": 1}


def test_a_studys_resources_are_those_of_its_tasks(
    undisturbed: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(Exception):
        pass

    def tell(*_: Any, **given: Any) -> None:
        raise Told(given["num_cpus"], given["num_gpus"])

    monkeypatch.setattr(ray_engine, "RayCluster", tell)
    study = load_study(undisturbed.study_file, overrides=["resources.num_cpus=2", "resources.num_gpus=0.25"])
    options = RunOptions(out=tmp_path, workers=1, device="cpu", engine="ray")
    with pytest.raises(Told, match=re.escape("(2.0, 0.25)")):
        run_study(study, options, Console(quiet=True))


def test_a_cluster_that_is_not_there_is_said(undisturbed: TinyRun, tmp_path: Path) -> None:
    study = load_study(undisturbed.study_file)
    options = RunOptions(out=tmp_path, workers=1, device="cpu", engine="ray", address="127.0.0.1:1")
    with pytest.raises(BadInput, match=r"--engine ray: no cluster at 127\.0\.0\.1:1"):
        run_study(study, options, Console(quiet=True))


@pytest.mark.parametrize(("num_cpus", "num_gpus", "slots"), [(0.25, 0.5, 2), (0.25, 0, 4)])
def test_tasks_share_cpus_and_gpus(
    cluster: Any, tmp_path: Path, num_cpus: float, num_gpus: float, slots: int
) -> None:
    executor = ray_engine.RayCluster(
        Store(tmp_path), "cpu", address=cluster.address, num_cpus=num_cpus, num_gpus=num_gpus
    )
    try:
        assert executor.slots == slots
    finally:
        executor.close()


def test_a_task_that_fits_no_node_is_said(cluster: Any, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no node of the cluster has room for a task of 1 CPU, 4 GPU"):
        ray_engine.RayCluster(Store(tmp_path), "cpu", address=cluster.address, num_gpus=4)


def test_a_training_that_fits_no_node_fails_by_name(cluster: Any, tmp_path: Path) -> None:
    """Ray itself would wait for a larger node for ever."""
    document = tiny.document("parameter_distance", seeds=[0])
    document["source"]["pretraining"]["epochs"] = 1
    document["targets"] = {"digits": document["targets"]["digits"]}
    document["training"]["num_workers"] = 2
    graph = plan(load_study(tiny.write(tmp_path / "tiny.yaml", document))).graph
    training = next(task for task in graph if task.title.startswith("train"))
    executor = ray_engine.RayCluster(Store(tmp_path), "cpu", address=cluster.address)
    try:
        executor.submit(training)
        (event,) = executor.events()
    finally:
        executor.close()
    assert (event.key, event.what) == (training.key, "failed")
    assert "num_workers 2 needs 2 CPU on one node" in event.reason
