"""Honest files damaged at random, and bytes of no meaning: each is used or refused in words.

`make test` tries a few of each kind, `make fuzz` thousands: FUZZ_INPUTS of each.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from children import Children
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from seeds import FOLDERS, SEEDS

NUM_INPUTS = int(os.environ.get("FUZZ_INPUTS", "6"))
TOKENS = (
    *(
        b"\0",
        b"\xff" * 4,
        b"\x7f\xff\xff\xff",
        b"\xff" * 8,
        b"999999999999",
        b"-1",
        b"1e999",
        b".nan",
        b"{",
        b"}",
        b"[",
    ),
    *(
        b"]",
        b": ",
        b"&a ",
        b"*a",
        b"!!python/name:os.system ",
        b"<<: *a",
        b"../",
        b"/etc/passwd ",
        b'"',
        b"'",
        b",",
    ),
    *(
        b"\n",
        b"\r",
        b"\x1b[2J",
        b"\xe2\x80\xae",
        b"\xed\xa0\x80",
        b"#",
        b"[]",
        b"{}",
        b"null",
        b"all",
        b"\xff\xda",
    ),
)
"""What parsers of these kinds mind."""


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """The content with pieces cut out, doubled, overwritten or put in, at up to 6 places."""
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(content)))
        length = draw(st.sampled_from((1, 1, 2, 4, 8, 64, 1024)))
        piece = draw(st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=8)))
        kind = draw(st.sampled_from(("overwrite", "overwrite", "put in", "cut out", "double", "cut off")))
        if kind == "overwrite":
            content = content[:at] + piece + content[at + len(piece) :]
        elif kind == "put in":
            content = content[:at] + piece + content[at:]
        elif kind == "cut out":
            content = content[:at] + content[at + length :]
        elif kind == "double":
            content = content[: at + length] + content[at:]
        else:
            content = content[:at]
    return content


@cache
def seed(name: str) -> bytes:
    return SEEDS[name][2]()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("name", SEEDS)
@settings(
    max_examples=NUM_INPUTS,
    deadline=None,
    derandomize=NUM_INPUTS < 1000,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_damaged_files(children: Children, folder: Path, name: str, data: Any) -> None:
    reader, file, _ = SEEDS[name]
    content = data.draw(st.one_of(damaged(seed(name)), damaged(seed(name)), st.binary(max_size=300)))
    (folder / file).write_bytes(content)
    attempt = children.attempt(reader, folder if reader in FOLDERS else folder / file)
    assert attempt.complaints == []
