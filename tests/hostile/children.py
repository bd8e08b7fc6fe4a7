"""Reads hostile files in children of their own: what one does there is seen, bounded, and ends with it.

`python children.py` is the parent of these children. It imports everything once, then takes one request a line,
`{"reader": ..., "path": ...}`, forks, and answers with an `Attempt` as JSON. `Children` is its other end.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

MAX_CPU_SECONDS = 10
MAX_RSS_MB = 1024
GUARD_BYTES = 4 * 2**30
"""Address space that a child may take beyond its parent's, so that a bomb doesn't take the machine with it."""
MAX_WALL_SECONDS = 120
"""A child that waits, on a pipe say, takes no CPU time; on a busy machine an honest one waits too."""
TOUCHES = frozenset(
    {
        "os.remove",
        "os.rename",
        "os.mkdir",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "os.truncate",
        "os.chmod",
        "os.chown",
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "subprocess.Popen",
        "shutil.copyfile",
        "shutil.move",
        "shutil.rmtree",
        "shutil.unpack_archive",
        "tempfile.mkstemp",
        "tempfile.mkdtemp",
        "socket.connect",
        "socket.getaddrinfo",
        "socket.bind",
    }
)
"""Audited events by which a reader would do more than read."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of reading one file."""

    outcome: Literal["accepted", "refused", "defect", "killed"]
    """refused: by BadInput. defect: by anything else. killed: by a signal, or for taking too long."""
    said: tuple[str, ...]
    """The problems, or the traceback."""
    seconds: float
    """CPU time."""
    rss_mb: float
    """Largest resident memory, with what the parent had already imported."""
    touched: tuple[str, ...]
    """What the reader did besides reading."""

    @property
    def complaints(self) -> list[str]:
        """What no input may lead to; empty as a rule."""
        wrong = []
        if self.outcome in ("defect", "killed"):
            wrong.append("\n".join(self.said))
        if self.seconds > MAX_CPU_SECONDS:
            wrong.append(f"took {self.seconds:.1f} s")
        if self.rss_mb > MAX_RSS_MB:
            wrong.append(f"took {self.rss_mb:.0f} MB")
        if self.touched:
            wrong.append(f"touched {self.touched}")
        if any(len(text) > 20_000 for text in self.said):
            wrong.append("its message has no end")
        return wrong


class Children:
    """A parent of children, each of which reads one file.

    Args:
        sandbox: working directory and home of the children.
    """

    def __init__(self, sandbox: Path) -> None:
        self.sandbox = sandbox
        self.attempts = 0
        environment = {**os.environ, "HOME": str(sandbox), "OMP_NUM_THREADS": "1", "TMPDIR": str(sandbox)}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # nor does an import write
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=sandbox,
            env=environment,
            text=True,
        )

    def attempt(self, reader: str, path: Path) -> Attempt:
        """Read a file or folder with a reader of `readers.READERS`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.attempts += 1
        self._process.stdin.write(json.dumps({"reader": reader, "path": str(path)}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Attempt(**{**answer, "said": tuple(answer["said"]), "touched": tuple(answer["touched"])})

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()


def _serve() -> None:
    from readers import READERS

    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(asdict(_forked(READERS[request["reader"]], Path(request["path"])))), flush=True)


def _forked(reader: Any, path: Path) -> Attempt:
    from_child, to_parent = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(from_child)
        _be_child(reader, path, to_parent)
    os.close(to_parent)
    deadline = time.monotonic() + MAX_WALL_SECONDS
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(MAX_WALL_SECONDS)
    with os.fdopen(from_child, "rb") as pipe:
        written = pipe.read()
    _, status, usage = os.wait4(child, 0)
    signal.alarm(0)
    heard = json.loads(written) if written else _killed(status, time.monotonic() > deadline)
    return Attempt(**heard, seconds=usage.ru_utime + usage.ru_stime, rss_mb=usage.ru_maxrss / 1024)


def _killed(status: int, waited: bool) -> dict[str, Any]:
    why = "waited without end" if waited else signal.Signals(os.WTERMSIG(status)).name
    return {"outcome": "killed", "said": (f"ended by {why}",), "touched": ()}


def _be_child(reader: Any, path: Path, to_parent: int) -> None:
    from transferscope.core.errors import BadInput

    touched: list[str] = []
    sys.addaudithook(_noting(touched))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS + 1, MAX_CPU_SECONDS + 2))
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + GUARD_BYTES, taken + GUARD_BYTES))
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    said: Sequence[str] = ()
    try:
        reader(path)
        outcome = "accepted"
    except BadInput as error:
        outcome, said = "refused", error.problems
    except BaseException:
        outcome, said = "defect", (traceback.format_exc()[-3000:],)
    text = json.dumps({"outcome": outcome, "said": [one[:30_000] for one in said], "touched": touched[:20]})
    with os.fdopen(to_parent, "wb") as pipe:
        pipe.write(text.encode())
    os._exit(0)


def _noting(touched: list[str]) -> Any:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and arguments[2] is not None and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes and arguments[0] != os.devnull) or event in TOUCHES:
            touched.append(f"{event} {arguments!r}"[:300])

    return hook


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    _serve()
