"""An executor on Ray: one Ray task a node of the graph, on this machine or on a cluster.

Only tasks and keys travel through Ray; results go through the store: a folder that every node sees under the same
path, or a URL, each node then with a folder of its own beside it. Ray restarts what a killed worker or node was at;
the cluster's token and address are Ray's business.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from transferscope.core.errors import BadInput
from transferscope.execute.attempt import attempt
from transferscope.execute.events import Event
from transferscope.execute.store.local import Store
from transferscope.execute.store.remote import RemoteStore, node_folder
from transferscope.execute.store.remote_folder import TRANSIENT
from transferscope.study.task import Task

MAX_RETRIES = 2
"""How often Ray starts a task again whose worker or node was killed."""
CONNECT_S = 10.0
"""How long the cluster's address may take to answer."""
_Told = tuple[float, Mapping[str, float]]
"""Share that is done, and the newest row of a training's history."""
POLL_S = 0.2
"""How long to wait for a task's end before progress is looked at."""


class RayCluster:
    """Tasks on a Ray cluster, as many at once as its resources allow."""

    def __init__(
        self,
        store: Store,
        device: str,
        *,
        address: str | None = None,
        num_workers: int | None = None,
        num_cpus: float = 1,
        num_gpus: float = 0,
    ) -> None:
        """Connect to a cluster, or start one of this machine's own.

        Args:
            store: where results go; without a URL, a folder that every node sees under the same path.
            device: where tasks compute.
            address: of a running cluster, as Ray takes it ("auto", "ray://host:10001", "host:6379"); without
                one, that of Ray's variable RAY_ADDRESS; else Ray is started here and ended with the run.
            num_workers: CPUs of the Ray that is started here; all by default. Not with an address.
            num_cpus: CPUs that a task takes.
            num_gpus: GPUs that a task takes; a fraction lets tasks share one.

        Raises:
            BadInput: Ray is not installed, the cluster can't be reached, or no node has room for a task.
        """
        self._ray = _ray()
        self._store, self._device = (str(store.root.resolve()), store.url), device
        self._needs = {"CPU": num_cpus, "GPU": num_gpus}
        self._connect(address, num_workers)
        self._run = self._ray.remote(
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            max_retries=MAX_RETRIES,
            retry_exceptions=list(TRANSIENT),
            runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        )(_run)
        self._progress = self._ray.remote(_Progress).options(num_cpus=0, max_restarts=-1).remote()
        self._running: dict[Any, Task] = {}
        self._refused: list[Event] = []

    @property
    def slots(self) -> int:
        """Tasks that fit the cluster now: nodes may come and go."""
        resources = self._ray.cluster_resources()
        rooms = [int(resources.get(name, 0) / need + 1e-9) for name, need in self._needs.items() if need > 0]
        return max(1, min(rooms))

    def submit(self, task: Task) -> None:
        """Hand a task to Ray."""
        count = task.num_workers
        needs = {"num_cpus": self._needs["CPU"] * count, "num_gpus": self._needs["GPU"] * count}
        if not self._has_room(count):  # Ray would wait for such a node for ever
            self._refused.append(
                Event(
                    key=task.key,
                    what="failed",
                    reason=f"num_workers {count} needs {self._asked(count)} on one node, and no node of the "
                    "cluster has so much. Lower num_workers, or train it with torchrun; see docs/scaling.md.",
                )
            )
            return
        handle = self._run.options(name=task.title, **needs).remote(
            task, self._store, self._device, self._progress
        )
        self._running[handle] = task

    def events(self) -> Iterator[Event]:
        """Wait until something happens, and say what."""
        from ray.exceptions import RayError

        if self._refused:
            refused, self._refused = self._refused, []
            yield from refused
            return
        done: list[Any] = []
        while not done:
            done, _ = self._ray.wait(list(self._running), num_returns=1, timeout=POLL_S)
            reports = self._reports()
            yield from reports
            if reports:
                break
        for handle in done:
            task = self._running.pop(handle)
            try:
                yield self._ray.get(handle)
            except TRANSIENT as error:
                cause = getattr(
                    error, "cause", error
                )  # Ray's own text begins with the process it happened in
                yield _failed(task, f"{type(cause).__name__}: {cause}")
            except RayError as error:
                yield _failed(task, str(error))

    def close(self) -> None:
        """Give up what is running and leave the cluster: an unfinished result is never seen."""
        for handle in self._running:
            self._ray.cancel(handle, force=True)
        self._running.clear()
        self._ray.kill(self._progress)
        self._ray.shutdown()

    def _reports(self) -> list[Event]:
        """The progress of each task under way since it was last asked for."""
        from ray.exceptions import RayError

        try:
            told: dict[str, list[_Told]] = self._ray.get(self._progress.take.remote())
        except RayError:  # its node died: progress is only for the eyes, and Ray starts it again
            return []
        running = {task.key for task in self._running.values()}
        return [
            Event(key=key, what="progress", share=share, row=row)
            for key, tale in told.items()
            if key in running
            for share, row in tale
        ]

    def _connect(self, address: str | None, num_workers: int | None) -> None:
        import logging

        address = address or os.environ.get("RAY_ADDRESS")  # Ray's own variable, which its jobs have
        # a run sends nothing to anyone unless the user says so
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            options |= {"num_cpus": num_workers, "include_dashboard": False}
        try:
            _knock(address)
            # "local": Ray would otherwise take any cluster that somebody started on this machine
            self._ray.init(address=address or "local", **options)
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise BadInput(
                f"--engine ray: no cluster at {address or 'this machine'}: {reason} Give the --address of a "
                "running one (ray status shows it), or none to start Ray here."
            ) from None
        if not self._has_room(1):
            self._ray.shutdown()
            raise BadInput(f"--engine ray: no node of the cluster has room for a task of {self._asked(1)}.")

    def _has_room(self, count: int) -> bool:
        """Whether a node, were it empty, has what a task of so many processes takes."""
        return any(
            all(node["Resources"].get(name, 0) >= count * need for name, need in self._needs.items())
            for node in self._ray.nodes()
            if node["Alive"]
        )

    def _asked(self, count: int) -> str:
        return ", ".join(f"{count * need:g} {name}" for name, need in self._needs.items() if need > 0)


