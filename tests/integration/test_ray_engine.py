"""The Ray engine gives the tables of the local one, also when a worker or a node is killed.

Needs Ray (`pip install 'transferscope[ray]'`); skipped without it.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
from rich.console import Console
from tiny import TinyRun

from transferscope.commands import run_study
from transferscope.errors import BadInput
from transferscope.store import Store
from transferscope.study_file import load_study

pytest.importorskip("ray", reason="Ray is not installed: pip install 'transferscope[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own

TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A part of the tiny study, run by the local engine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    document = tiny.document("feature_reuse", "mistakes")
    document["targets"] = {"digits": document["targets"]["digits"]}
    document["training"]["epochs"] = 6  # long enough to be killed
    return tiny.run(tiny.write(folder / "tiny.yaml", document), folder / "out")


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each on this machine."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield made
    finally:
        made.shutdown()


def run_on(cluster: Any, run: TinyRun, out: Path) -> int:
    study = load_study(run.study_file)
    return run_study(
        study,
        out,
        workers=None,
        device="cpu",
        engine="ray",
        address=cluster.address,
        console=Console(quiet=True),
    )


def tables(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "tables").iterdir())}


def num_results(out: Path) -> int:
    return sum(1 for _ in out.glob("store/objects/*/*/done.json"))


def after(count: int, out: Path, act: Any) -> threading.Thread:
    """Act once so many results are there."""

    def watch() -> None:
        end = time.monotonic() + TIMEOUT_SECONDS
        while num_results(out) < count and time.monotonic() < end:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def ray_tasks() -> list[int]:
    """Processes of this user that compute a task of ours, by Ray's name for them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = (folder / "cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            continue
        if name.startswith((b"ray::train", b"ray::pre-train", b"ray::feature_reuse")):
            found.append(int(folder.name))
    return found


def test_two_nodes_of_which_one_dies_give_the_same_tables(
    undisturbed: TinyRun, cluster: Any, tmp_path: Path
) -> None:
    second = cluster.add_node(num_cpus=1)
    out = tmp_path / "out"
    killer = after(4, out, lambda: cluster.remove_node(second, allow_graceful=False))
    assert run_on(cluster, undisturbed, out) == 0
    killer.join()
    assert len(cluster.list_all_nodes()) == 1
    assert tables(out) == tables(undisturbed.out)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the worker in /proc")
def test_a_killed_worker_costs_nothing(undisturbed: TinyRun, cluster: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed: list[int] = []

    def kill() -> None:
        end = time.monotonic() + TIMEOUT_SECONDS
        while not killed and time.monotonic() < end:
            for pid in ray_tasks():
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = after(3, out, kill)
    assert run_on(cluster, undisturbed, out) == 0
    killer.join()
    assert killed
    assert tables(out) == tables(undisturbed.out)


def test_a_cluster_that_is_not_there_is_said(undisturbed: TinyRun, tmp_path: Path) -> None:
    study = load_study(undisturbed.study_file)
    with pytest.raises(BadInput, match=r"--engine ray: no cluster at 127\.0\.0\.1:1"):
        run_study(
            study,
            tmp_path,
            workers=1,
            device="cpu",
            engine="ray",
            address="127.0.0.1:1",
            console=Console(quiet=True),
        )


def test_a_task_that_fits_no_node_is_said(cluster: Any, tmp_path: Path) -> None:
    from transferscope.execute.ray_engine import RayCluster

    with pytest.raises(BadInput, match="no node of the cluster has room for a task of 1 CPU, 4 GPU"):
        RayCluster(Store(tmp_path), "cpu", address=cluster.address, num_gpus=4)
