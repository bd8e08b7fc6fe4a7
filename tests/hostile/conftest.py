"""Children that read hostile files."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from children import Attempt, Children


@pytest.fixture(scope="session")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    """The parent of all children of this process; its sandbox must stay empty."""
    children = Children(tmp_path_factory.mktemp("sandbox"))
    yield children
    children.close()
    assert list(children.sandbox.iterdir()) == []


@pytest.fixture
def refused(children: Children, tmp_path: Path):
    """refused(reader, content or path, suffix): reads it in a child; what was said. Fails where it wasn't refused."""

    def read(reader: str, content: bytes | Path, suffix: str = "") -> str:
        path = content
        if isinstance(content, bytes):
            path = tmp_path / f"in{suffix}"
            path.write_bytes(content)
        assert isinstance(path, Path)
        attempt: Attempt = children.attempt(reader, path)
        assert attempt.complaints == []
        assert attempt.outcome == "refused"
        return "\n".join(attempt.said)

    return read
