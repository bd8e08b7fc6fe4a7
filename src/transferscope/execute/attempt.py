"""One attempt at a task, in whatever process: however it ends is an event."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from transferscope.core.errors import BadInput, TaskFailed
from transferscope.core.files import Unwritable
from transferscope.execute.events import Event
from transferscope.execute.store.checksums import Damaged
from transferscope.execute.store.local import Store
from transferscope.study.task import Task

if TYPE_CHECKING:
    from transferscope.train.ranks import Ranks


def attempt(
    task: Task,
    store: Store,
    device: str,
    on_progress: Callable[[float, Mapping[str, float]], None],
    reraised: tuple[type[Exception], ...] = (),
    ranks: Ranks | None = None,
) -> Event:
    """Compute a task here, with one torch thread, and say how it ended.

    Args:
        task: inputs are in the store.
        store: where the result goes.
        device: where to compute.
        on_progress: told the share that is done, and the newest row of a training's history.
        reraised: exceptions that are the caller's to handle; all others make the event "failed".
        ranks: the processes that are at it together, all here; it is this one's alone by default.
    """
    try:
        import torch

        from transferscope.execute.jobs import run_task
        from transferscope.train.ranks import ALONE

        # tiny networks are up to ten times slower with two threads under load; and one thread
        # gives the same bits on every machine of a kind
        torch.set_num_threads(1)
        seconds = run_task(task, store, torch.device(device), on_progress, ranks or ALONE)
    except reraised:
        raise
    except Damaged as error:
        return Event(key=task.key, what="damaged", reason=error.reason)
    except Unwritable as error:
        return Event(key=task.key, what="unwritable", reason=str(error))
    except (TaskFailed, BadInput) as error:
        return Event(key=task.key, what="failed", reason=str(error), details=str(error))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".strip().splitlines()[0]
        return Event(key=task.key, what="failed", reason=reason, details=traceback.format_exc())
    return Event(key=task.key, what="done", seconds=seconds)
