"""Disks that can't be written to, whoever says so."""

from __future__ import annotations

import errno
from pathlib import Path

import polars as pl
import pytest

from transferscope.core.files import FIXES, Unwritable, number_of, writing_to

PLACE = Path("/somewhere/store")


@pytest.mark.parametrize("number", sorted(FIXES))
def test_what_the_system_refuses_is_said_with_its_place_and_its_mend(number: int) -> None:
    with pytest.raises(Unwritable) as caught, writing_to(PLACE, "all is kept."):
        raise OSError(number, "a name of the system's", "/elsewhere/x.part")
    assert str(caught.value).startswith("can't write to /elsewhere: ")
    assert str(caught.value).endswith(f"{FIXES[number]}; all is kept.")
    with pytest.raises(Unwritable, match=f"^can't write to {PLACE}: "), writing_to(PLACE, ""):
        raise OSError(number, "a name")


def test_a_defect_keeps_its_traceback() -> None:
    for error in (
        ValueError("code is 28"),
        OSError(errno.EBADF, "bad file descriptor"),
        OSError("no number"),
    ):
        with pytest.raises(type(error)) as caught, writing_to(PLACE, ""):
            raise error
        assert caught.value is error


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_seen_through_a_library_that_writes() -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (whatever the library raises)
        pl.DataFrame({"a": [1]}).write_parquet("/dev/full")
    assert not isinstance(caught.value, OSError)
    assert number_of(caught.value) == errno.ENOSPC
