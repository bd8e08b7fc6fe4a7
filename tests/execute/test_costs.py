"""What a plan costs, and how long it would take."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from rich.console import Console

from transferscope.cli.plan import show_plan
from transferscope.core.datasets import describe
from transferscope.core.errors import BadInput
from transferscope.core.runs import target_run
from transferscope.execute.costs import (
    PASSES_PER_TRAINED_IMAGE,
    cost_in_short,
    cost_table,
    seconds,
    simulated_table,
)
from transferscope.study.plan import plan
from transferscope.train.throughput import training_throughput


def column(table: object, index: int) -> list[str]:
    return list(table.columns[index].cells)  # type: ignore[attr-defined]


def test_one_training_takes_its_images_over_the_throughput() -> None:
    assert seconds(PASSES_PER_TRAINED_IMAGE * 1000, throughput=500) == 2


def test_device_hours_add_up(tmp_path: Path) -> None:
    the_plan = plan(tiny.study(tmp_path))
    table = cost_table(the_plan, 10.0)
    tasks = [int(text) for text in column(table, 1)]
    passes = [int(text.replace(",", "")) for text in column(table, 2)]
    assert tasks[-1] == len(the_plan.graph)
    assert sum(tasks[:-1]) == tasks[-1] - sum(task.kind == "data" for task in the_plan.graph)
    whole = sum(task.cost for task in the_plan.graph)
    assert passes[-1] == pytest.approx(whole, abs=1)
    assert float(column(table, 3)[-1]) == pytest.approx(whole / 30 / 3600, rel=1e-2)
    done = {task.key for task in the_plan.graph}
    assert column(cost_table(the_plan, 10.0, done), 1) == ["0"]
    assert column(cost_table(the_plan, 10.0, done), 3) == ["0"]
    assert set(column(cost_table(the_plan, 1e9), 3)) == {"< 0.001"}  # nothing such as 2.78e-05
    assert str(cost_table(the_plan, 1e9).caption) == "in all about 0 s of one device"


def test_more_devices_take_less_time_down_to_the_longest_chain(tmp_path: Path) -> None:
    table = simulated_table(plan(tiny.study(tmp_path)), 10.0, [1, 4, 10_000])
    speed_ups = [float(text.removesuffix(" x")) for text in column(table, 2)]
    assert speed_ups[0] == 1
    assert 3 < speed_ups[1] <= 4 < speed_ups[2]
    assert column(table, 4) == ["the devices", "the devices", "the longest chain"]


def test_throughput_is_measured_with_the_studys_own_network(tmp_path: Path) -> None:
    run = target_run(tiny.study(tmp_path), "ri_t", "scans", 0)
    measured = training_throughput(
        run.network, describe(run.data), run.recipe, run.normalization, torch.device("cpu")
    )
    assert 10 < measured < 1e7


def test_in_short_it_names_what_costs_most_and_how_to_make_it_cheaper(tmp_path: Path) -> None:
    the_plan = plan(tiny.study(tmp_path, "criticality", "mistakes"))
    even = plan(tiny.study(tmp_path, "mistakes", "parameter_distance"))
    whole = sum(task.cost for task in even.graph)
    assert cost_in_short(even) == f"about {whole:,.0f} image passes"  # no analysis costs more than half
    done = {task.key for task in the_plan.graph if task.kind != "measure"}
    measured = [task for task in the_plan.graph if task.kind == "measure"]
    own = [task.cost for task in measured if task.title.startswith("criticality")]
    share = sum(own) / sum(task.cost for task in measured)
    short = cost_in_short(the_plan, done)
    assert f"{share:.0%} of them criticality" in short
    assert "analyses.criticality.num_images" in short
    assert "analyses.criticality.draws" in short
    assert cost_in_short(the_plan, {task.key for task in the_plan.graph}) == "about 0 image passes"


def test_given_networks_have_no_speed_of_training_to_measure(tmp_path: Path) -> None:
    given = tiny.study(tmp_path, "mistakes").model_copy(update={"instances": {}})
    with pytest.raises(BadInput, match="no training of its own to measure"):
        show_plan(given, None, throughput="measure", console=Console(file=io.StringIO()))


def test_plan_prints_costs(tmp_path: Path) -> None:
    printed = io.StringIO()
    study = tiny.study(tmp_path, "mistakes")
    show_plan(study, None, throughput="100", device_counts="1, 8", console=Console(file=printed, width=160))
    text = printed.getvalue()
    assert "Estimated cost at 100 training images/s a device" in text
    assert "measure mistakes" in text
    assert "the longest chain" in text


def document(folder: Path, **options: str | None) -> dict[str, Any]:
    printed = io.StringIO()
    show_plan(tiny.study(folder, "mistakes"), None, **options, as_json=True, console=Console(file=printed))
    return json.loads(printed.getvalue())


def test_the_json_has_the_cost_and_what_it_was_computed_from(tmp_path: Path) -> None:
    found = document(tmp_path, throughput="100", device_counts="1,8")
    cost = found["cost"]
    passes = sum(task["image_passes"] for task in found["tasks"])
    assert cost["image_passes"] == pytest.approx(passes)
    assert cost["device_hours"] == pytest.approx(passes / cost["passes_per_training_image"] / 100 / 3600)
    assert (cost["training_images_per_second"], cost["speed_is"], cost["measured_on"]) == (100, "given", None)
    names = [work["name"] for work in cost["work"]]
    assert {"pre-train on letters", "train P-T on digits", "measure mistakes"} <= {*names}
    hours = sum(work["device_hours"] for work in cost["work"])
    assert 0.9 * cost["device_hours"] < hours < cost["device_hours"], "reading the data is in the whole alone"
    assert [one["num_devices"] for one in cost["simulated"]] == [1, 8]
    assert cost["simulated"][0]["seconds"] == pytest.approx(3600 * cost["device_hours"])


def test_the_json_without_a_speed_has_no_cost_in_hours(tmp_path: Path) -> None:
    assert document(tmp_path)["cost"] is None


def test_a_speed_that_was_measured_is_said_in_the_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transferscope.train.throughput.training_throughput", lambda *_: 250.0)
    cost = document(tmp_path, throughput="measure", device="cpu")["cost"]
    assert (cost["training_images_per_second"], cost["speed_is"]) == (250, "measured")
    assert (cost["measured_on"], cost["measured_with_recipe_of"]) == ("cpu", "digits")
    assert cost["simulated"] is None


@pytest.mark.parametrize("throughput", ["fast", "0", "-3", "nan", "inf"])
def test_a_throughput_that_is_none_is_refused(tmp_path: Path, throughput: str) -> None:
    with pytest.raises(BadInput, match="expected images a second above 0, or measure"):
        show_plan(tiny.study(tmp_path), None, throughput=throughput, console=Console())


@pytest.mark.parametrize("counts", ["", "0", "1,,2", "two", "1.5"])
def test_numbers_of_devices_that_are_none_are_refused(tmp_path: Path, counts: str) -> None:
    with pytest.raises(BadInput, match="expected whole numbers above 0"):
        show_plan(tiny.study(tmp_path), None, throughput="1", device_counts=counts, console=Console())


def test_a_simulation_without_a_speed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="add --throughput"):
        show_plan(tiny.study(tmp_path), None, device_counts="8", console=Console())
