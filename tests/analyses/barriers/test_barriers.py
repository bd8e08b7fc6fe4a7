"""The analysis of barriers: which cells, the check of the ends, BatchNorm, what is compared with what."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny
import torch
from torch import Tensor, nn

from transferscope.analyses.barriers import analysis as barriers
from transferscope.analyses.barriers.path import interior_drop
from transferscope.analyses.contract import Split
from transferscope.core.config import Study
from transferscope.core.errors import TaskFailed
from transferscope.metrics.evaluation.scores import per_example_loss, score
from transferscope.metrics.landscape.averaging import ensemble_logits
from transferscope.metrics.landscape.distance import l2_distance
from transferscope.report.collect import collect
from transferscope.report.workspace import Workspace
from transferscope.report.write import _section

SETTINGS = barriers.Settings(
    alphas=(-0.5, 0, 0.5, 1), bootstrap_draws=100, basin_points=2, basin_draws=2, plane_size=2
)


def network(seed: int, batch_norm: bool = False) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        norm = [nn.BatchNorm1d(6)] if batch_norm else []
        net = nn.Sequential(nn.Linear(4, 6), *norm, nn.ReLU(), nn.Linear(6, 3))
        for module in norm:
            module.running_mean.copy_(torch.randn(6))
    return net.eval()


@dataclass
class FakeSubject:
    """A network with predictions on the test images."""

    net: nn.Module
    test_logits: Tensor = field(default_factory=lambda: torch.zeros(0))
    train_metric: float = 0.5
    epoch: int = 3

    @property
    def state(self) -> dict[str, Tensor]:
        return self.net.state_dict()

    @property
    def history(self) -> pl.DataFrame:
        return pl.DataFrame({"epoch": [0, 3], "train_metric": [0.9, self.train_metric]})

    def model(self) -> nn.Module:
        return copy.deepcopy(self.net).eval()


class FakeData:
    """Images as vectors of 4 numbers."""

    description: Any = None

    def __init__(self, multi_label: bool = False) -> None:
        generator = torch.Generator().manual_seed(0)
        self.train, self.test = (self._split(n, multi_label, generator) for n in (30, 40))

    @staticmethod
    def _split(n: int, multi_label: bool, generator: torch.Generator) -> Split:
        labels = torch.randint(3, (n,), generator=generator)
        if multi_label:
            labels = (torch.rand(n, 3, generator=generator) < 0.4).float()
        inputs = torch.randn(n, 4, generator=generator)
        return Split(inputs=inputs, labels=labels, ids=tuple(map(str, range(n))))


def subject(seed: int, data: FakeData, batch_norm: bool = False, **more: Any) -> FakeSubject:
    net = network(seed, batch_norm)
    with torch.no_grad():
        return FakeSubject(net, test_logits=net(data.test.inputs), **more)


def measure(
    subjects: dict[str, FakeSubject], data: FakeData, settings: Any = SETTINGS
) -> dict[str, pl.DataFrame]:
    rows = barriers.measure(subjects, data, settings, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    return {name: pl.DataFrame(found, infer_schema_length=None) for name, found in rows.items()}


def test_a_pair_has_a_row_a_definition_on_the_same_path() -> None:
    data = FakeData()
    found = measure({"a": subject(0, data), "b": subject(1, data)}, data)
    line, mean = found["barriers"].iter_rows(named=True)
    assert (line["definition"], mean["definition"]) == ("line", "mean")
    assert mean["barrier_loss"] >= line["barrier_loss"]
    assert line["batch_norm"] == "none"
    for column in ("loss_a", "metric_b", "loss_midpoint", "metric_midpoint", "n"):
        assert line[column] == mean[column]
    assert line["loss_a"] == line["loss_a_raw"]
    curve = found["barriers_curves"]
    assert curve["alpha"].to_list() == [-0.5, 0, 0.5, 1]
    assert curve["loss"].to_list()[1:] == [line[f"loss_{name}"] for name in ("a", "midpoint", "b")]
    assert all(found[name].is_empty() for name in ("barriers_basin", "barriers_plane", "barriers_averaging"))


@pytest.mark.parametrize("wrong", ["a", "b"])
def test_ends_that_are_not_the_networks_that_were_evaluated_are_an_error(wrong: str) -> None:
    data = FakeData()
    subjects = {"a": subject(0, data), "b": subject(1, data)}
    subjects[wrong].test_logits = subjects[wrong].test_logits + 0.1 * torch.arange(3)
    with pytest.raises(TaskFailed, match=f"the test loss of {wrong} is"):
        measure(subjects, data)


def test_images_in_another_order_are_an_error() -> None:
    data = FakeData()
    subjects = {"a": subject(0, data), "b": subject(1, data)}
    subjects["b"].test_logits = subjects["b"].test_logits.flip(0)
    with pytest.raises(TaskFailed, match="their order"):
        measure(subjects, data)


def test_rounding_is_no_error_and_a_part_of_the_images_is_compared_with_its_own_part() -> None:
    data = FakeData()
    subjects = {"a": subject(0, data), "b": subject(1, data)}
    subjects["a"].test_logits = subjects["a"].test_logits * (1 + 1e-7)
    settings = SETTINGS.model_copy(update={"num_images": 7})
    assert measure(subjects, data, settings)["barriers"]["n"].to_list() == [7, 7]


def test_a_network_from_elsewhere_has_no_predictions_on_these_images() -> None:
    data = FakeData()
    found = measure({"a": subject(0, data), barriers.ELSEWHERE: FakeSubject(network(1))}, data)
    assert found["barriers"]["loss_b"].is_finite().all()


@pytest.mark.parametrize("policy", ["keep", "interpolate", "re-estimate"])
def test_batch_norm_is_said_and_both_readings_of_the_ends_are_given(policy: str) -> None:
    data = FakeData()
    settings = SETTINGS.model_copy(update={"batch_norm": policy, "calibration_images": 20})
    subjects = {"a": subject(0, data, batch_norm=True), "b": subject(1, data, batch_norm=True)}
    row = measure(subjects, data, settings)["barriers"].row(0, named=True)
    assert row["batch_norm"] == policy
    for name in ("a", "b"):
        direct = per_example_loss(subjects[name].test_logits, data.test.labels).mean().item()
        assert row[f"loss_{name}_raw"] == pytest.approx(direct, rel=1e-6)
        # float32 logits of other batches differ in their last digits
        is_same = row[f"loss_{name}"] == pytest.approx(row[f"loss_{name}_raw"], rel=1e-5)
        assert is_same == (policy != "re-estimate")
    together = measure({"P-T 0": subjects["a"], "P-T 1": subjects["b"]}, data, settings)
    said = "re-estimate" if policy == "re-estimate" else "interpolate"
    assert together["barriers_basin"]["batch_norm"].to_list() == [said]
    assert together["barriers_averaging"]["batch_norm"].unique().to_list() == [said]


@pytest.mark.parametrize("multi_label", [False, True])
def test_averages_are_compared_with_the_mean_instance(multi_label: bool) -> None:
    data = FakeData(multi_label)
    subjects = {f"RI-T {i}": subject(i, data, train_metric=(0.6, 0.8, 0.7)[i]) for i in range(3)}
    table = measure(subjects, data)["barriers_averaging"]
    rows = {row["what"]: row for row in table.iter_rows(named=True)}
    assert list(rows) == ["averaged weights", "mean instance", "best instance", "ensemble"]
    labels, logits = data.test.labels, [s.test_logits for s in subjects.values()]
    mean = sum(score(one, labels) for one in logits) / 3
    assert rows["mean instance"]["metric"] == pytest.approx(mean, abs=1e-12)
    assert rows["mean instance"]["metric_gain"] is None
    assert rows["best instance"]["metric"] == score(logits[1], labels)  # by training metric, at the end
    ensemble = ensemble_logits(logits, multi_label=multi_label)
    assert rows["ensemble"]["metric"] == score(ensemble, labels)
    average = network(9)
    states = [s.state for s in subjects.values()]
    average.load_state_dict({name: sum(s[name] for s in states) / 3 for name in states[0]})
    with torch.no_grad():
        alone = average(data.test.inputs)
    loss = per_example_loss(alone, labels).mean().item()
    assert rows["averaged weights"]["loss"] == pytest.approx(loss, rel=1e-5)
    for row in (rows["averaged weights"], rows["best instance"], rows["ensemble"]):
        assert row["metric"] - row["metric_gain"] == pytest.approx(mean, abs=1e-12)
        assert row["metric_gain_low"] <= row["metric_gain"] <= row["metric_gain_high"]
        assert row["loss"] + row["loss_gain"] == pytest.approx(rows["mean instance"]["loss"], abs=1e-12)
    assert table["num_instances"].unique().to_list() == [3]


def test_delta_is_in_norms_of_the_networks_and_epsilon_in_points_unless_given() -> None:
    data = FakeData()
    subjects = {"P-T 0": subject(0, data), "P-T 1": subject(1, data)}
    distance = l2_distance(subjects["P-T 0"].net, subjects["P-T 1"].net)
    row = measure(subjects, data)["barriers_basin"].row(0, named=True)
    nets = [each.net for each in subjects.values()]
    norm = sum(torch.cat([w.flatten() for w in net.parameters()]).double().norm().item() for net in nets) / 2
    assert row["delta"] == row["mean_norm"] == pytest.approx(norm, rel=1e-6)
    assert row["mean_distance"] == distance
    assert row["delta_chosen"] == "1 x mean norm"
    assert row["epsilon_chosen"] == "two points of the metric"
    assert row["wall"] == min(row["noise_loss"], row["ray_loss"]) - row["mu"]
    assert row["margin"] == min(row["epsilon"] - row["deviation"], row["wall"] - 2 * row["epsilon"])
    assert row["is_basin"] == (row["margin"] >= 0)
    given = SETTINGS.model_copy(update={"delta": 0.25, "basin_epsilon": 0.0})
    row = measure(subjects, data, given)["barriers_basin"].row(0, named=True)
    assert (row["delta"], row["delta_chosen"]) == (0.25, "given")
    assert (row["epsilon"], row["epsilon_chosen"], row["condition_i"]) == (0.0, "given", False)


def test_a_plane_marks_its_instances_and_where_they_came_from() -> None:
    data = FakeData()
    subjects = {f"P-T {i}": subject(i, data) for i in range(3)} | {"P": FakeSubject(network(7), epoch=0)}
    table = measure(subjects, data)["barriers_plane"]
    assert table["instance"].to_list() == [None] * 4 + ["P-T 0", "P-T 1", "P-T 2", "P"]
    distance = l2_distance(subjects["P-T 0"].net, subjects["P-T 1"].net)
    marked = {row["instance"]: row for row in table.iter_rows(named=True)}
    assert (marked["P-T 0"]["x"], marked["P-T 0"]["y"]) == (0, 0)
    assert (marked["P-T 1"]["x"], marked["P-T 1"]["y"]) == (pytest.approx(distance), 0)
    assert marked["P"]["loss"] is None
    assert marked["P"]["off_plane"] > 0
    subjects["P-T 2"].test_logits = subjects["P-T 2"].test_logits + torch.arange(3)
    with pytest.raises(TaskFailed, match="P-T 2"):
        measure(subjects, data)


def test_two_instances_span_a_plane_with_what_they_started_from(tmp_path: Path) -> None:
    two = planes(tiny.study(tmp_path, "barriers", seeds=[0, 1]))
    assert two == [("P-T 0", "P-T 1", "P"), ("RI-T 0", "RI-T 1", "RI 0")]
    three = planes(tiny.study(tmp_path, "barriers", seeds=[0, 1, 2, 3]))
    assert three == [("P-T 0", "P-T 1", "P-T 2", "P"), ("RI-T 0", "RI-T 1", "RI-T 2", "RI 0")]
    assert planes(tiny.study(tmp_path, "barriers", seeds=[0])) == []


def planes(study: Study) -> list[tuple[str, ...]]:
    roles = [tuple(cell.subjects) for cell in barriers.cells(study, study.analyses["barriers"])]  # type: ignore[arg-type]
    return [names for names in roles if {"P", "RI 0"} & set(names)]


def test_sets_are_every_two_and_all(tmp_path: Path) -> None:
    study = tiny.study(tmp_path, "barriers")
    found = [
        (cell.keys["pair"], cell.keys["a"], cell.keys["b"], len(cell.subjects))
        for cell in barriers.cells(study, study.analyses["barriers"])  # type: ignore[arg-type]
        if "a" not in cell.subjects and not {"P", "RI 0"} & set(cell.subjects)
    ]
    assert found == [
        (pair, a, b, size)
        for kind in ("P-T", "RI-T")
        for pair, a, b, size in (
            (f"{kind} & {kind}", f"{kind} 0", f"{kind} 1", 2),
            (f"{kind} & {kind}", f"{kind} 0", f"{kind} 2", 2),
            (f"{kind} & {kind}", f"{kind} 1", f"{kind} 2", 2),
            (kind, None, None, 3),
        )
    ]


def test_pairs_across_targets_are_measured_on_both_and_once(tmp_path: Path) -> None:
    study = tiny.study(tmp_path, "barriers", seeds=[0, 1])
    config = barriers.Config(across=(("digits", "scans"), ("scans", "digits")), targets=("digits",))
    across = [cell for cell in barriers.cells(study, config) if cell.keys["pair"] == barriers.ACROSS]
    found = [(cell.keys["target"], cell.keys["target_b"], cell.keys["seed_a"]) for cell in across]
    assert found == [
        ("digits", "scans", 0),
        ("digits", "scans", 1),
        ("scans", "digits", 0),
        ("scans", "digits", 1),
    ]
    for cell in across:
        assert list(cell.subjects) == ["a", barriers.ELSEWHERE]
        assert cell.subjects["a"].run.data == cell.data
        assert cell.subjects[barriers.ELSEWHERE].run.data != cell.data


def best_study(folder: Path, **more: Any) -> Study:
    training = {**tiny.document()["training"], "held_out": 0.1, "best_by": "held_out"}
    return tiny.study(folder, "barriers", training=training, **more)


def test_pairs_are_taken_at_both_checkpoints_where_the_best_is_kept(tmp_path: Path) -> None:
    study = best_study(tmp_path, seeds=[0, 1])
    config = barriers.Config(across=(("digits", "scans"),), targets=("digits",))
    found = list(barriers.cells(study, config))
    by_checkpoint = {
        name: [cell for cell in found if cell.keys["checkpoint"] == name] for name in ("final", "best")
    }
    pairs = [cell for cell in by_checkpoint["final"] if "a" in cell.subjects]
    assert [
        {**cell.keys, "checkpoint": None, "best_by": None}
        for cell in pairs
        if cell.keys["target"] == cell.keys["target_b"]
    ] == [{**cell.keys, "checkpoint": None, "best_by": None} for cell in by_checkpoint["best"]]
    for cell in by_checkpoint["best"]:
        assert cell.keys["best_by"] == "held_out"
        assert all(point == point.run.best for point in cell.subjects.values())
    assert all(cell.keys["best_by"] is None for cell in by_checkpoint["final"])
    only_final = config.model_copy(update={"checkpoints": ("final",)})
    assert [cell.keys for cell in barriers.cells(study, only_final)] == [
        cell.keys for cell in by_checkpoint["final"]
    ]
    elsewhere = config.model_copy(update={"targets": None, "best_targets": ("scans",)})
    best = [cell for cell in barriers.cells(study, elsewhere) if cell.keys["checkpoint"] == "best"]
    assert {(cell.keys["target"], cell.keys["target_b"]) for cell in best} == {("scans", "scans")}


def test_best_checkpoints_that_the_recipe_does_not_keep_are_a_mistake(tmp_path: Path) -> None:
    study = tiny.study(tmp_path, "barriers")
    problems = list(barriers.check(study, barriers.Config(checkpoints=("best", "final"))))
    assert [problem.key for problem in problems] == ["checkpoints"]
    assert "Set training.best_by to held_out" in problems[0].message
    for config, key in (
        (barriers.Config(checkpoints=("best",)), "checkpoints"),
        (barriers.Config(best_targets=("nowhere",)), "best_targets"),
    ):
        assert key in [problem.key for problem in barriers.check(study, config)]


def test_what_the_best_epochs_give_stands_beside_the_final_ones(tmp_path: Path) -> None:
    """From end to end: the epochs are the real ones, and findings don't change with what the best give."""
    document = tiny.document("barriers", seeds=[0, 1])
    document["training"] |= {"epochs": 4, "held_out": 0.2, "best_by": "held_out", "keep_epochs": []}
    document["training"]["learning_rate"] = {"p_t": 0.3, "ri_t": 0.3}
    document["targets"] = {"digits": document["targets"]["digits"]}
    run = tiny.run(tiny.write(tmp_path / "tiny.yaml", document), tmp_path / "out")
    assert run.exit_code == 0, run.printed
    tables = collect(run.plan, run.store)["barriers"].tables
    found = tables["barriers"].filter(definition="line")
    assert found["checkpoint"].value_counts().sort("checkpoint").rows() == [("best", 5), ("final", 5)]
    final = found.filter(checkpoint="final")
    assert final["epoch_a"].unique().to_list() == [4]
    for planned in run.plan.cells:
        if planned.cell.keys["checkpoint"] == "best":
            keys = {name: planned.cell.keys[name] for name in ("pair", "a", "b", "checkpoint")}
            row = found.filter(**keys).row(0, named=True)
            for role in ("a", "b"):
                folder = run.store.path(run.plan.graph[planned.task_key].payload.run_keys[role])  # type: ignore[union-attr]
                metrics = pl.read_parquet(folder / "history.parquet")["held_out_metric"].to_list()[1:]
                assert row[f"epoch_{role}"] == 1 + metrics.index(max(metrics))
    assert found.filter(checkpoint="best")["epoch_a"].min() < 4  # type: ignore[operator]
    panels = {panel.name: panel for panel in barriers.panels(tables)}
    assert "metric-digits-best" in panels
    assert (
        "Networks at their best epochs (by the metric on held-out images) are stars"
        in panels["heights"].summary
    )
    best = found.filter(pair="P-T & P-T", checkpoint="best")["barrier_metric"].mean()
    assert f"P-T & P-T: {best:.3f} and" in panels["heights"].summary
    assert all(panel.chart.to_dict() for panel in panels.values())
    other = {**tables, "barriers": tables["barriers"].filter(checkpoint="final")}
    # as text: NaN is not equal to itself
    assert repr(barriers.findings(tables, run.plan.study)) == repr(barriers.findings(other, run.plan.study))


