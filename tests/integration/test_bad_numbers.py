"""Trainings that diverge and data with nothing to learn: a message or a named NaN, and the rest goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tiny

from transferscope.core.errors import BadInput
from transferscope.study.file import load_study

RNG = np.random.Generator(np.random.PCG64(0))
FEW = ("parameter_distance", "mistakes", "spectra", "feature_similarity")


def test_one_training_that_diverges_leaves_a_gap_and_the_rest(tmp_path: Path) -> None:
    document = tiny.document(*FEW, seeds=[0, 1])
    document["targets"]["digits"]["learning_rate"] = {"p_t": 1e25, "ri_t": 0.1}
    run = tiny.run(tiny.write(tmp_path / "study.yaml", document), tmp_path / "out")
    assert run.exit_code == 1
    failed = [line for line in run.printed.splitlines() if line.startswith("failed: ")]
    assert sorted(line.partition(": the training loss is")[0] for line in failed) == [
        f"failed: train P-T digits seed {seed}" for seed in (0, 1)
    ]
    for said in (" at epoch 1, step ", ", rate 1e+25 (last finite loss: "):
        assert all(said in line for line in failed)
    text = (run.out / "report.html").read_text()
    assert "of its measurements failed or did not run" in text
    table = (run.out / "tables" / "parameter_distance.csv").read_text()
    assert "scans" in table
    rows = [line for line in table.splitlines() if "digits" in line]
    assert not any(
        "p_t" in line or "P-T," in line for line in rows if "ri_t" not in line and "RI-T" not in line
    )


def images(kind: str) -> dict[str, Any]:
    noise = RNG.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    labels, num_test = np.array([0, 1] * 6), 1 if kind == "one image" else 6
    if kind == "one image":  # of each class; and one in all to test on
        noise, labels = noise[:2], labels[:2]
    if kind == "one class":
        labels = np.zeros(12, dtype=np.int64)
    if kind == "constant images":
        noise = np.full_like(noise, 128)
    return {
        "train_images": noise,
        "train_labels": labels,
        "test_images": noise[:num_test],
        "test_labels": labels[:num_test],
    }


def odd_study(folder: Path, kind: str, *analyses: str) -> Path:
    np.savez(folder / "data.npz", allow_pickle=False, **images(kind))
    data = {"dataset": "arrays", "path": str(folder / "data.npz"), "keep_duplicates": True}
    document = tiny.document(*analyses, seeds=[0, 1], targets={"odd": {"data": data}})
    for settings in document["analyses"].values():
        settings.pop("targets", None)
    return tiny.write(folder / "study.yaml", document)


def test_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is only one class; at least 2 are needed"):
        load_study(odd_study(tmp_path, "one class"))


@pytest.mark.parametrize(
    ("kind", "analyses"), [("one image", ("parameter_distance", "mistakes")), ("constant images", ())]
)
def test_data_with_nothing_to_learn_give_messages_and_no_verdict(
    tmp_path: Path, kind: str, analyses: tuple[str, ...]
) -> None:
    run = tiny.run(odd_study(tmp_path, kind, *analyses), tmp_path / "out")
    assert "Traceback" not in "".join(path.read_text() for path in run.out.glob("logs/*"))
    if kind == "constant images":
        assert "failed: feature_similarity odd: Expected batches of at least 8 samples, got 6" in run.printed
    assert f", 0 were cached, {1 if kind == 'constant images' else 0} failed, 0 not run" in run.printed
    found = json.loads((run.out / "findings.json").read_text())["findings"]
    assert [finding["id"] for finding in found if finding["verdict"] == "holds"] == []


def test_zero_seeds_are_a_message(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing: seeds"):
        tiny.study(tmp_path, seeds=[])


def test_dead_layers_are_named_and_have_no_numbers(tmp_path: Path) -> None:
    analyses = ("feature_similarity", "parameter_distance", "spectra")
    document = tiny.document(*analyses, seeds=[0], network={"name": "module", "factory": "networks:Dead"})
    document["targets"] = {"digits": document["targets"]["digits"]}
    run = tiny.run(tiny.write(tmp_path / "study.yaml", document), tmp_path / "out")
    assert run.exit_code == 0, run.printed
    table = pl.read_parquet(run.out / "tables" / "feature_similarity.parquet")
    of_layer = dict(
        table.filter(pl.col("layer_a") == pl.col("layer_b")).select("layer_a", "status").iter_rows()
    )
    assert of_layer == {"stem": "ok", "conv2": "constant"}, "the unused layer belongs to no module"
    assert (table["linear_cka"].is_nan() == (table["status"] != "ok")).all()
    report = (run.out / "report.html").read_text()
    assert "constant" in report
