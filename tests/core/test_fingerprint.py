"""Fingerprints of the user's own code: what they cover, without executing it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from transferscope.core.fingerprint import sources_fingerprint
from transferscope.models.networks.module import Module


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / f"own_{tmp_path.name.replace('-', '_')}"
    (folder / "inner").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    (folder / "__init__.py").write_text("raise RuntimeError('executed')\n")
    (folder / "inner" / "__init__.py").write_text("")
    (folder / "nets.py").write_text("import json\nimport torch\nfrom . import blocks\n")
    (folder / "blocks.py").write_text("def make():\n    from .inner.deep import WIDTH\n    return WIDTH\n")
    (folder / "inner" / "deep.py").write_text("WIDTH = 4\n")
    (folder / "inner" / "unused.py").write_text("")
    return folder


@pytest.mark.parametrize(
    ("changed", "matters"),
    [
        ("nets.py", True),
        ("blocks.py", True),
        ("inner/deep.py", True),
        ("__init__.py", True),
        ("inner/unused.py", False),
    ],
)
def test_modules_of_the_users_own_count_however_they_are_imported(
    package: Path, changed: str, matters: bool
) -> None:
    before = sources_fingerprint(f"{package.name}.nets")
    assert len(before) == 64
    (package / changed).write_text((package / changed).read_text() + "\n# changed\n")
    assert (sources_fingerprint(f"{package.name}.nets") != before) == matters


def test_a_module_that_imports_nothing_of_the_users_own_is_its_file(package: Path) -> None:
    source = package.parent / f"{package.name}_alone.py"
    source.write_text("import json\n")
    assert sources_fingerprint(source.stem) == hashlib.sha256(source.read_bytes()).hexdigest()


def test_what_is_not_there_has_none() -> None:
    assert sources_fingerprint("no_such_module") == sources_fingerprint("json.no_such_part") == ""


def test_a_file_named_in_the_arguments_of_a_network_counts(package: Path) -> None:
    weights = package / "weights.bin"
    weights.write_bytes(b"1")
    network = Module(factory=f"{package.name}.nets:make", arguments={"file": str(weights), "width": "4"})
    without = Module(factory=f"{package.name}.nets:make", arguments={"width": "4"})
    before = network.fingerprint()
    assert before != without.fingerprint() == sources_fingerprint(f"{package.name}.nets")
    weights.write_bytes(b"2")
    assert network.fingerprint() != before
