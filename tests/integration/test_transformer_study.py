"""A whole study of a vision transformer, from the pre-training over all analyses to the page."""

from __future__ import annotations

from pathlib import Path

import networks
import polars as pl
import tiny
from test_network_families import SIZE, check_numbers

from transferscope.models.build import network_from_text
from transferscope.report.page.render import identifier


@networks.needs_timm
def test_a_whole_study_of_a_transformer_ends_in_a_report(tmp_path: Path) -> None:
    """Nothing failed, nothing left out, a place for every figure; how figures look doesn't depend on the network."""
    text = "timm:test_vit"
    sizes = {"image_size_px": SIZE, "train_size": 50, "test_size": 50}
    document = tiny.document(
        network=network_from_text(text).model_dump(mode="json"),
        targets={"digits": {"data": {"dataset": "rendered_digits", **sizes}, "likeness_rank": 1}},
        seeds=[0, 1],
    )
    document["source"] = {
        "data": {"dataset": "letters", **sizes},
        "pretraining": {"epochs": 1, "batch_size": 10, "learning_rate": 0.01, "keep_epochs": "all"},
    }
    document["training"] |= {
        "epochs": 1,
        "batch_size": 10,
        "learning_rate": {"p_t": 0.01, "ri_t": 0.01},
        "augmentation": "crop_and_flip",
    }
    document["analyses"]["feature_reuse"]["block_sizes_px"] = [8]
    document["analyses"]["low_level_statistics"] = {"bootstrap_draws": 100}
    document["analyses"]["criticality"] |= {
        "seeds": [0],
        "num_images_over_epochs": 16,
        "relative_sigmas": [],
    }
    document["analyses"].pop("learning_rates", None)
    done = tiny.run(tiny.write(tmp_path / "study.yaml", document), tmp_path / "out")
    assert done.exit_code == 0, done.printed
    assert " 0 failed, 0 not run" in done.printed
    report = (tmp_path / "out" / "report.html").read_text()
    for name in document["analyses"]:
        assert f'<section id="{identifier("analysis", name)}"' in report
    assert "Part of this is missing." not in report
    drawn = {path.stem.split("-")[0] for path in (tmp_path / "out" / "figures").glob("*.svg")}
    assert {"feature_reuse", "barriers", "criticality", "feature_similarity", "checkpoints"} <= drawn
    tables = {
        name: pl.read_parquet(tmp_path / "out" / "tables" / f"{name}.parquet")
        for name in document["analyses"]
    }
    check_numbers(tables, text)
