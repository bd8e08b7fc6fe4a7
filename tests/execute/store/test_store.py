"""The store: a result that can be seen is whole, whenever its writer was killed."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from transferscope.core.errors import BadInput
from transferscope.core.files import sweep_files, write_atomically
from transferscope.execute.store.checksums import Damaged
from transferscope.execute.store.local import MARKER, Store

KEY = "ab" + "0" * 62


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def writes(text: str, name: str = "result.txt") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text(text)

    return write


def files(store: Store) -> list[str]:
    return sorted(str(path.relative_to(store.root)) for path in store.root.rglob("*") if path.is_file())


def test_a_result_is_found_with_its_files_and_its_note(store: Store) -> None:
    assert not store.has(KEY)
    store.commit(KEY, writes("hello"), {"title": "a task", "seconds": 1.5})
    assert store.has(KEY)
    assert (store.path(KEY) / "result.txt").read_text() == "hello"
    hello = (
        "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"  # of FIPS 180-4: sha256sum says so
    )
    assert store.info(KEY) == {
        "title": "a task",
        "seconds": 1.5,
        "files": {"result.txt": 5},
        "checksums": {"result.txt": hello},
    }
    assert files(store) == [f"objects/ab/{KEY}/{name}" for name in (MARKER, "result.txt")]


def test_there_is_no_note_on_what_is_not_there(store: Store) -> None:
    with pytest.raises(KeyError):
        store.info(KEY)


def test_a_writer_that_raises_leaves_nothing(store: Store) -> None:
    def write(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        store.commit(KEY, write, {})
    assert not store.has(KEY)
    assert files(store) == []


@pytest.mark.parametrize("function", ["os.fsync", "pathlib.Path.rename"])
def test_an_error_while_a_result_is_put_in_place_leaves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError("input/output error")

    monkeypatch.setattr(function, fail)
    with pytest.raises(OSError, match="input/output error"):
        store.commit(KEY, writes("hello"), {})
    assert not store.has(KEY)
    assert files(store) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from transferscope.execute.store.local import Store

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def write(folder):
    (folder / "result.txt").write_text("hello")
    if sys.argv[2] == "write":
        die()

if sys.argv[2] == "flush":
    os.fsync = die
if sys.argv[2] == "rename":
    Path.rename = die
Store(Path(sys.argv[1])).commit(sys.argv[3], write, {})
"""


@pytest.mark.parametrize("moment", ["write", "flush", "rename"])
def test_what_a_killed_writer_left_is_never_seen_and_swept_away(store: Store, moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(store.root), moment, KEY], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not store.has(KEY)
    assert not store.path(KEY).exists()
    assert files(store) != [], "it was killed in the middle"
    with store.in_use():
        store.sweep()
        assert len(files(store)) > 1, "on another machine its writer may live"
    store.sweep()
    assert files(store) == ["in-use.lock"]
    store.commit(KEY, writes("again"), {})
    assert store.has(KEY)


def test_sweeping_leaves_the_work_of_a_living_writer(store: Store) -> None:
    def write(folder: Path) -> None:
        (folder / "result.txt").write_text("hello")
        store.sweep()

    store.commit(KEY, write, {})
    assert store.has(KEY)


def test_sweeping_leaves_the_work_of_another_user(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbidden)
    scratch = store.root / "unfinished" / f"{KEY[:16]}-1-abcdef01"
    scratch.mkdir(parents=True)
    store.sweep()
    assert scratch.exists()


def cut(folder: Path) -> None:
    (folder / "result.txt").write_text("hel")


def remove(folder: Path) -> None:
    (folder / "result.txt").unlink()


def remove_marker(folder: Path) -> None:
    (folder / MARKER).unlink()


def cut_marker(folder: Path) -> None:
    (folder / MARKER).write_text((folder / MARKER).read_text()[:20])


def strange_marker(folder: Path) -> None:
    (folder / MARKER).write_text(json.dumps([1, 2]))


def flip_marker(folder: Path) -> None:
    (folder / MARKER).write_text((folder / MARKER).read_text().replace("a task", "b task"))


def unseal_marker(folder: Path) -> None:
    (folder / MARKER).write_text((folder / MARKER).read_text().replace("seal", "seam"))


@pytest.mark.parametrize(
    "damage", [cut, remove, remove_marker, cut_marker, strange_marker, flip_marker, unseal_marker]
)
def test_a_damaged_result_is_not_there_and_is_replaced(store: Store, damage: Callable[[Path], None]) -> None:
    store.commit(KEY, writes("hello"), {"title": "a task"})
    damage(store.path(KEY))
    assert not store.has(KEY)
    assert store.flaw(KEY).startswith(str(store.path(KEY)))
    store.commit(KEY, writes("again"), {})
    assert store.has(KEY)
    assert (store.path(KEY) / "result.txt").read_text() == "again"
    assert sorted(path.name for path in store.path(KEY).iterdir()) == [MARKER, "result.txt"]


def test_a_flipped_bit_is_found_by_who_reads(store: Store) -> None:
    store.commit(KEY, writes("hello"), {})
    path = store.path(KEY) / "result.txt"
    for bit in range(8 * 5):
        flipped = int.from_bytes(b"hello", "big") ^ (1 << bit)
        path.write_bytes(flipped.to_bytes(5, "big"))
        assert store.has(KEY), "sizes alone don't show it"
        with pytest.raises(Damaged, match="another checksum") as caught:
            _ = store.result(KEY) / "result.txt"
        assert caught.value.key == KEY
        assert store.flaw(KEY) == caught.value.reason
    store.commit(KEY, writes("hello"), {})
    assert store.flaw(KEY) == ""
    assert (store.result(KEY) / "result.txt").read_text() == "hello"
    assert not list((store.root / "unfinished").iterdir())


