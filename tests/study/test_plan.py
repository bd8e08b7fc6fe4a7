"""From a study to its tasks: what is the same is computed once, and only what analyses ask for."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
from rich.console import Console

from transferscope.analyses.contract import Cell
from transferscope.analyses.parameter_distance import analysis as parameter_distance
from transferscope.cli.plan_tree import plan_tree
from transferscope.core.config import Study
from transferscope.core.errors import BadInput
from transferscope.core.runs import (
    CONTROLS,
    Point,
    Run,
    kind_of,
    pretraining_run,
    search_runs,
    seed_for,
    target_run,
)
from transferscope.execute.costs import cost_table
from transferscope.study.file import load_study
from transferscope.study.plan import Plan, plan
from transferscope.study.task import grouped
from transferscope.study.templates import embedded_study

ANALYSES = (
    "feature_reuse",
    "mistakes",
    "feature_similarity",
    "parameter_distance",
    "barriers",
    "criticality",
    "checkpoints",
)


def kinds(the_plan: Plan) -> Counter[str]:
    return Counter(task.kind for task in the_plan.graph)


def cells(the_plan: Plan) -> Counter[str]:
    return Counter(planned.analysis for planned in the_plan.cells)


def runs(the_plan: Plan) -> list[Run]:
    return [task.payload for task in the_plan.graph if isinstance(task.payload, Run)]


def test_a_study_comes_down_to_the_tasks_that_it_needs(tmp_path: Path) -> None:
    the_plan = plan(tiny.study(tmp_path, *ANALYSES))
    assert cells(the_plan) == {
        "feature_reuse": 12,  # 2 targets, unshuffled and blocks, 3 seeds
        "mistakes": 2,  # a target
        "feature_similarity": 2,
        "parameter_distance": 2,
        # 1 target: 3 pairs of each of 3 kinds, 6 of P-T & RI-T; 3 twos and all of P-T and of RI-T; 2 planes
        "barriers": 15 + 8 + 2,
        "criticality": 6,  # 1 target, 2 kinds, 3 seeds
        "checkpoints": 12,  # 1 target, 4 epochs, 3 seeds
    }
    trainings = (
        1  # the pre-training
        + 2 * (3 + 3 + 2)  # on each target P-T, RI-T, and RI-T from the first one's init
        + 2 * (3 + 3)  # shuffled
        + 3 * 3  # on one target from epochs 0, 1, 2; from epoch 3 is the P-T that there is
    )
    assert kinds(the_plan) == {"data": 3, "train": trainings, "measure": 61}


def test_the_embedded_study() -> None:
    full = plan(load_study(embedded_study()))
    assert kinds(full) == {"data": 5, "train": 139, "measure": 316}
    assert cells(full) == {
        "feature_reuse": 4 * 6 + 2 * 2 * 6,
        "mistakes": 4,
        "feature_similarity": 4,
        "parameter_distance": 4,
        # of 4 seeds: pairs at their last epochs, at their best ones, across targets; sets; planes
        "barriers": 4 * 30 + 30 + 2 * 4 + 4 * 14 + 2,
        "criticality": 8,
        "checkpoints": 16,
        "spectra": 4,
        "low_level_statistics": 12,
    }
    quick = plan(load_study(embedded_study(), variant="quick"))
    assert kinds(quick) == {"data": 5, "train": 31, "measure": 72}


def test_no_task_is_planned_twice(tmp_path: Path) -> None:
    the_plan = plan(tiny.study(tmp_path))
    payloads = [(task.kind, task.payload) for task in the_plan.graph if task.kind != "measure"]
    assert len(set(payloads)) == len(payloads)
    assert {planned.task_key for planned in the_plan.cells} <= {task.key for task in the_plan.graph}
    assert sum(run.source is None and run.data.dataset == "letters" for run in runs(the_plan)) == 1


def test_two_names_for_the_same_data_share_everything_but_their_rows(tmp_path: Path) -> None:
    target = tiny.document()["targets"]["digits"]
    one = plan(tiny.study(tmp_path, "mistakes", targets={"digits": target}))
    two = plan(tiny.study(tmp_path, "mistakes", targets={"digits": target, "numbers": target}))
    assert [task.key for task in one.graph] == [task.key for task in two.graph]
    assert [planned.cell.keys["target"] for planned in two.cells] == ["digits", "numbers"]
    assert len({planned.task_key for planned in two.cells}) == 1


def test_the_last_checkpoint_is_where_every_other_p_t_starts_from(tmp_path: Path) -> None:
    study = tiny.study(tmp_path)
    assert target_run(study, "p_t", "digits", 0, pretrain_epoch=3) == target_run(study, "p_t", "digits", 0)
    assert target_run(study, "p_t", "digits", 0, pretrain_epoch=2).source == Point(
        run=pretraining_run(study), epoch=2
    )


def test_networks_that_nobody_looks_inside_keep_no_checkpoints_on_the_way(tmp_path: Path) -> None:
    for run in runs(plan(tiny.study(tmp_path))):
        shuffled_or_control = run.view.kind != "unshuffled" or kind_of(run) in CONTROLS
        from_the_middle = run.source is not None and run.source.epoch < 3
        assert run.recipe.kept_epochs == (
            (0, 2) if shuffled_or_control or from_the_middle else (0, 1, 2, 3)[: run.recipe.epochs + 1]
        )


def test_what_is_compared_with_shuffled_images_is_not_augmented(tmp_path: Path) -> None:
    training = {
        **tiny.document()["training"],
        "augmentation": "crop_and_flip",
        "held_out": 0.1,
        "best_by": "test",
    }
    study = tiny.study(tmp_path, training=training)
    for planned in plan(study).cells:
        for point in planned.cell.subjects.values():
            if point.run.data.dataset != "letters":
                is_plain = planned.analysis in ("feature_reuse", "low_level_statistics")
                assert point.run.recipe.augmentation == ("none" if is_plain else "crop_and_flip")
                if is_plain:
                    assert (point.run.recipe.kept_epochs, point.run.recipe.best_by) == ((0, 2), "none")
                    assert point.run.recipe.held_out == 0.1
    plain = tiny.study(tmp_path)
    assert target_run(plain, "p_t", "digits", 0, augment=False) == target_run(plain, "p_t", "digits", 0)


def test_labels_of_several_findings_are_not_smoothed(tmp_path: Path) -> None:
    training = {**tiny.document()["training"], "label_smoothing": 0.1}
    with pytest.raises(
        BadInput, match="label_smoothing: is for single labels, but target 'scans' has several"
    ):
        tiny.study(tmp_path, training=training)


def test_a_best_checkpoint_that_is_not_kept_is_said_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asks_for_the_best(study: Study, config: object) -> Iterator[Cell]:
        run = target_run(study, "ri_t", "digits", 0)
        yield Cell(keys={"target": "digits"}, subjects={"a": run.best}, data=run.data)

    monkeypatch.setattr(parameter_distance, "cells", asks_for_the_best)
    with pytest.raises(BadInput, match="needs the best checkpoint of RI-T digits seed 0, but its recipe"):
        plan(tiny.study(tmp_path, "parameter_distance"))
    training = {**tiny.document()["training"], "held_out": 0.1, "best_by": "held_out"}
    assert len(plan(tiny.study(tmp_path, "parameter_distance", training=training)).cells) == 1


def test_kinds_have_their_own_rates_and_a_target_its_own(tmp_path: Path) -> None:
    targets = tiny.document()["targets"]
    targets["scans"]["learning_rate"] = {"p_t": 0.3, "ri_t": 0.4}
    study = tiny.study(tmp_path, targets=targets)
    rates = {
        (kind, target): target_run(study, kind, target, 0).recipe.learning_rate
        for kind in ("p_t", "ri_t")
        for target in ("digits", "scans")
    }
    assert rates == {
        ("p_t", "digits"): 0.05,
        ("ri_t", "digits"): 0.1,
        ("p_t", "scans"): 0.3,
        ("ri_t", "scans"): 0.4,
    }


def test_seeds_are_other_numbers_on_each_target_and_the_same_label(tmp_path: Path) -> None:
    study = tiny.study(tmp_path)
    drawn = {
        target: [
            seed_for(run.seed, run.seeds_of)
            for seed in study.seeds
            for run in [target_run(study, "p_t", target, seed)]
        ]
        for target in study.targets
    }
    assert drawn["digits"] == [0, 1, 2], "as they stand in the file"
    assert len({*drawn["digits"], *drawn["scans"]}) == 6
    assert all(0 <= seed < 2**31 for seed in drawn["scans"]), "what torch and numpy take, with an offset"
    assert [target_run(study, "p_t", "scans", seed).seed for seed in study.seeds] == [0, 1, 2]


def test_networks_of_one_target_and_seed_share_what_they_are_compared_for(tmp_path: Path) -> None:
    study = tiny.study(tmp_path, "feature_reuse")
    p_t, ri_t = (target_run(study, kind, "scans", 1) for kind in ("p_t", "ri_t"))
    same_init = target_run(study, "ri_t", "scans", 1, init_seed=0)
    assert (p_t.seed, p_t.seeds_of) == (ri_t.seed, ri_t.seeds_of), "the order of the batches"
    first = target_run(study, "ri_t", "scans", 0)
    assert (same_init.init_seed, same_init.seeds_of) == (first.init_seed, first.seeds_of)
    shuffled = [planned.cell for planned in plan(study).cells if planned.cell.view.kind == "blocks"]
    for cell in shuffled:
        trained = {
            point.run.view for role, point in cell.subjects.items() if not role.endswith("_unshuffled")
        }
        assert trained == {cell.view}, "tested on the permutation that they were trained on"
    assert len({cell.view for cell in shuffled}) == 2 * 3, "a permutation for each target and seed"


def test_a_checkpoint_that_is_not_kept_is_said_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asks_for_epoch_1(study: Study, config: object) -> Iterator[Cell]:
        for seed in study.seeds:
            run = target_run(study, "ri_t", "digits", seed)
            yield Cell(keys={"target": "digits"}, subjects={"a": Point(run=run, epoch=1)}, data=run.data)

    monkeypatch.setattr(parameter_distance, "cells", asks_for_epoch_1)
    training = {**tiny.document()["training"], "keep_epochs": []}
    with pytest.raises(BadInput) as caught:
        plan(tiny.study(tmp_path, "parameter_distance", training=training))
    assert caught.value.problems == tuple(
        f"analyses.parameter_distance needs the checkpoint of epoch 1 of RI-T digits seed {seed}, "
        "but its recipe keeps only 0, 2. Add 1 to its keep_epochs."
        for seed in (0, 1, 2)
    )


def test_what_a_task_reads_is_what_its_payload_needs(tmp_path: Path) -> None:
    the_plan = plan(tiny.study(tmp_path, "barriers"))
    titles = {task.key: task.title for task in the_plan.graph}
    inputs = {task.title: [titles[key] for key in task.inputs] for task in the_plan.graph}
    assert inputs["pre-train on letters"] == ["data letters"]
    assert inputs["train P-T digits seed 1"] == ["data digits", "pre-train on letters"]
    assert inputs["train RI-T digits seed 1 init seed 0"] == ["data digits"]
    pair = next(p for p in the_plan.cells if (p.cell.keys["a"], p.cell.keys["b"]) == ("P-T 0", "RI-T 1"))
    assert [titles[key] for key in the_plan.graph[pair.task_key].inputs] == [
        "data digits",
        "train P-T digits seed 0",
        "train RI-T digits seed 1",
    ]


def test_costs_are_positive_and_grow_with_the_work(tmp_path: Path) -> None:
    def cost(title: str, **replaced: object) -> float:
        the_plan = plan(tiny.study(tmp_path, "barriers", **replaced))
        return next(task.cost for task in the_plan.graph if task.title == title)

    longer = {**tiny.document()["training"], "epochs": 20, "keep_epochs": []}
    title = "train RI-T digits seed 0"
    assert cost(title, training=longer) > 5 * cost(title)
    assert all(task.cost > 0 for task in plan(tiny.study(tmp_path)).graph)


def longer(**training: object) -> dict[str, object]:
    return {**tiny.document()["training"], "epochs": 2, **training}


def test_ri_t_can_be_trained_for_longer(tmp_path: Path) -> None:
    study = tiny.study(tmp_path, training=longer(ri_t_epochs=4, keep_epochs="all"))
    found = runs(plan(study))
    own = [run for run in found if run.data.dataset != "letters"]
    assert {(kind_of(run), run.recipe.epochs) for run in own} == {
        ("p_t", 2),
        ("ri_t", 4),
        ("layer_statistics", 2),
        ("permuted_weights", 2),
    }
    run = target_run(study, "ri_t", "digits", 0)
    assert run.final.epoch == 4
    assert run.kept_epochs == (0, 1, 2, 3, 4)
    costs = {task.title: task.cost for task in plan(study).graph}
    p_t, ri_t = (costs[f"train {kind} digits seed 0"] for kind in ("P-T", "RI-T"))
    assert ri_t == pytest.approx(2 * p_t, rel=0.2)


def test_the_search_trains_each_kind_as_long_as_the_study(tmp_path: Path) -> None:
    search = {"rates": [0.05, 0.1], "held_out": 0.2}
    training = longer(ri_t_epochs=4, rate_search=search, learning_rate=None, keep_epochs=[])
    study = tiny.study(tmp_path, "mistakes", training=training)
    searched = {kind: search_runs(study, kind, "digits") for kind in ("p_t", "ri_t")}
    assert {run.recipe.epochs for run in searched["p_t"]} == {2}
    assert {run.recipe.epochs for run in searched["ri_t"]} == {4}


def test_as_many_epochs_as_p_t_is_the_default(tmp_path: Path) -> None:
    one, other = (
        plan(tiny.study(tmp_path, training=longer(ri_t_epochs=epochs, keep_epochs=[1])))
        for epochs in (None, 2)
    )
    assert [task.key for task in one.graph] == [task.key for task in other.graph]


def test_kept_epochs_beyond_p_ts_last_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\[3\] lie beyond P-T's last epoch, 2"):
        tiny.study(tmp_path, training=longer(ri_t_epochs=4, keep_epochs=[3]))


def test_kept_epochs_beyond_ri_ts_last_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"\[2\] lie beyond RI-T's last epoch \(ri_t_epochs\), 1"):
        tiny.study(tmp_path, training=longer(ri_t_epochs=1, keep_epochs=[2]))


def test_what_trainings_are_for_is_said(tmp_path: Path) -> None:
    found = grouped(list(plan(tiny.study(tmp_path)).graph))
    assert len(found["pre-train on letters"]) == 1
    assert "train RI-T on letters" not in found
    assert any(name.startswith("train P-T on ") and name.endswith(", shuffled") for name in found)


def test_targets_of_one_data_set_type_are_told_apart_by_the_names_the_study_gives(tmp_path: Path) -> None:
    document = tiny.document("mistakes")
    digits = document["targets"]["digits"]["data"]
    targets = {name: {"data": {**digits, "seed": seed}} for seed, name in enumerate(("[red]photos", "scans"))}
    source = {**document["source"], "name": "printed letters"}
    study = tiny.study(tmp_path, "mistakes", targets=targets, source=source)
    the_plan = plan(study)
    titles = [task.title for task in the_plan.graph]
    assert len(set(titles)) == len(titles)
    assert {
        "data printed letters",
        "pre-train on printed letters",
        "data scans",
        "train P-T scans seed 0",
    } <= {*titles}
    printed = io.StringIO()
    console = Console(file=printed, width=160)
    console.print(plan_tree(the_plan, None))
    console.print(cost_table(the_plan, 1000))
    for told in ("pre-train on printed letters", "train P-T on [red]photos", "train RI-T on scans"):
        assert printed.getvalue().count(told) == 2


def test_the_source_may_be_a_target_too_and_two_targets_the_same_data(tmp_path: Path) -> None:
    document = tiny.document("mistakes")
    digits, letters = document["targets"]["digits"], {"data": document["source"]["data"]}
    study = tiny.study(tmp_path, "mistakes", targets={"one": digits, "two": digits, "again": letters})
    titles = {task.title for task in plan(study).graph}
    assert {"data one and two", "train P-T one and two seed 0", "data letters and again"} <= titles
    assert {"pre-train on letters", "train P-T letters and again seed 0"} <= titles


def test_a_number_of_seeds_means_the_first_ones_everywhere(tmp_path: Path) -> None:
    targets = tiny.document()["targets"]
    targets["scans"]["seeds"] = 2
    analyses = {"mistakes": {"seeds": 3}, "spectra": {"seeds": [3, 1]}}
    study = tiny.study(tmp_path, seeds=4, targets=targets, analyses=analyses)
    assert study.seeds == (0, 1, 2, 3)
    found = {
        (planned.analysis, planned.cell.keys["target"]): [
            name for name in planned.cell.subjects if name.startswith("P-T")
        ]
        for planned in plan(study).cells
    }
    assert found == {
        ("mistakes", "digits"): ["P-T 0", "P-T 1", "P-T 2"],
        ("mistakes", "scans"): ["P-T 0", "P-T 1"],
        ("spectra", "digits"): ["P-T 3", "P-T 1"],
        ("spectra", "scans"): ["P-T 1"],
    }


def test_shuffled_images_may_have_fewer_seeds(tmp_path: Path) -> None:
    analyses = {
        "feature_reuse": {"block_sizes_px": [4], "pixels_and_channels": False, "shuffled_seeds": 2},
        "low_level_statistics": {"permuted_control": False, "targets": ["digits"]},
    }
    the_plan = plan(tiny.study(tmp_path, analyses=analyses))
    seeds = Counter(run.view.kind for run in runs(the_plan) if kind_of(run) in ("p_t", "ri_t"))
    assert seeds == {"unshuffled": 1 + 2 * 2 * 3, "blocks": 2 * 2 * 2}, "the first is the pre-training"
    controls = [(kind_of(run), run.seed) for run in runs(the_plan) if kind_of(run) in CONTROLS]
    assert controls == [("layer_statistics", 0), ("layer_statistics", 1)], "those of the shuffled blocks"


def test_a_target_may_keep_its_own_epochs(tmp_path: Path) -> None:
    targets = tiny.document()["targets"]
    targets["digits"]["keep_epochs"] = []
    study = tiny.study(tmp_path, targets=targets)
    assert target_run(study, "p_t", "digits", 0).kept_epochs == (0, 2)
    assert target_run(study, "p_t", "scans", 0).kept_epochs == (0, 1, 2)
    targets["digits"]["keep_epochs"] = [3]
    with pytest.raises(BadInput, match=r"targets.digits.keep_epochs \[3\] lie beyond the last epoch, 2"):
        tiny.study(tmp_path, targets=targets)


def test_p_is_the_best_network_of_a_pre_training_that_keeps_it(tmp_path: Path) -> None:
    source = tiny.document()["source"]
    source["pretraining"] |= {"held_out": 0.2, "best_by": "held_out"}
    study = tiny.study(tmp_path, "checkpoints", source=source)
    assert target_run(study, "p_t", "digits", 0).source == pretraining_run(study).best
    titles = {task.title for task in plan(study).graph}
    assert "train P-T digits from epoch 3 seed 0" in titles, "another network than from the best epoch"
