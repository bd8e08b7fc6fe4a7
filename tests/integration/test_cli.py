"""The command line: exit codes, and messages that say what is wrong and how to mend it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tiny
from command_line import Call
from PIL import Image
from tiny import TinyRun

from transferscope import __version__
from transferscope.analyses.contract import all_claims

CLAIMS = all_claims()


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished study with few figures, for tests that draw them again."""
    place = tmp_path_factory.mktemp("drawn")
    data = tiny.document("mistakes", "feature_reuse", seeds=[0, 1])
    data["targets"] = {"digits": data["targets"]["digits"]}
    return tiny.run(tiny.write(place / "study.yaml", data), place / "out", draws=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def document(**replaced: Any) -> dict[str, Any]:
    return tiny.document("mistakes", "feature_reuse", "barriers", **replaced)


def misspelt() -> dict[str, Any]:
    data = document()
    data["training"]["epoch"] = data["training"].pop("epochs")
    return data


def wrong_type() -> dict[str, Any]:
    data = document()
    data["training"]["epochs"] = "many"
    return data


def unknown_analysis() -> dict[str, Any]:
    return document(analyses={"mistake": None})


def block_that_does_not_divide() -> dict[str, Any]:
    data = document()
    data["analyses"]["feature_reuse"]["block_sizes_px"] = [5]
    return data


def one_class_in_an_array() -> dict[str, Any]:
    images, labels = np.zeros((4, 16, 16, 3), np.uint8), np.zeros(4, np.int64)
    np.savez("one.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    return document(
        targets={"one": {"data": {"dataset": "arrays", "path": "one.npz"}}}, analyses={"mistakes": None}
    )


def one_class_in_folders() -> dict[str, Any]:
    for split in ("train", "test"):
        Path(f"pictures/{split}/cats").mkdir(parents=True)
        Image.new("RGB", (16, 16)).save(f"pictures/{split}/cats/1.png")
    data = {"dataset": "imagefolder", "root": "pictures", "image_size_px": 16}
    return document(targets={"one": {"data": data}}, analyses={"mistakes": None})


@pytest.mark.parametrize(
    ("make", "options", "said"),
    [
        (misspelt, [], ["training.epoch: unknown key. Did you mean 'epochs'?"]),
        (wrong_type, [], ["training.epochs: expected a whole number", "many"]),
        (unknown_analysis, [], ["unknown analysis 'mistake'. Did you mean 'mistakes'?"]),
        (block_that_does_not_divide, [], ["block_sizes_px", "5 px", "16 px", "Valid: 1, 2, 4, 8, 16."]),
        (one_class_in_an_array, [], ["targets.one.data", "class"]),
        (one_class_in_folders, [], ["targets.one.data", "class", "at least 2"]),
        (document, ["--variant", "small"], ["unknown variant 'small'."]),
        (document, ["--set", "training.epochs"], ["--set training.epochs", "expected key=value"]),
        (document, ["--set", "training.epochs=0"], ["--set training.epochs=0", "at least 1"]),
        (document, ["--set", "seeds=[0,0]"], ["seeds", "must differ"]),
        (document, ["--device", "tpu9"], ["--device tpu9: unknown. Valid: auto, cpu, cuda"]),
        (document, ["--workers", "0"], ["Usage: ", "--workers"]),
    ],
)
def test_a_mistake_of_the_user_is_told_and_ends_with_2(
    call: Call, folder: Path, make: Callable[[], dict[str, Any]], options: list[str], said: list[str]
) -> None:
    tiny.write(folder / "study.yaml", make())
    done = call("run", "study.yaml", "--out", "out", *options)
    assert done.code == 2
    for text in said:
        assert text in done.err
    assert "Traceback" not in done.err
    if not options:
        assert "study.yaml:" in done.err, "the message names the place"
    assert not list(folder.glob("out/store/objects/*")), "nothing was computed"


def test_all_mistakes_are_told_at_once(call: Call, folder: Path) -> None:
    data = misspelt()
    data["seeds"] = []
    data["analyses"]["mistake"] = None
    tiny.write(folder / "study.yaml", data)
    done = call("plan", "study.yaml")
    assert done.code == 2
    assert done.err.count("error: study.yaml:") >= 3


@pytest.mark.parametrize("arguments", [["run", "none.yaml", "--out", "out"], ["plan", "none.yaml"]])
def test_a_missing_file_is_told(call: Call, folder: Path, arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.code == 2
    assert done.err == "error: none.yaml: no such file; `transferscope init FILE` writes one to start from\n"


@pytest.mark.parametrize("in_the_way", ["out", "out/store", "out/study.yaml/x"])
def test_a_folder_that_cannot_be_written_is_told(call: Call, folder: Path, in_the_way: str) -> None:
    tiny.write(folder / "study.yaml", document())
    path = folder / in_the_way
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    done = call("run", "study.yaml", "--out", "out", "--workers", "1")
    assert done.code == 2
    assert done.err.startswith("error: can't write ")
    assert "out" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_folder_without_a_study_is_told(call: Call, folder: Path, command: str) -> None:
    done = call(command, "nothing")
    assert done.code == 2
    assert done.err == (
        "error: nothing holds no study: there is no study.yaml. Name the --out folder of a run.\n"
    )


@pytest.mark.parametrize("arguments", [["run"], ["frobnicate"], ["run", "study.yaml"], ["--frobnicate"]])
def test_a_wrong_call_ends_with_2(call: Call, folder: Path, arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.code == 2
    assert "Usage: " in done.err


def test_help_and_version(call: Call) -> None:
    done = call("--version")
    assert (done.code, done.out) == (0, f"{__version__}\n")
    help_ = call("--help")
    assert help_.code == 0
    for command in ("run", "demo", "plan", "status", "report", "init"):
        assert command in help_.out
        assert "Example: transferscope" in call(command, "--help").out


def test_init_writes_a_file_and_never_over_another_one(call: Call, folder: Path) -> None:
    done = call("init", "new/study.yaml")
    assert done.code == 0
    assert "transferscope run new/study.yaml" in done.out
    written = (folder / "new/study.yaml").read_text()
    assert written.startswith("#")
    again = call("init", "new/study.yaml")
    assert again.code == 2
    assert again.err == "error: new/study.yaml exists already; choose another name, or remove it first.\n"
    assert (folder / "new/study.yaml").read_text() == written
    assert call("init", "new/study.yaml/x.yaml").code == 2


def test_a_plan_says_what_would_run(call: Call, tiny_run: TinyRun) -> None:
    total = len(tiny_run.plan.graph)
    fresh = call("plan", tiny_run.study_file)
    assert fresh.code == 0
    assert f"tiny: {total} tasks; about " in fresh.out
    assert "image passes left" in fresh.out
    for name in tiny_run.plan.study.analyses:
        assert f"{name}: " in fresh.out
    cached = call("plan", tiny_run.study_file, "--out", tiny_run.out)
    assert f"tiny: {total} tasks, {total} cached; nothing left to compute" in cached.out
    document = json.loads(call("plan", tiny_run.study_file, "--out", tiny_run.out, "--json").out)
    assert [task["key"] for task in document["tasks"]] == [task.key for task in tiny_run.plan.graph]
    assert all(task["cached"] and not task["to_run"] for task in document["tasks"])
    more = call("plan", tiny_run.study_file, "--out", tiny_run.out, "--set", "seeds=[0,1,2,3]")
    assert "of one process at the speed so far" in more.out


def test_status_says_how_far_it_has_come(call: Call, tiny_run: TinyRun, folder: Path) -> None:
    done = call("status", tiny_run.out)
    assert done.code == 0
    assert f"complete: {tiny_run.out / 'report.html'}" in done.out.replace("\n", "")
    shutil.copytree(tiny_run.out, folder / "copy")
    (folder / "copy/report.html").unlink()
    assert "draw the report with: transferscope report copy" in call("status", "copy").out
    lost = next(task.key for task in tiny_run.plan.graph if task.title == "mistakes digits")
    shutil.rmtree(folder / "copy/store/objects" / lost[:2] / lost)
    assert "1 tasks to run; the command that started it goes on" in call("status", "copy").out


def test_a_finished_run_tells_its_findings_and_its_report(tiny_run: TinyRun) -> None:
    assert tiny_run.exit_code == 0
    total = len(tiny_run.plan.graph)
    assert f"{total} tasks succeeded, 0 were cached, 0 failed, 0 not run" in tiny_run.printed
    assert f"report: {tiny_run.out / 'report.html'}" in tiny_run.printed
    found = json.loads((tiny_run.out / "findings.json").read_text())
    assert found["study"] == "tiny"
    assert [finding["id"] for finding in found["findings"]] == [claim.id for claim in CLAIMS]
    origin = json.loads((tiny_run.out / "provenance.json").read_text())
    assert origin["seeds"] == [0, 1, 2]
    assert len(origin["tasks"]) == total
    assert {task["state"] for task in origin["tasks"]} == {"computed"}


@pytest.mark.usefixtures("empty_figures")
def test_report_draws_again_what_is_there(call: Call, drawn: TinyRun, folder: Path) -> None:
    shutil.copytree(drawn.out, folder / "copy")
    kept = [*sorted((folder / "copy/tables").iterdir()), folder / "copy/findings.json"]
    before = {path: path.read_bytes() for path in kept}
    for path in kept:
        path.unlink()
    done = call("report", "copy")
    assert done.code == 0
    assert {path: path.read_bytes() for path in kept} == before
    assert "0 tasks succeeded" in done.out


@pytest.mark.usefixtures("empty_figures")
def test_the_report_has_its_data_and_can_leave_the_images_out(
    call: Call, drawn: TinyRun, folder: Path
) -> None:
    shutil.copytree(drawn.out, folder / "copy")
    report = folder / "copy" / "report.html"
    with_images = report.read_text()
    assert "data:image/png" in with_images
    assert "digits: 50 training images and 60 test images of 10 classes. Majority baseline" in with_images
    metrics = pl.read_parquet(folder / "copy" / "tables" / "test_metrics.parquet")
    assert set(metrics["n_test"]) == {60}
    assert ((metrics["low"] < metrics["value"]) & (metrics["value"] < metrics["high"])).all()
    counts = pl.read_parquet(folder / "copy" / "tables" / "data_classes.parquet").filter(data="digits")[
        "test_images"
    ]
    assert metrics["baseline"].to_list() == pytest.approx([counts.max() / 60] * len(metrics))
    assert call("report", "copy", "--no-images").code == 0
    without = report.read_text()
    assert "data:image/png" not in without
    assert "Pictures of test images were left out" in without
    for path in (folder / "copy" / "tables").glob("*.parquet"):
        frame = pl.read_parquet(path)
        assert all(
            frame[name].null_count() == frame.height
            for name in frame.columns
            if frame[name].dtype == pl.Binary
        )


def test_figures_and_tables_for_a_paper(call: Call, drawn: TinyRun, folder: Path) -> None:
    shutil.copytree(drawn.out, folder / "copy")
    drawings = {path.stem for path in (folder / "copy/figures").glob("*.svg")}
    done = call("report", "copy", "--format", "pdf", "--latex")
    assert done.code == 0
    assert "copy/figures/*.pdf, copy/tables/*.tex" in done.out
    assert {path.stem for path in (folder / "copy/figures").glob("*.pdf")} == drawings
    assert r"\begin{tabular}" in (folder / "copy/tables/claims.tex").read_text()
    assert call("report", "copy").code == 0
    assert not list((folder / "copy").glob("*/*.pdf")), "of an earlier drawing"
    told = call("report", "copy", "--json")
    assert json.loads(told.out) == json.loads((folder / "copy/findings.json").read_text())
    refused = call("report", "copy", "--format", "tiff")
    assert refused.code == 2
    assert refused.err == "error: --format tiff: unknown. Valid: pdf, png, svg, md.\n"


@pytest.mark.parametrize("name", ["tables", "figures", "report.html"])
@pytest.mark.usefixtures("empty_figures")
def test_a_report_that_cannot_be_written_is_told(call: Call, drawn: TinyRun, folder: Path, name: str) -> None:
    shutil.copytree(drawn.out, folder / "copy")
    path = folder / "copy" / name
    if path.is_dir():
        shutil.rmtree(path)
        path.touch()
    else:
        path.unlink()
        path.mkdir()
    done = call("report", "copy")
    assert done.code == 2
    assert done.err.startswith("error: can't write to copy")
    assert "draw again with: transferscope report copy" in done.err
    assert "Traceback" not in done.err


def test_the_study_file_beside_the_report_runs_the_same_study(call: Call, tiny_run: TinyRun) -> None:
    done = call("plan", tiny_run.out / "study.yaml", "--out", tiny_run.out)
    assert done.code == 0
    assert "nothing left to compute" in done.out


def without_p_t(*analyses: str) -> dict[str, Any]:
    """P-T's learning rate is so high that its loss isn't finite; RI-T can be trained."""
    training = {**tiny.document()["training"], "learning_rate": {"p_t": 1e25, "ri_t": 0.1}}
    data = tiny.document(*analyses, training=training, seeds=[0, 1])
    return data | {"targets": {"digits": data["targets"]["digits"]}}


@pytest.mark.usefixtures("empty_figures")
def test_a_failure_ends_with_1_and_leaves_a_report_with_the_gap(call: Call, folder: Path) -> None:
    tiny.write(folder / "study.yaml", without_p_t("mistakes", "barriers"))
    options = ("--out", "out", "--workers", "1", "--device", "cpu")
    done = call("run", "study.yaml", *options)
    assert done.code == 1
    assert "Traceback" not in done.out + done.err
    assert "failed: train P-T digits seed 0: the training loss is " in done.out
    assert "not run: mistakes digits" in done.out
    # 2 data, the pre-training, 2 RI-T and 1 from the same init, 2 barriers between these, their basin, their plane
    counts = re.search(r"10 tasks succeeded, 0 were cached, 2 failed, (\d) not run", done.out)
    assert counts is not None
    left = 2 + int(counts[1])
    logs = [line.split("log: ")[1] for line in done.out.splitlines() if "  log: " in line]
    assert len(logs) == 2
    for log in logs:
        assert "Lower learning_rate or set clip_norm." in (folder / log).read_text()
    report = (folder / "out/report.html").read_text()
    assert "1 of its measurements failed or did not run" in report
    assert "The measurements that it rests on failed or did not run." in report
    origin = json.loads((folder / "out/provenance.json").read_text())
    states = {task["title"]: task["state"] for task in origin["tasks"]}
    assert states["train P-T digits seed 0"] == "missing"
    assert states["train RI-T digits seed 0"] == "computed"
    assert f"{left} tasks to run" in call("status", "out").out
    assert call("report", "out").code == 1
    mended = call("run", "study.yaml", *options, "--set", "training.learning_rate.p_t=0.1")
    assert mended.code == 0
    assert f"{left} tasks succeeded, 10 were cached, 0 failed, 0 not run" in mended.out


# Criticality puts modules of P-T back to a fresh draw too, which is the init of an RI-T: without RI-T, neither.
@pytest.mark.parametrize(("kind", "not_run"), [("p_t", 2), ("ri_t", 4)])
@pytest.mark.usefixtures("empty_figures")
def test_what_is_left_of_a_kind_is_reported_without_the_other(
    call: Call, folder: Path, kind: str, not_run: int
) -> None:
    data = without_p_t("criticality")
    data["training"]["learning_rate"] = {"p_t": 0.1, "ri_t": 0.1, kind: 1e25}
    tiny.write(folder / "study.yaml", data)
    done = call("run", "study.yaml", "--out", "out", "--workers", "1", "--device", "cpu")
    assert done.code == 1
    assert f"2 failed, {not_run} not run" in done.out
    assert (folder / "out/report.html").exists()
