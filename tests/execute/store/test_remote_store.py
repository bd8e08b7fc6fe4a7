"""Results under a URL: whatever happens to an upload, a download or the network, nothing wrong is taken for right."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from fsspec.implementations.memory import MemoryFileSystem
from rich.console import Console

from transferscope.api.run import RunOptions, run_study
from transferscope.cli import main
from transferscope.core.errors import BadInput
from transferscope.execute.store import remote_folder
from transferscope.execute.store.checksums import Damaged, sealed, unsealed
from transferscope.execute.store.local import Store
from transferscope.execute.store.remote import CACHE_VARIABLE, RemoteStore, node_folder, open_store
from transferscope.execute.store.remote_folder import WAITS_S, RemoteFolder, StoreUnreachable, checked_url
from transferscope.study.file import load_study

KEY = "ab" + "0" * 62


@pytest.fixture
def url() -> str:
    return f"memory://tests/{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str, tmp_path: Path) -> RemoteStore:
    made = RemoteStore(tmp_path / "store", url)
    made.prepare()
    return made


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits between tries, which take no time."""
    found: list[float] = []
    monkeypatch.setattr(remote_folder.time, "sleep", found.append)
    return found


def writes(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "result.txt").write_text(text)
        (folder / "second.txt").write_text("second")

    return write


def files(url: str) -> dict[str, bytes]:
    folder = RemoteFolder(url)
    return {name: folder.read(name) or b"" for name, _ in folder.tree("")}


def another(store: RemoteStore, tmp_path: Path) -> RemoteStore:
    return RemoteStore(tmp_path / uuid.uuid4().hex, store.url or "")


def test_what_lies_where(store: RemoteStore, url: str) -> None:
    assert files(url) == {}, "preparing leaves no trace"
    store.commit(KEY, writes("hello"), {"title": "a task"})
    note = unsealed(files(url)[f"markers/{KEY}.json"].decode())
    assert note is not None
    upload = note["upload"]
    assert set(files(url)) == {
        f"markers/{KEY}.json",
        f"results/{KEY}/{upload}/result.txt",
        f"results/{KEY}/{upload}/second.txt",
    }
    assert note["files"] == {"result.txt": 5, "second.txt": 6}


def test_an_upload_that_ends_anywhere_shows_nothing_and_the_next_one_goes_through(
    store: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = ("put_file", "pipe_file")
    counted = 0
    for stop_at in range(3):  # two files and the marker
        counted = 0

        def stops(real: Callable[..., Any], stop_at: int = stop_at) -> Callable[..., Any]:
            def call(*arguments: Any, **more: Any) -> Any:
                nonlocal counted
                counted += 1
                if counted > stop_at:
                    raise KeyboardInterrupt
                return real(*arguments, **more)

            return call

        with monkeypatch.context() as patch:
            for name in calls:
                patch.setattr(MemoryFileSystem, name, stops(getattr(MemoryFileSystem, name)))
            with pytest.raises(KeyboardInterrupt):
                store.commit(KEY, writes("hello"), {"title": "a task"})
        assert counted == stop_at + 1
        assert another(store, tmp_path).present([KEY]) == set()
        assert not another(store, tmp_path).has(KEY)
        assert not store.has(KEY)
    store.share([KEY])  # it was whole on this machine each time
    other = another(store, tmp_path)
    assert (other.result(KEY) / "result.txt").read_text() == "hello"


KILLED = """
import os, signal, sys
from pathlib import Path
from transferscope.execute.store.remote_folder import RemoteFolder
from transferscope.execute.store.remote import RemoteStore

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def write(folder):
    (folder / "result.txt").write_text("hello")

root, url, moment, key = sys.argv[1:]
store = RemoteStore(Path(root), url)
if moment == "files":
    RemoteFolder.upload = die
if moment == "marker":
    RemoteFolder.write = die
if moment == "rename":
    upload = RemoteFolder.upload
    def uploaded(*arguments):
        upload(*arguments)
        Path.replace = die
    RemoteFolder.upload = uploaded
store.commit(key, write, {"title": "a task"})
"""


@pytest.mark.parametrize("moment", ["files", "marker", "rename"])
def test_a_killed_upload_to_a_shared_folder_is_not_seen(tmp_path: Path, moment: str) -> None:
    url = f"file://{tmp_path}/shared"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed"), url, moment, KEY], check=False
    )
    assert done.returncode == -signal.SIGKILL
    other = RemoteStore(tmp_path / "other", url)
    assert other.present([KEY]) == set()
    assert not other.has(KEY)
    other.commit(KEY, writes("again"), {})
    assert (RemoteStore(tmp_path / "third", url).result(KEY) / "result.txt").read_text() == "again"


