"""Executors on one machine: in this process, or in a pool of others.

Both give the same results to the bit: every task computes with one torch thread, seeded by what it is.
The pool is our own because the standard one breaks for all pending tasks when one worker is killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from transferscope.execute.attempt import attempt
from transferscope.execute.events import Event
from transferscope.execute.store.local import Store
from transferscope.execute.store.remote import open_store
from transferscope.study.task import Task


class InProcess:
    """One task at a time, here.

    Args:
        store: where results go.
        device: where to compute.
        tell: told how the task gets on while `events` computes it.
    """

    slots = 1

    def __init__(
        self,
        store: Store,
        device: str,
        tell: Callable[[Task, float, Mapping[str, float]], None] = lambda *_: None,
    ) -> None:
        self._store, self._device, self._tell = store, device, tell
        self._next: Task | None = None

    def submit(self, task: Task) -> None:
        """Take a task; it is computed by the next `events`."""
        self._next = task

    def events(self) -> Iterator[Event]:
        """Compute the task that was submitted."""
        task, self._next = self._next, None
        if task is not None:
            yield attempt(task, self._store, self._device, partial(self._tell, task))

    def close(self) -> None:
        """Nothing to end."""


class Pool:
    """Processes, one task each at a time; a process that dies is replaced."""

    def __init__(self, store: Store, device: str, num_workers: int) -> None:
        self.slots = num_workers
        self._context = _context()
        self._arguments = (str(store.root), store.url, device)
        self._workers: list[_Worker] = []

    def submit(self, task: Task) -> None:
        """Give a task to an idle worker, or to a new one."""
        worker = next((worker for worker in self._workers if worker.task is None), None)
        if worker is None:
            worker = _Worker(self._context, self._arguments)
            self._workers.append(worker)
        worker.task = task
        with suppress(OSError):  # where the worker died while idle, events() sees it and reports the task
            worker.pipe.send(task)

    def events(self) -> Iterator[Event]:
        """Wait until something happens, and say what."""
        busy = [worker for worker in self._workers if worker.task is not None]
        handles = [handle for worker in busy for handle in (worker.pipe, worker.process.sentinel)]
        ready = wait(handles)
        for worker in busy:
            if worker.pipe in ready:
                try:
                    event = worker.pipe.recv()
                except (EOFError, OSError):
                    yield self._bury(worker)
                    continue
                if event.what != "progress":
                    worker.task = None
                yield event
            elif worker.process.sentinel in ready:
                yield self._bury(worker)

    def close(self) -> None:
        """End all workers, whatever they are at: an unfinished result is never seen."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(timeout=5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.pipe.close()
        self._workers.clear()

    def _bury(self, worker: _Worker) -> Event:
        worker.process.join()
        worker.pipe.close()
        self._workers.remove(worker)
        if worker.task is None:
            raise AssertionError("an idle worker is not waited for")
        return Event(key=worker.task.key, what="died", reason=_how_it_died(worker.process.exitcode))


def _context() -> BaseContext:
    """How processes are started: on Linux as forks of a process that has imported what every task needs but computes
    nothing, which spares each of them the seconds that these imports take."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["transferscope.execute.jobs"])
    return context


class _Worker:
    def __init__(self, context: BaseContext, arguments: tuple[str, str | None, str]) -> None:
        self.pipe, theirs = context.Pipe()
        with _one_thread_environment():
            environment = dict(os.environ)  # as it is now: the process that is forked may be older
        self.process: BaseProcess = context.Process(  # type: ignore[attr-defined]
            target=_worker_main,
            args=(theirs, environment, *arguments),
            daemon=True,
            name="transferscope-worker",
        )
        with _one_thread_environment(), _interrupts_blocked():
            self.process.start()
        theirs.close()
        self.task: Task | None = None


def _worker_main(
    pipe: Connection, environment: Mapping[str, str], root: str, url: str | None, device: str
) -> None:
    """A worker's life: tasks in, events out, until the pipe closes or the parent is gone."""
    os.environ.clear()
    os.environ.update(environment)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    store = open_store(Path(root), url)
    while True:
        try:
            task: Task = pipe.recv()
        except (EOFError, OSError):
            return
        key = task.key
        event = attempt(
            task,
            store,
            device,
            lambda share, row, key=key: pipe.send(Event(key=key, what="progress", share=share, row=row)),
        )
        pipe.send(event)


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _how_it_died(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return f"its process was killed by {signal.Signals(-exitcode).name}"
    return f"its process ended with exit code {exitcode}"


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Ctrl-C is the parent's to handle: a process that is started here never gets it, from its first moment on."""
    resource_tracker.ensure_running()  # the first start would unblock it again for what it starts itself
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _one_thread_environment:
    """OpenMP reads its number of threads when a process starts."""

    def __enter__(self) -> None:
        self._before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            os.environ.pop("OMP_NUM_THREADS", None)
        else:
            os.environ["OMP_NUM_THREADS"] = self._before