class _Progress:
    """An actor that holds the progress of each task until the driver asks."""

    def __init__(self) -> None:
        self._told: dict[str, list[_Told]] = {}

    def tell(self, key: str, share: float, row: Mapping[str, float]) -> None:
        self._told.setdefault(key, []).append((share, row))

    def take(self) -> dict[str, list[_Told]]:
        told, self._told = self._told, {}
        return told


def _run(task: Task, store: tuple[str, str | None], device: str, progress: Any) -> Event:
    """A task on a node of the cluster."""
    return attempt(
        task,
        _node_store(*store),
        device,
        lambda share, row: progress.tell.remote(task.key, share, dict(row)),
        reraised=TRANSIENT,
    )


@lru_cache
def _node_store(root: str, url: str | None) -> Store:
    if url is None:
        return Store(Path(root))
    store = RemoteStore(node_folder(url), url)
    store.sweep()  # what killed workers of this node left
    return store


def _knock(address: str | None) -> None:
    """Raises OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=CONNECT_S).close()


def _failed(task: Task, reason: str) -> Event:
    lines = reason.strip().splitlines() or ["Ray gave no reason"]
    return Event(
        key=task.key,
        what="failed",
        reason=f"Ray could not finish it, in {MAX_RETRIES + 1} attempts: {lines[0]}",
        details=reason,
    )


def _ray() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise BadInput(
            "--engine ray needs Ray, which is not installed: pip install 'transferscope[ray]'. "
            "Valid without it: local."
        ) from None
    return ray
