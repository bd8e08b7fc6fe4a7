"""Several processes on one store: each result computed once, nothing cleaned away that is in use."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from rich.console import Console

from transferscope.cli.clean import clean
from transferscope.core.errors import BadInput
from transferscope.execute.store.local import Store

KEY = "ab" + "0" * 62
OTHER = "cd" + "1" * 62


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "store")
    made.prepare()
    return made


def another(store: Store, code: str) -> subprocess.Popen[str]:
    """Another process, which has done `code` when this returns and then waits to be killed."""
    program = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from transferscope.execute.store.local import Store\n"
        f"store, key = Store(Path({str(store.root)!r})), {KEY!r}\n"
        f"{code}\n"
        "print('ready', flush=True)\n"
        "time.sleep(100)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture
def claimed(store: Store) -> Iterator[subprocess.Popen[str]]:
    process = another(store, "assert store.claim(key)")
    yield process
    process.kill()
    process.communicate()


def test_a_claim_is_one_processs_and_ends_with_it(store: Store, claimed: subprocess.Popen[str]) -> None:
    assert not store.claim(KEY)
    assert store.claim(OTHER)
    claimed.send_signal(signal.SIGKILL)
    claimed.wait()
    assert store.claim(KEY)
    store.release(KEY)
    store.release(OTHER)
    assert list((store.root / "claims").iterdir()) == []


def test_a_released_claim_can_be_had_again(store: Store) -> None:
    for _ in range(3):
        assert store.claim(KEY)
        store.release(KEY)


def test_a_dead_processs_claims_are_swept_away_and_a_living_ones_kept(
    store: Store, claimed: subprocess.Popen[str]
) -> None:
    (store.root / "claims" / f"{OTHER}.lock").touch()
    store.sweep()
    assert [path.stem for path in (store.root / "claims").iterdir()] == [KEY]


def test_two_runs_at_once_compute_each_task_once(tmp_path: Path) -> None:
    document = tiny.document("parameter_distance", seeds=[0, 1])
    document["targets"] = {"digits": document["targets"]["digits"]}
    study = tiny.write(tmp_path / "tiny.yaml", document)
    command = [sys.executable, "-m", "transferscope", "run", str(study), "--out", str(tmp_path / "out")]
    runs = [
        subprocess.Popen([*command, "--workers", "1"], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    printed = [run.communicate()[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    counts = [int(text.rpartition(" tasks succeeded")[0].split()[-1]) for text in printed]
    there = sum(1 for _ in (tmp_path / "out").glob("store/objects/*/*/done.json"))
    assert sum(counts) == there
    assert min(counts) > 0
    alone = tiny.run(study, tmp_path / "alone")
    for path in (alone.out / "tables").iterdir():
        assert (tmp_path / "out" / "tables" / path.name).read_bytes() == path.read_bytes()


def cleaned(folder: Path, *, remove: bool) -> str:
    printed = io.StringIO()
    clean(folder, remove=remove, console=Console(file=printed, width=200))
    return printed.getvalue()


def test_clean_shows_and_then_removes_what_no_study_refers_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    for name in ("a", "b"):
        tiny.run(
            tiny.write(tmp_path / "tiny.yaml", tiny.document("parameter_distance", seeds=[0])), runs / name
        )
    assert "nothing to remove" in cleaned(runs, remove=False)
    changed = tiny.document("parameter_distance", seeds=[0])
    changed["training"]["epochs"] = 1
    before = set((runs / "a" / "store" / "objects").glob("*/*"))
    tiny.run(tiny.write(tmp_path / "tiny.yaml", changed), runs / "a")
    text = cleaned(runs, remove=False)
    clean(runs, remove=False, as_json=True, console=Console(file=io.StringIO()))
    told = json.loads(capsys.readouterr().out)
    assert not told["removed"]
    assert {entry["run"] for entry in told["results"]} == {str(runs / "a")}
    assert f"{len(told['results'])} results, {told['bytes'] / 1e6:,.1f} MB" in text
    assert "--yes" in text
    assert "train P-T" in text
    assert set((runs / "a" / "store" / "objects").glob("*/*")) > before
    assert "removed" in cleaned(runs, remove=True)
    assert "nothing to remove" in cleaned(runs, remove=False)
    for name, document in (("a", changed), ("b", tiny.document("parameter_distance", seeds=[0]))):
        again = tiny.run(tiny.write(tmp_path / "tiny.yaml", document), runs / name)
        assert again.exit_code == 0
        assert "0 tasks succeeded" in again.printed


def test_nothing_is_cleaned_where_a_run_is_under_way(store: Store, tmp_path: Path) -> None:
    tiny.run(tiny.write(tmp_path / "tiny.yaml", tiny.document("parameter_distance", seeds=[0])), tmp_path)
    process = another(Store(tmp_path / "store"), "held = store.in_use()\nheld.__enter__()")
    try:
        with pytest.raises(BadInput, match="a run is under way"):
            cleaned(tmp_path, remove=True)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    cleaned(tmp_path, remove=True)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no run"):
        cleaned(tmp_path, remove=True)