def test_a_killed_download_is_not_seen_and_fetched_again(
    store: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(KEY, writes("hello"), {})
    other = another(store, tmp_path)
    with monkeypatch.context() as patch:

        def stop(fs: Any, source: str, target: str, **_: Any) -> None:
            Path(target).write_text("he")
            raise KeyboardInterrupt

        patch.setattr(MemoryFileSystem, "get_file", stop)
        with pytest.raises(KeyboardInterrupt):
            other.result(KEY)
    assert not Store(other.root).has(KEY)
    assert (other.result(KEY) / "result.txt").read_text() == "hello"


def damage(url: str, what: str) -> None:
    folder = RemoteFolder(url)
    content = files(url)
    name = next(name for name in content if name.endswith("result.txt"))
    marker = f"markers/{KEY}.json"
    note = unsealed(content[marker].decode()) or {}
    if what == "flipped":
        folder.write(name, b"jello")
    elif what == "cut":
        folder.write(name, b"hel")
    elif what == "emptied":
        folder.write(name, b"")
    elif what == "removed":
        folder.remove(name)
    elif what == "torn marker":
        folder.write(marker, content[marker][:40])
    elif what == "flipped marker":
        folder.write(marker, content[marker].replace(b"a task", b"b task"))
    elif what == "file outside":
        names = {"files": {"../../evil": 5}, "checksums": {"../../evil": "0" * 64}}
        folder.write(marker, sealed({**note, **names}).encode())
    elif what == "upload outside":
        folder.write(marker, sealed({**note, "upload": "../../x"}).encode())


DAMAGES = (
    "flipped",
    "cut",
    "emptied",
    "removed",
    "torn marker",
    "flipped marker",
    "file outside",
    "upload outside",
)


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_remote_result_is_named_taken_out_and_replaced(
    store: RemoteStore, url: str, tmp_path: Path, what: str
) -> None:
    store.commit(KEY, writes("hello"), {"title": "a task"})
    damage(url, what)
    other = another(store, tmp_path)
    assert other.present([KEY]) == {KEY}, "a listing can't tell"
    with pytest.raises(Damaged, match=rf"{url}: result ab0.*(result.txt|missing|marker)"):
        other.result(KEY)
    assert not (tmp_path / "evil").exists()
    for each in (other, another(store, tmp_path)):
        assert each.present([KEY]) == set()
        assert not each.has(KEY)
    other.commit(KEY, writes("again"), {})
    assert (another(store, tmp_path).result(KEY) / "result.txt").read_text() == "again"


def test_a_damaged_remote_result_that_another_replaced_meanwhile_is_left(
    store: RemoteStore, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(KEY, writes("hello"), {})
    damage(url, "flipped")
    download = RemoteFolder.download

    def replaced(folder: RemoteFolder, names: dict[str, Path]) -> bool:
        done = download(folder, names)
        monkeypatch.setattr(RemoteFolder, "download", download)
        folder.remove(f"markers/{KEY}.json")
        another(store, tmp_path).commit(KEY, writes("again"), {})
        return done

    monkeypatch.setattr(RemoteFolder, "download", replaced)
    other = another(store, tmp_path)
    with pytest.raises(Damaged):
        other.result(KEY)
    assert (other.result(KEY) / "result.txt").read_text() == "again"


def test_what_was_fetched_with_damage_is_told_before_a_run(
    store: RemoteStore, url: str, tmp_path: Path
) -> None:
    store.commit(KEY, writes("hello"), {})
    damage(url, "flipped")
    other = another(store, tmp_path)
    other.fetch([KEY])
    assert "result.txt" in other.flaw(KEY)
    assert "result.txt" in other.discard_damaged(KEY)
    assert other.flaw(KEY) == ""
    assert not other.has(KEY)


def test_two_uploads_at_once_are_each_whole(store: RemoteStore, tmp_path: Path) -> None:
    stores = [another(store, tmp_path) for _ in range(8)]
    barrier = threading.Barrier(len(stores))

    def commit(number: int) -> None:
        barrier.wait()
        stores[number].commit(KEY, writes(f"by {number}"), {"title": f"by {number}"})

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(len(stores))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other = another(store, tmp_path)
    assert (other.result(KEY) / "result.txt").read_text() == other.info(KEY)["title"]


def test_several_who_want_a_result_on_one_machine_fetch_it_once(
    store: RemoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.commit(KEY, writes("hello"), {})
    fetched: list[str] = []
    get_file = MemoryFileSystem.get_file

    def counts(fs: Any, source: str, *arguments: Any, **more: Any) -> None:
        fetched.append(source)
        get_file(fs, source, *arguments, **more)

    monkeypatch.setattr(MemoryFileSystem, "get_file", counts)
    root = tmp_path / "one machine"
    threads = [
        threading.Thread(target=lambda: RemoteStore(root, store.url or "").result(KEY)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fetched) == 2


def test_a_thousand_results_are_looked_up_with_one_request(
    store: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"{number:064x}" for number in range(1000)]
    for key in keys[::2]:
        store._there.write(f"markers/{key}.json", b"{}")
    asked: list[str] = []
    for name in ("ls", "find", "info", "exists", "cat_file"):
        real = getattr(MemoryFileSystem, name)
        monkeypatch.setattr(
            MemoryFileSystem,
            name,
            lambda *arguments, real=real, name=name, **more: (asked.append(name), real(*arguments, **more))[
                1
            ],
        )
    assert store.present(keys) == set(keys[::2])
    assert all(store.has(key) for key in keys[::2])
    assert asked == ["ls"]


def test_a_run_that_was_cut_off_from_the_url_is_shared_by_the_next(
    store: RemoteStore, url: str, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MemoryFileSystem, "put_file", fails(ConnectionResetError("reset by peer")))
        with pytest.raises(StoreUnreachable):
            store.commit(KEY, writes("hello"), {})
    assert not store.has(KEY), "other machines can't see it"
    (store.path("cd" * 32)).mkdir(parents=True)  # no result
    store.share([KEY, "cd" * 32, "ef" * 32])
    assert another(store, tmp_path).has(KEY)


def fails(error: Exception, times: int = 10**6) -> Callable[..., Any]:
    left = [times]

    def fail(*_: Any, **__: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise error
        raise FileNotFoundError

    return fail


@pytest.mark.parametrize("error", [ConnectionResetError("reset by peer"), TimeoutError("timed out")])
def test_an_error_that_passes_is_waited_for(
    store: RemoteStore, waits: list[float], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "cat_file", fails(error, times=3))
    assert not store.has(KEY)
    assert waits == list(WAITS_S[:3])


def test_an_error_that_stays_is_said_and_one_that_is_ours_keeps_its_traceback(
    store: RemoteStore, url: str, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "cat_file", fails(TimeoutError("timed out")))
    with pytest.raises(
        StoreUnreachable, match=rf"--store {url}: can't be used: TimeoutError: timed out, 5 times"
    ):
        store.has(KEY)
    assert waits == list(WAITS_S)
    waits.clear()
    monkeypatch.setattr(MemoryFileSystem, "cat_file", fails(PermissionError("Forbidden")))
    with pytest.raises(StoreUnreachable, match="PermissionError: Forbidden"):
        store.has(KEY)
    assert waits == []
    monkeypatch.setattr(MemoryFileSystem, "cat_file", fails(TypeError("a defect")))
    with pytest.raises(TypeError, match="a defect"):
        store.has(KEY)


def test_the_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(StoreUnreachable("--store s3://b: can't be used")))
    assert isinstance(error, ConnectionError)
    assert isinstance(error, BadInput)
    assert str(error) == "--store s3://b: can't be used"
    assert error.problems == ("--store s3://b: can't be used",)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("s3://bucket/study/", "s3://bucket/study"),
        ("/shared/study", "file:///shared/study"),
        ("runs/store", f"file://{Path.cwd()}/runs/store"),
        ("file:///shared/a b", "file:///shared/a b"),
        ("ssh://someone@host/study", "ssh://someone@host/study"),
    ],
)
def test_the_url_that_is_meant(text: str, meant: str) -> None:
    assert checked_url(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "s3:bucket",
        "://x",
        "s3://",
        "simplecache::s3://b/x",
        "ftp://me:secret@host/x",
        "abfs://c/x?sig=secret",
    ],
)
def test_what_is_no_place_or_holds_credentials_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"^--store .*(expected|credentials)") as caught:
        checked_url(text)
    assert "secret" not in str(caught.value)


