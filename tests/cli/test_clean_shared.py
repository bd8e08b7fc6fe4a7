"""`clean` where results lie in a shared folder: only what no study refers to, never while a run is under way."""

from __future__ import annotations

import io
import json
import shutil
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import tiny
from rich.console import Console

from transferscope.api.run import RunOptions, run_study
from transferscope.cli.clean import clean
from transferscope.cli.clean_shared import CUT_OFF, unused_under
from transferscope.core.errors import BadInput
from transferscope.execute.store.remote import RemoteStore
from transferscope.execute.store.remote_folder import RemoteFolder
from transferscope.study.file import load_study

OLD, MINE, OTHERS = ("0" * 64, "1" * 64, "2" * 64)


def run(folder: Path, epochs: int, url: str) -> str:
    document = tiny.document("parameter_distance", seeds=[0])
    document["source"]["pretraining"] |= {"epochs": 1, "keep_epochs": []}
    document["targets"] = {"digits": document["targets"]["digits"]}
    document["training"] |= {"epochs": epochs, "keep_epochs": []}
    study, printed = load_study(tiny.write(folder / "tiny.yaml", document)), io.StringIO()
    console = Console(file=printed, width=200)
    assert run_study(study, RunOptions(out=folder, workers=1, device="cpu", store=url), console) == 0
    return printed.getvalue()


def cleaned(folder: Path, *, remove: bool) -> str:
    printed = io.StringIO()
    clean(folder, remove=remove, console=Console(file=printed, width=300))
    return printed.getvalue()


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("empty_figures")
def test_clean_shows_and_removes_what_no_study_refers_to_in_a_shared_folder(tmp_path: Path) -> None:
    shared, mine, others = tmp_path / "shared", tmp_path / "mine", tmp_path / "others"
    url = f"file://{shared}"
    run(others, 2, url)
    run(mine, 1, url)
    assert "nothing to remove" in cleaned(mine, remove=False)
    run(mine, 3, url)  # its trainings of one epoch are nobody's now; those of two are the others'
    before = all_bytes(shared)
    text = cleaned(mine, remove=False)
    assert "train P-T digits" in text
    assert url in text
    assert all_bytes(shared) == before
    assert "removed" in cleaned(mine, remove=True)
    # two data sets and P; of each run two trainings and a measurement
    assert len(list(shared.glob("markers/*"))) == 3 + 2 * 3
    assert {path.stem for path in shared.glob("markers/*")} == {
        path.name for path in shared.glob("results/*")
    }
    assert "nothing to remove" in cleaned(mine, remove=False)
    for folder, epochs in ((mine, 3), (others, 2)):
        shutil.rmtree(folder / "store" / "objects")
        assert "0 tasks succeeded" in run(folder, epochs, url)


def test_what_lies_in_memory_is_left_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"memory://clean/{uuid.uuid4().hex}"
    run(tmp_path, 2, url)
    run(tmp_path, 1, url)
    before = RemoteFolder(url).tree("")
    text = cleaned(tmp_path, remove=True)
    assert "removed 3 results" in text, "those of this machine's folder"
    assert f"{url}: nothing there is removed: only a folder has locks" in text
    clean(tmp_path, remove=True, as_json=True, console=Console(file=io.StringIO()))
    told = json.loads(capsys.readouterr().out)
    assert told["results"] == []
    assert told["untouched"][0].startswith(url)
    assert RemoteFolder(url).tree("") == before
    assert "0 tasks succeeded" in run(tmp_path, 1, url)


def store_of(out: Path, shared: Path, *keys: str) -> RemoteStore:
    """The store of a run that refers to these results, and made them."""
    store = RemoteStore(out / "store", f"file://{shared}")
    store.prepare()
    for key in keys:
        store.commit(
            key, lambda folder: (folder / "a").write_text("a") and None, {"title": key, "kind": "train"}
        )
    store.share(keys)
    return store


def found(shared: Path, *keys: str) -> list[Any]:
    with ExitStack() as stack:
        return unused_under(f"file://{shared}", set(keys), stack)


def test_nothing_is_cleaned_while_a_run_shares_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    store = store_of(tmp_path / "others", shared, MINE)
    with store.in_use(), pytest.raises(BadInput, match="is under way; clean when it has ended"):
        found(shared)
    monkeypatch.setattr("transferscope.execute.store.local.WAIT_S", 0.1)
    with ExitStack() as stack:
        unused_under(f"file://{shared}", set(), stack)
        with pytest.raises(BadInput, match="is being cleaned"):
            stack.enter_context(store.in_use())


def test_uploads_that_were_cut_off_are_found_and_a_whole_one_is_not(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    store_of(tmp_path / "mine", shared, MINE, OLD)
    (shared / "markers" / f"{OLD}.json").unlink()  # as if it had been cut off before its marker
    second = shared / "results" / MINE / "0123456789abcdef"
    second.mkdir()
    (second / "half").write_text("half")
    pieces = found(shared, OLD)
    assert [(piece.kind, piece.num_bytes) for piece in pieces] == [(CUT_OFF, 1), (CUT_OFF, 4)]
    for piece in pieces:
        piece.remove()
    assert found(shared, OLD) == []
    assert (RemoteStore(tmp_path / "third", f"file://{shared}").result(MINE) / "a").read_text() == "a"


def test_what_a_removed_run_referred_to_is_nobodys(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    store_of(tmp_path / "mine", shared, MINE)
    store_of(tmp_path / "others", shared, MINE, OTHERS)
    assert found(shared) == []
    shutil.rmtree(tmp_path / "others")
    pieces = found(shared)
    assert pieces[0].title == OTHERS
    assert "others referred to, which is gone" in pieces[1].title
    for piece in pieces:
        piece.remove()
    assert found(shared) == []
    assert {path.stem for path in shared.glob("markers/*")} == {MINE}
    assert len(list(shared.glob("studies/*"))) == 1


def test_a_note_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    store_of(tmp_path / "others", shared, OTHERS)
    (note,) = shared.glob("studies/*.json")
    note.write_text(note.read_text()[:-10])
    with pytest.raises(BadInput, match=r"can't be read.*Nothing was removed"):
        found(shared)


def test_a_shared_folder_that_is_not_there_is_left_so(tmp_path: Path) -> None:
    assert found(tmp_path / "unmounted") == []
    assert not (tmp_path / "unmounted").exists()
