"""Freed memory stays with the process while a task computes, and goes back at its end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from transferscope.core import allocator

PROGRAM = """
import ctypes, resource, sys
from transferscope.core.allocator import freed_memory_kept

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def faults(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        blocks = [libc.malloc(48 * 2**20) for _ in range(3)]
        for block in blocks:
            ctypes.memset(block, 1, 48 * 2**20)
        for block in blocks:
            libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 2**20

outside = faults(5)
with freed_memory_kept():
    faults(1)
    inside, kept = faults(5), resident()
print(outside, inside, kept - resident(), faults(5))
"""


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    allocator._glibc.cache_clear()
    yield
    allocator._glibc.cache_clear()


def measured(**variables: str) -> tuple[int, int, int, int]:
    plain = {name: value for name, value in os.environ.items() if name not in allocator.SETTINGS}
    plain.pop("GLIBC_TUNABLES", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env=plain | variables
    )
    outside, inside, given_back, after = map(int, done.stdout.split())
    return outside, inside, given_back, after


@pytest.mark.skipif(allocator._glibc() is None, reason="no glibc, or its variables are set")
def test_pages_are_cleared_once_within_and_given_back_at_the_end() -> None:
    outside, inside, given_back_mb, after = measured()
    assert inside < outside / 20
    assert given_back_mb > 100, "of the 144 that were kept"
    assert after > outside / 2, "afterwards all is as before"


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's variables")
@pytest.mark.parametrize(
    ("name", "value"),
    [("MALLOC_TRIM_THRESHOLD_", "65536"), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=65536")],
)
def test_what_the_user_has_set_stays(name: str, value: str) -> None:
    outside, inside, _, _ = measured(**{name: value})
    assert inside > outside / 2


def test_elsewhere_nothing_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with allocator.freed_memory_kept():
        assert allocator._glibc() is None
