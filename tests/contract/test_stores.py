"""What every store promises, on a disk or under a URL."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from transferscope.execute.store.checksums import Damaged
from transferscope.execute.store.local import MARKER, Store
from transferscope.execute.store.remote import RemoteStore, open_store

KEYS = tuple(f"{number:02x}" + "0" * 62 for number in range(4))
KEY = KEYS[0]
KINDS = ("folder", "memory", "file")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    urls = {
        "folder": None,
        "memory": f"memory://contract/{uuid.uuid4().hex}",
        "file": f"file://{tmp_path}/a shared folder",
    }
    made = open_store(tmp_path / "store", urls[request.param])
    assert isinstance(made, RemoteStore) == (request.param != "folder")
    made.prepare()
    return made


def elsewhere(store: Store, folder: Path) -> Store:
    """The same store as another machine sees it: where there is a URL, with a folder of its own."""
    return open_store(store.root if store.url is None else folder / "elsewhere", store.url)


def writes(text: str, name: str = "result.txt") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return write


def test_a_result_is_found_everywhere_with_its_files_and_its_note(store: Store, tmp_path: Path) -> None:
    other = elsewhere(store, tmp_path)
    assert not store.has(KEY)
    assert not other.has(KEY)
    store.commit(KEY, writes("hello", "a/result.txt"), {"title": "a task", "seconds": 1.5})
    for each in (store, other):
        assert each.has(KEY)
        assert (each.result(KEY) / "a/result.txt").read_text() == "hello"
        note = each.info(KEY)
        assert (note["title"], note["seconds"], note["files"]) == ("a task", 1.5, {"a/result.txt": 5})
        assert sorted(note) == ["checksums", "files", "seconds", "title"]
        assert each.infos(KEYS) == {KEY: note}
        assert each.flaw(KEY) == ""
        assert each.discard_damaged(KEY) == ""


def test_a_result_without_files_and_one_with_an_empty_file(store: Store, tmp_path: Path) -> None:
    store.commit(KEYS[0], lambda folder: None, {"title": "nothing"})
    store.commit(KEYS[1], writes(""), {"title": "empty"})
    other = elsewhere(store, tmp_path)
    other.fetch(KEYS)
    assert other.present(KEYS) == set(KEYS[:2])
    assert (other.result(KEYS[1]) / "result.txt").read_bytes() == b""


def test_what_is_not_there_cannot_be_read(store: Store) -> None:
    with pytest.raises(KeyError):
        store.info(KEY)
    with pytest.raises(Damaged, match="missing"):
        store.result(KEY)
    store.fetch([KEY])
    store.share([KEY])
    assert store.present(KEYS) == set()
    assert store.infos(KEYS) == {}
    assert store.discard_damaged(KEY) == ""


def test_a_writer_that_raises_leaves_nothing(store: Store, tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "half.txt").write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space left"):
        store.commit(KEY, write, {})
    assert not store.has(KEY)
    assert not elsewhere(store, tmp_path).has(KEY)


def test_results_are_there_once_committed_whoever_asked_before(store: Store, tmp_path: Path) -> None:
    other = elsewhere(store, tmp_path)
    assert other.present(KEYS) == set()
    for key in KEYS[1:]:
        store.commit(key, writes(key), {"title": key})
        assert other.has(key)
    assert other.present(KEYS) == set(KEYS[1:])
    other.fetch(KEYS)
    assert {key: (other.path(key) / "result.txt").read_text() for key in KEYS[1:]} == {
        key: key for key in KEYS[1:]
    }


def test_of_two_writers_of_one_key_the_first_stays(store: Store, tmp_path: Path) -> None:
    other = elsewhere(store, tmp_path)

    def slow(folder: Path) -> None:
        other.commit(KEY, writes("quick"), {})
        writes("slow")(folder)

    store.commit(KEY, slow, {})
    third = elsewhere(store, tmp_path / "third")
    assert (third.result(KEY) / "result.txt").read_text() == "quick"


@pytest.mark.parametrize("name", ["result.txt", MARKER])
def test_what_is_damaged_on_this_machine_is_named_or_fetched_again(store: Store, name: str) -> None:
    store.commit(KEY, writes("hello"), {"title": "a task"})
    path = store.path(KEY) / name
    path.write_bytes(path.read_bytes().replace(b"h", b"j").replace(b"task", b"tusk"))
    if store.url is not None:
        assert (store.result(KEY) / "result.txt").read_text() == "hello"
        assert store.discard_damaged(KEY) == ""
        return
    with pytest.raises(Damaged):
        _ = store.result(KEY) / "result.txt"
    assert name in store.discard_damaged(KEY)
    assert not store.has(KEY)


def test_a_claim_is_one_processs_and_can_be_had_again(store: Store) -> None:
    assert store.claim(KEY)
    assert not open_store(store.root, store.url).claim(KEY)
    store.release(KEY)
    assert store.claim(KEY)
    store.release(KEY)
    store.sweep()


def test_what_no_study_refers_to_is_found_and_removed_here(store: Store) -> None:
    for key in KEYS:
        store.commit(key, writes(key), {"title": key, "kind": "train"})
    unreferenced = store.unreferenced(KEYS[:3])
    assert [stored.key for stored in unreferenced] == [KEYS[3]]
    with store.unused():
        store.remove(KEYS[3])
    assert store.unreferenced(KEYS[:3]) == []
    with store.in_use():
        pass
