"""What weight statistics give: the parts of a gain, whose runs they are, and their shares over seeds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny
import torch
from fake_subjects import FakeSubject, single_label

from transferscope.analyses.low_level_statistics import analysis as low_level_statistics
from transferscope.analyses.low_level_statistics.analysis import Config, Settings, cells, measure, parts_of
from transferscope.analyses.low_level_statistics.tables import (
    FINAL,
    PARTS,
    SPEED,
    SPLIT,
    SPLIT_CONTROLLED,
    SPLIT_UNSHUFFLED,
)
from transferscope.core.config import Study
from transferscope.core.runs import CONTROLS, Run, kind_of, target_run
from transferscope.study.plan import plan

NUMBERS = {
    "p_t": 0.9,
    "ri_t": 0.5,
    "layer_statistics": 0.6,
    "permuted_weights": 0.65,
    "p_t_shuffled": 0.7,
    "ri_t_shuffled": 0.45,
    "layer_statistics_shuffled": 0.48,
}


def test_the_parts_of_a_gain() -> None:
    assert parts_of(NUMBERS) == pytest.approx(
        {
            "gain": 0.4,
            "weight statistics": 0.1,
            "weight statistics, permuted": 0.15,
            "beyond weight statistics": 0.3,
            "shuffled blocks": 0.25,
            "survives shuffling": 0.15,
            "intact features": 0.15,
            "weight statistics on shuffled blocks": 0.03,
            "features on shuffled blocks": 0.22,
            "features lost by shuffling": 0.08,
        }
    )
    uncontrolled = parts_of({name: NUMBERS[name] for name in list(NUMBERS)[:-1]})
    assert set(uncontrolled) == set(list(PARTS)[:7])
    unshuffled = parts_of({name: value for name, value in NUMBERS.items() if "shuffled" not in name})
    assert "intact features" not in unshuffled
    assert set(unshuffled) < set(parts_of(NUMBERS)) == set(PARTS)


def test_the_steps_of_a_split_add_up_to_the_gain() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(100):
        parts = parts_of({name: float(torch.rand((), generator=generator)) for name in NUMBERS})
        for split in (SPLIT_CONTROLLED, SPLIT, SPLIT_UNSHUFFLED):
            assert sum(parts[name] for name in split) == pytest.approx(parts["gain"], abs=1e-12)


def test_the_numbers_of_a_cell() -> None:
    data = single_label(200, 4, seed=1)
    generator = torch.Generator().manual_seed(2)
    truth = torch.nn.functional.one_hot(data.test.labels, 4)
    subjects = {
        role: FakeSubject(2 * number * truth + torch.randn(200, 4, generator=generator), [number, number / 2])
        for role, number in NUMBERS.items()
    }
    tables = measure(subjects, data, Settings(bootstrap_draws=300), generator)  # pyright: ignore[reportArgumentType]
    right = {
        role: float((own.test_logits.argmax(1) == data.test.labels).double().mean())
        for role, own in subjects.items()
    }
    rows = {(row["quantity"], row["part"]): row for row in tables["low_level_statistics"]}
    assert len(rows) == 2 * len(PARTS)
    speeds = parts_of({role: 0.75 * number for role, number in NUMBERS.items()})
    for part, value in parts_of(right).items():
        final = rows[FINAL, part]
        assert final["value"] == pytest.approx(value)
        assert final["low"] < value < final["high"]
        assert rows[SPEED, part]["value"] == pytest.approx(speeds[part])
        assert rows[SPEED, part]["low"] is None
    networks = {
        (row["kind"], row["shuffled"]): row["final"] for row in tables["low_level_statistics_networks"]
    }
    assert networks["P-T", True] == pytest.approx(right["p_t_shuffled"])
    assert networks["layer statistics", False] == pytest.approx(right["layer_statistics"])
    assert networks["layer statistics", True] == pytest.approx(right["layer_statistics_shuffled"])
    assert len(networks) == 7


def test_what_survives_is_told_from_what_the_statistics_give_on_the_same_images() -> None:
    """A study in which P's features give nothing once the images are shuffled, but its statistics do, and more than on
    intact ones: only with the control on shuffled images are the features not credited with it."""
    truth = {"p_t": 0.9, "ri_t": 0.5, "layer_statistics": 0.55, "permuted_weights": 0.55}
    truth |= {"p_t_shuffled": 0.45, "layer_statistics_shuffled": 0.45, "ri_t_shuffled": 0.25}
    parts = parts_of(truth)
    assert parts["survives shuffling"] == pytest.approx(0.15)
    assert parts["features on shuffled blocks"] == pytest.approx(0)
    assert parts["features lost by shuffling"] == pytest.approx(0.35)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return tiny.study(tmp_path, "feature_reuse", "low_level_statistics")


def test_it_shares_its_runs_with_feature_reuse(study: Study) -> None:
    alone = study.model_copy(update={"analyses": {"feature_reuse": study.analyses["feature_reuse"]}})
    runs = [
        {task.key: task.payload for task in plan(one).graph if task.kind == "train"} for one in (alone, study)
    ]
    new = [runs[1][key] for key in runs[1].keys() - runs[0].keys()]
    assert len(new) == 2 * 2 * 3  # two controls on two targets, three seeds
    assert {kind_of(run) for run in new if isinstance(run, Run)} == set(CONTROLS)


def test_a_control_is_trained_on_shuffled_images_where_that_is_asked_for(study: Study) -> None:
    def shuffled(chosen: Any) -> dict[Any, set[str]]:
        return {
            cell.keys["target"]: {role for role in cell.subjects if role.endswith("_shuffled")}
            for cell in cells(study, Config(shuffled_controls=chosen))
        }

    two = {"p_t_shuffled", "ri_t_shuffled"}
    three = two | {"layer_statistics_shuffled"}
    assert shuffled(False) == {"digits": two, "scans": two}
    assert shuffled(True) == {"digits": three, "scans": three}
    assert shuffled(("scans",)) == {"digits": two, "scans": three}
    (cell, *_) = cells(study, Config(shuffled_controls=True))
    control, p_t = cell.subjects["layer_statistics_shuffled"].run, cell.subjects["p_t_shuffled"].run
    assert (control.view, control.seed, control.data) == (p_t.view, p_t.seed, p_t.data)
    assert kind_of(control) == "layer_statistics"


def test_controls_on_blocks_that_are_not_shuffled_are_refused(study: Study) -> None:
    def problems(study: Study, **options: Any) -> list[str]:
        found = list(low_level_statistics.check(study, Config(**options)))
        assert {problem.key for problem in found} <= {"shuffled_controls"}
        return [problem.message for problem in found]

    without = study.model_copy(update={"analyses": {}})
    assert problems(without) == []
    (message,) = problems(without, shuffled_controls=True)
    assert "no target has shuffled blocks; give block_size_px" in message
    assert problems(without, shuffled_controls=True, block_size_px=4) == []
    (message,) = problems(study, shuffled_controls=("digitz", "scans"))
    assert "'digitz' has no shuffled blocks" in message
    assert "Targets that have: digits, scans. Did you mean 'digits'" in message


def blocks(study: Study, **options: Any) -> dict[str, int | None]:
    return {cell.keys["target"]: cell.keys["block_size_px"] for cell in cells(study, Config(**options))}  # type: ignore[misc]


def test_the_blocks_are_the_smallest_that_feature_reuse_shuffles(study: Study) -> None:
    assert blocks(study) == {"digits": 4, "scans": 4}
    reuse = study.analyses["feature_reuse"]
    some = reuse.model_copy(update={"shuffled_targets": ("scans",), "block_sizes_px": (8, 2, 16)})
    assert blocks(study.model_copy(update={"analyses": {"feature_reuse": some}})) == {
        "digits": None,
        "scans": 2,
    }
    without = study.model_copy(update={"analyses": {}})
    assert blocks(without) == {"digits": None, "scans": None}
    assert blocks(without, block_size_px=8) == {"digits": 8, "scans": 8}


def test_a_control_has_its_own_rate_or_that_of_p_t(study: Study) -> None:
    rates = study.training.learning_rate
    training = study.training.model_copy(
        update={"learning_rate": rates.model_copy(update={"layer_statistics": 0.3})}
    )
    own = study.model_copy(update={"training": training})
    found = {kind: target_run(own, kind, "digits", 0).recipe.learning_rate for kind in CONTROLS}
    assert found == {"layer_statistics": 0.3, "permuted_weights": rates.p_t}
    run = target_run(own, "layer_statistics", "digits", 0)
    assert run.source == target_run(own, "p_t", "digits", 0).source
    assert (run.seed, run.init_seed, run.initialization) == (0, 0, "layer_statistics")


def table(parts: dict[str, list[float]]) -> dict[str, pl.DataFrame]:
    rows = [
        {
            "target": "t",
            "seed": seed,
            "quantity": quantity,
            "part": part,
            "value": value,
            "low": low,
            "high": low,
        }
        for quantity, low in ((FINAL, 0.0), (SPEED, None))
        for part, own in parts.items()
        for seed, value in enumerate(own)
    ]
    return {"low_level_statistics": pl.DataFrame(rows, infer_schema_length=None)}


def test_a_share_is_a_ratio_of_means() -> None:
    made = table({"gain": [0.2, 0.22, 0.18], "weight statistics": [0.05, 0.05, 0.05]})
    rows = low_level_statistics.summarize(made)["low_level_statistics_shares"]
    shares = {(row["quantity"], row["part"]): row for row in rows}
    row = shares[FINAL, "weight statistics"]
    assert row["mean"] == pytest.approx(0.05)
    assert row["share"] == pytest.approx(0.25)
    assert row["share_low"] < 0.25 < row["share_high"]
    assert row["images_low"] == 0
    assert shares[SPEED, "weight statistics"]["images_low"] is None
    assert shares[FINAL, "gain"]["share"] == pytest.approx(1)


def test_without_a_gain_there_is_nothing_to_split() -> None:
    made = table({"gain": [0.1, -0.2, 0.05], "weight statistics": [0.1, 0.1, 0.2]})
    rows = low_level_statistics.summarize(made)["low_level_statistics_shares"]
    assert all(math.isnan(row["share"]) and row["share_note"] for row in rows)
    made["low_level_statistics_networks"] = pl.DataFrame({"n_test": [10]})
    blocks = pl.lit(None, pl.Int64).alias("block_size_px")
    made["low_level_statistics"] = made["low_level_statistics"].with_columns(blocks)
    found = low_level_statistics.findings(made, None)  # pyright: ignore[reportArgumentType]
    claims = {finding.claim.id: finding for finding in found}
    assert "shuffled_controls" in claims["features_survive_shuffling"].note
    assert claims["features_give_more_than_statistics"].verdict == "undecided"
    assert "no gain to split" in claims["features_give_more_than_statistics"].note