def test_only_the_file_that_is_read_is_looked_at(store: Store) -> None:
    def write(folder: Path) -> None:
        writes("one", "one.txt")(folder)
        writes("two", "two.txt")(folder)

    store.commit(KEY, write, {})
    (store.path(KEY) / "two.txt").write_text("owt")
    assert (store.result(KEY) / "one.txt").read_text() == "one"
    with pytest.raises(Damaged, match=r"two\.txt has another checksum"):
        _ = store.result(KEY) / "two.txt"


@pytest.mark.parametrize(("damage", "said"), [(cut, "3 bytes instead of 5"), (remove, "No such file")])
def test_a_file_that_is_gone_or_cut_is_named(store: Store, damage: Callable[[Path], None], said: str) -> None:
    store.commit(KEY, writes("hello"), {})
    damage(store.path(KEY))
    with pytest.raises(Damaged, match=said):
        _ = store.result(KEY) / "result.txt"


def test_a_disk_that_fails_to_read_is_damage_and_a_missing_right_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(KEY, writes("hello"), {})

    def fails(number: int) -> None:
        def fail(*_: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("transferscope.execute.store.checksums.checksum", fail)

    fails(errno.EIO)
    with pytest.raises(Damaged, match="put/output error"):
        _ = store.result(KEY) / "result.txt"
    fails(errno.EACCES)
    with pytest.raises(PermissionError):
        _ = store.result(KEY) / "result.txt"


def test_what_is_not_there_is_not_damaged_but_cannot_be_read(store: Store) -> None:
    assert store.flaw(KEY) == ""
    with pytest.raises(Damaged, match="is missing or damaged"):
        store.result(KEY)


def test_only_a_damaged_result_is_discarded_and_not_under_anothers_hands(store: Store) -> None:
    store.commit(KEY, writes("hello"), {})
    assert store.discard_damaged(KEY) == ""
    (store.path(KEY) / "result.txt").write_text("jello")
    assert store.claim(KEY)
    assert store.discard_damaged(KEY) == "", "who is at it will replace it"
    store.release(KEY)
    assert "another checksum" in store.discard_damaged(KEY)
    assert not store.path(KEY).exists()
    assert files(store) == []


def test_a_result_of_a_version_without_checksums_can_be_read(store: Store) -> None:
    folder = store.path(KEY)
    folder.mkdir(parents=True)
    (folder / "result.txt").write_text("hello")
    (folder / MARKER).write_text(json.dumps({"title": "old", "files": {"result.txt": 5}}))
    assert store.has(KEY)
    assert store.flaw(KEY) == ""
    assert (store.result(KEY) / "result.txt").read_text() == "hello"
    cut(folder)
    assert "3 bytes instead of 5" in store.flaw(KEY)


def test_of_two_writers_of_one_key_the_first_stays(store: Store) -> None:
    def slow(folder: Path) -> None:
        store.commit(KEY, writes("quick"), {})
        writes("slow")(folder)

    store.commit(KEY, slow, {})
    assert (store.path(KEY) / "result.txt").read_text() == "quick"
    assert not list((store.root / "unfinished").iterdir())


def test_a_writer_that_is_overtaken_at_the_last_moment_is_content(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def overtaken(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        store.commit(KEY, writes("quick"), {})
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", overtaken)
    store.commit(KEY, writes("slow"), {})
    assert (store.path(KEY) / "result.txt").read_text() == "quick"
    assert not list((store.root / "unfinished").iterdir())


@pytest.mark.parametrize("in_the_way", ["out", "out/store", "out/store/objects"])
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path, in_the_way: str) -> None:
    path = tmp_path / in_the_way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    with pytest.raises(BadInput, match=r"can't write results to .*Choose another place with --out"):
        Store(tmp_path / "out" / "store").prepare()


def test_a_probe_of_a_killed_process_is_swept_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    store.prepare()
    monkeypatch.undo()
    (probe,) = files(store)
    store.sweep()
    assert probe in files(store), "its process lives"
    (store.root / probe).rename(
        store.root / probe.replace(str(os.getpid()), "4194305")
    )  # more than there can be
    store.sweep()
    assert files(store) == ["in-use.lock"]


def test_preparing_leaves_no_trace(store: Store) -> None:
    assert files(store) == []


def test_a_file_is_replaced_in_one_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "findings.json"
    write_atomically(path, "old")
    seen = []

    def fail(scratch: Path, target: Path) -> None:
        seen.append((scratch.read_bytes(), target.read_text()))
        raise OSError("input/output error")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="input/output"):
        write_atomically(path, b"new")
    assert seen == [(b"new", "old")], "the new content was whole before it took the place of the old one"
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


KILLED_WITH_A_FILE = """
import os, signal, sys
from pathlib import Path
from transferscope.core.files import write_atomically

Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), "new")
"""


def test_a_half_written_file_of_a_killed_writer_is_swept_away(tmp_path: Path) -> None:
    path = tmp_path / "findings.json"
    write_atomically(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED_WITH_A_FILE, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    (left,) = tmp_path.glob(".*")
    alive = tmp_path / f".findings.json.{os.getpid()}-abcdef01"
    for name in (alive, tmp_path / ".hidden-by-the-user.txt", tmp_path / ".a.b-c"):
        name.touch()
    sweep_files(tmp_path)
    assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [".a.b-c", ".hidden-by-the-user.txt", alive.name, "findings.json"]
    )