def test_panels_need_no_table_but_draw_what_there_is(tiny_run: tiny.TinyRun) -> None:
    tables = {name: pl.read_parquet(tiny_run.out / "tables" / f"{name}.parquet") for name in barriers.TABLES}
    every = {panel.name for panel in barriers.panels(tables)}
    assert "plane-digits-P-T" in every
    for missing in tables:
        left = {name: table.clear() if name == missing else table for name, table in tables.items()}
        drawn = barriers.panels(left)
        assert {panel.name for panel in drawn} < every
        assert all(panel.chart.to_dict() for panel in drawn)


def test_a_study_without_planes_has_its_other_figures(tiny_run: tiny.TinyRun, tmp_path: Path) -> None:
    result = collect(tiny_run.plan, tiny_run.store)["barriers"]
    tables = {**result.tables, "barriers_plane": result.tables["barriers_plane"].clear()}
    section = _section("barriers", replace(result, tables=tables), [], Workspace(tmp_path), tiny_run.plan)
    names = [panel.name for panel in section.panels]
    assert "heights" in names
    assert not [name for name in names if name.startswith("plane")]


def test_exploding_losses_are_drawn(tiny_run: tiny.TinyRun) -> None:
    tables = {name: pl.read_parquet(tiny_run.out / "tables" / f"{name}.parquet") for name in barriers.TABLES}
    loss = pl.when(pl.int_range(pl.len()) == 0).then(math.inf).otherwise("loss").alias("loss")
    tables["barriers_plane"] = tables["barriers_plane"].with_columns(loss)
    nan = pl.when(pl.col("alpha") == 0.5).then(math.nan).otherwise("loss").alias("loss")
    tables["barriers_curves"] = tables["barriers_curves"].with_columns(nan)
    assert all(panel.chart.to_dict() for panel in barriers.panels(tables))


def test_a_drop_between_the_ends_is_not_cut_at_zero() -> None:
    metrics = {-0.5: 0.1, 0.0: 0.8, 0.25: 0.85, 0.75: 0.7, 1.0: 0.6, 1.5: 0.2}
    # below the line: .75 - .85 = -.1 and .65 - .7 = -.05; below the mean: .7 - .85 and .7 - .7
    assert interior_drop(metrics, "line") == pytest.approx(-0.05)
    assert interior_drop(metrics, "mean") == pytest.approx(0.0, abs=1e-12)
    assert interior_drop({**metrics, 0.25: 0.4}, "line") == pytest.approx(0.35)
    assert math.isnan(interior_drop({**metrics, 0.25: math.nan}, "line"))