def test_an_unknown_protocol_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--store nowhere://x: .*Valid: a folder, or a URL"):
        RemoteStore(tmp_path, "nowhere://x")


def test_a_protocol_whose_package_is_missing_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(BadInput, match=r"--store s3://bucket/x: fsspec lacks a package for it: .*s3fs"):
        RemoteStore(tmp_path, "s3://bucket/x")


def test_an_unreachable_place_ends_the_command_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tiny.write(tmp_path / "tiny.yaml", tiny.document("parameter_distance"))
    (tmp_path / "file").touch()
    store = str(tmp_path / "file" / "store")
    monkeypatch.setattr(
        sys, "argv", ["transferscope", "run", str(study), "--out", str(tmp_path / "out"), "--store", store]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: --store file://{store}: can't be used: ")
    assert "Traceback" not in error


def test_a_node_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    one = node_folder("s3://bucket/one")
    assert one.is_relative_to(tmp_path / os.uname().nodename)
    assert node_folder("s3://bucket/two") != one
    monkeypatch.delenv(CACHE_VARIABLE)
    assert node_folder("s3://bucket/one").is_relative_to(Path.home() / ".cache" / "transferscope")


def test_a_folder_remembers_its_url(store: RemoteStore, url: str) -> None:
    again = open_store(store.root)
    assert isinstance(again, RemoteStore)
    assert again.url == url
    (store.root / "remote.json").write_text("[")
    assert not isinstance(open_store(store.root), RemoteStore)


@pytest.mark.usefixtures("empty_figures")
def test_a_study_through_a_url_has_the_same_tables_whoever_computed(url: str, tmp_path: Path) -> None:
    document = tiny.document("parameter_distance", seeds=[0, 1])
    document["targets"] = {"digits": document["targets"]["digits"]}
    study = tiny.write(tmp_path / "tiny.yaml", document)

    def run(out: str, store_url: str | None = None) -> str:
        printed = io.StringIO()
        console = Console(file=printed, width=500)
        options = RunOptions(out=tmp_path / out, workers=1, device="cpu", store=store_url)
        code = run_study(load_study(study), options, console)
        assert code == 0
        return printed.getvalue()

    run("first", url)
    damaged = [name for name in files(url) if name.endswith((".parquet", "train.safetensors"))]
    for name in damaged:
        if not name.endswith("history.parquet"):
            RemoteFolder(url).write(name, b"damaged")
    said = run("second", url)
    assert "damaged: parameter_distance digits: memory://" in said, "seen before the run"
    assert "parameter_distance digits: damaged: memory://" in said, "seen by the task that reads the data"
    assert "2 tasks succeeded, 7 were cached, 0 failed" in said
    again = run("second")
    assert "0 tasks succeeded" in again, "without the option: the folder remembers"
    tables = {path.name: path.read_bytes() for path in (tmp_path / "first" / "tables").iterdir()}
    assert tables
    for name, content in tables.items():
        assert (tmp_path / "second" / "tables" / name).read_bytes() == content
