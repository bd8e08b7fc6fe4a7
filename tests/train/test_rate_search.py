"""The search of learning rates as a part of a study: what it costs, what it chooses, and what it says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tiny
from hypothesis import given
from hypothesis import strategies as st

from transferscope.analyses.learning_rates import analysis as learning_rates
from transferscope.core.config import Recipe, Study
from transferscope.core.errors import BadInput, TaskFailed
from transferscope.core.runs import CONTROLS, KINDS, Run, SearchedRecipe, kind_of, search_runs, target_run
from transferscope.report.collect import collect
from transferscope.study.file import load_study, resolved_yaml
from transferscope.study.plan import Plan, plan
from transferscope.train.rate_search import best_rate


@given(
    st.dictionaries(
        st.floats(1e-6, 10),
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0, math.nan]), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    )
)
def test_the_best_rate_has_the_highest_mean_the_smallest_of_equals(metrics: dict[float, list[float]]) -> None:
    best, highest = None, -1.0
    for rate in sorted(metrics):
        one, two = metrics[rate]
        if not math.isnan(one) and not math.isnan(two) and (one + two) / 2 > highest:
            best, highest = rate, (one + two) / 2
    if best is None:
        with pytest.raises(TaskFailed, match="the search found no rate"):
            best_rate(metrics)
    else:
        assert best_rate(metrics) == best


def searching(folder: Path, *analyses: str, **search: Any) -> Study:
    return load_study(tiny.write(folder / "tiny.yaml", tiny.searching(*analyses, **search)))


def runs(the_plan: Plan) -> list[Run]:
    return [task.payload for task in the_plan.graph if isinstance(task.payload, Run)]


def test_every_kind_has_the_same_budget_and_only_what_is_searched_waits_for_it(tmp_path: Path) -> None:
    study = searching(tmp_path, "mistakes", "low_level_statistics", seeds=[1000, 1001], epochs=None)
    the_plan = plan(study)
    searched = [run for run in runs(the_plan) if run.is_search]
    by_kind = {
        kind: sorted(
            (
                run.recipe.learning_rate,
                run.seed,
                run.recipe.held_out,
                run.recipe.epochs,
                run.recipe.batch_size,
            )
            for run in searched
            if kind_of(run) == kind and isinstance(run.recipe, Recipe)
        )
        for kind in (*KINDS, *CONTROLS)
    }
    expected = [(rate, seed, 0.2, 2, 25) for rate in (0.05, 0.1) for seed in (1000, 1001)]
    assert by_kind == dict.fromkeys(by_kind, expected)
    assert len(searched) == 4 * 4
    for run in searched:
        assert run.init_seed == run.seed
        assert run.data == study.targets["scans"].data
        assert run.source == target_run(study, kind_of(run), "scans", 0).source
    for task in the_plan.graph:
        if isinstance(task.payload, Run) and isinstance(task.payload.recipe, SearchedRecipe):
            assert task.payload.data == study.targets["scans"].data
            payloads = [the_plan.graph[key].payload for key in task.inputs]
            assert tuple(payloads[-4:]) == task.payload.recipe.search
            assert task.payload.recipe.search == search_runs(study, kind_of(task.payload), "scans")


def test_controls_are_not_searched_where_no_one_trains_them(tmp_path: Path) -> None:
    the_plan = plan(searching(tmp_path, "mistakes"))
    assert {kind_of(run) for run in runs(the_plan) if run.is_search} == set(KINDS)


def test_a_shared_rate_is_searched_on_all_targets_without_rates_of_their_own(tmp_path: Path) -> None:
    document = tiny.searching("mistakes", shared=True)
    document["targets"]["more"] = {"data": {**document["targets"]["scans"]["data"], "seed": 5}}
    study = load_study(tiny.write(tmp_path / "tiny.yaml", document))
    found = search_runs(study, "ri_t", "scans")
    assert found == search_runs(study, "ri_t", "more")
    assert [run.data for run in found] == 2 * [study.targets["scans"].data, study.targets["more"].data]
    assert search_runs(study, "ri_t", "digits") == ()
    both = [target_run(study, "ri_t", name, 0).recipe for name in ("scans", "more")]
    assert both[0] == both[1]


def test_the_study_says_its_search_and_reads_back_to_the_same(tmp_path: Path) -> None:
    study = searching(tmp_path, "mistakes")
    assert list(study.analyses) == ["mistakes", "learning_rates"]
    assert "the same rates (0.05, 0.1) for all kinds" in study.training.rates_chosen_by
    assert "(1000), judged by 20 % of the training images" in study.training.rates_chosen_by
    again = tmp_path / "again.yaml"
    again.write_text(resolved_yaml(study))
    assert load_study(again) == study
    document = tiny.searching("mistakes")
    document["training"]["rates_chosen_by"] = "A coin."
    own = load_study(tiny.write(tmp_path / "own.yaml", document))
    assert own.training.rates_chosen_by == "A coin."
    assert "learning_rates" not in tiny.study(tmp_path, "mistakes").analyses


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"seeds": [7, 1]}, "holds 1, one of the study's seeds [0, 1, 2]"),
        ({"rates": [0.1, 0.1]}, "rates [0.1, 0.1] must differ from each other"),
        ({"rates": [0.1]}, "training.rate_search.rates: expected 2 or more entries"),
        ({"held_out": 0}, "training.rate_search.held_out: expected more than 0"),
        ({"epoch": 1}, "training.rate_search.epoch: unknown key. Did you mean 'epochs'?"),
    ],
)
def test_a_search_that_cannot_be_fair_is_refused(
    tmp_path: Path, search: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput) as caught:
        searching(tmp_path, "mistakes", **search)
    assert message in str(caught.value)


@pytest.mark.parametrize("given_rates", [True, False])
def test_rates_come_from_one_place(tmp_path: Path, given_rates: bool) -> None:
    document = tiny.searching("mistakes")
    if given_rates:
        document["training"]["learning_rate"] = {"p_t": 0.1, "ri_t": 0.1}
    else:
        del document["training"]["rate_search"]
    with pytest.raises(BadInput, match="training: expected either learning_rate or rate_search") as caught:
        load_study(tiny.write(tmp_path / "tiny.yaml", document))
    assert ("both came" in str(caught.value)) == given_rates


GRID = [1e-9, 0.1, 0.2, 1e25]
"""Between a rate that does nothing and one that no training survives."""


def small(**search: Any) -> dict[str, Any]:
    document = tiny.searching("mistakes", rates=GRID, seeds=[1000, 1001], epochs=8, held_out=0.3, **search)
    data = {"dataset": "handwritten_digits", "image_size_px": 16, "train_size": 150, "test_size": 60}
    document["targets"], document["seeds"] = {"digits": {"data": data}}, [0, 1]
    document["training"] |= {"schedule": "constant", "keep_epochs": [], "batch_size": 10, "clip_norm": 1.0}
    return document


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tiny.TinyRun:
    folder = tmp_path_factory.mktemp("search")
    return tiny.run(tiny.write(folder / "study.yaml", small()), folder / "out")


def metrics(found: tiny.TinyRun, kind: str) -> dict[float, list[float]]:
    """Read off the stored histories, by rate."""
    by_rate: dict[float, list[float]] = {}
    for task in found.plan.graph:
        run = task.payload
        if isinstance(run, Run) and run.is_search and kind_of(run) == kind and isinstance(run.recipe, Recipe):
            history = pl.read_parquet(found.store.path(task.key) / "history.parquet")
            by_rate.setdefault(run.recipe.learning_rate, []).append(history["held_out_metric"][-1])
    return by_rate


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trained_is_the_literal_best_and_nothing_absurd(found: tiny.TinyRun, kind: str) -> None:
    assert found.exit_code == 0, found.printed
    by_rate = metrics(found, kind)
    assert sorted(by_rate) == GRID
    assert all(math.isnan(value) for value in by_rate[1e25])
    means = [sum(by_rate[rate]) / 2 for rate in GRID[:3]]
    best = GRID[means.index(max(means))]
    assert best in (0.1, 0.2)
    trained = [
        task
        for task in found.plan.graph
        if isinstance(task.payload, Run)
        and isinstance(task.payload.recipe, SearchedRecipe)
        and kind_of(task.payload) == kind
    ]
    assert len(trained) == 2
    for task in trained:
        history = pl.read_parquet(found.store.path(task.key) / "history.parquet")
        assert history["learning_rate"].drop_nulls().unique().to_list() == [best]


def test_a_network_of_a_search_leaves_its_history_and_never_sees_the_test_images(found: tiny.TinyRun) -> None:
    for task in found.plan.graph:
        if isinstance(task.payload, Run) and task.payload.is_search:
            folder = found.store.path(task.key)
            assert {path.name for path in folder.iterdir()} == {"about.json", "history.parquet", "done.json"}
            history = pl.read_parquet(folder / "history.parquet")
            assert history["test_metric"].drop_nans().is_null().all()


def test_the_report_shows_what_was_tried_and_what_was_chosen(found: tiny.TinyRun) -> None:
    table = collect(found.plan, found.store)["learning_rates"].tables["learning_rates"]
    assert len(table) == 2 * 4 * 2
    for kind, name in (("p_t", "P-T"), ("ri_t", "RI-T")):
        part = table.filter(kind=name)
        expected = metrics(found, kind)
        assert {rate: part.filter(rate=rate)["held_out_metric"].to_list() for rate in GRID[:3]} == {
            rate: expected[rate] for rate in GRID[:3]
        }
        assert part.filter("chosen")["rate"].unique().to_list() == [best_rate(expected)]
    assert table["diverged_at"].drop_nulls().to_list() == [1, 1, 1, 1]
    assert not table["at_edge"].any()
    (panel,) = learning_rates.panels({"learning_rates": table})
    assert "Trainings that diverged: 4 of 16, at 1e+25." in panel.summary
    assert "edge" not in panel.summary
    edge = table.filter(pl.col("rate") < 1).with_columns(at_edge=pl.lit(True))
    (panel,) = learning_rates.panels({"learning_rates": edge})
    assert "at the edge of the grid, so a better one may lie beyond" in panel.summary
    page = (found.out / "report.html").read_text()
    assert "A search in this study" in page
    assert "Learning rates" in page


def test_again_computes_nothing(found: tiny.TinyRun) -> None:
    again = tiny.run(found.study_file, found.out)
    assert "0 tasks succeeded" in again.printed


def test_where_no_rate_is_usable_the_trainings_say_so_and_the_search_is_shown(tmp_path: Path) -> None:
    document = small()
    document["training"]["rate_search"]["rates"] = [1e25, 1e26]
    done = tiny.run(tiny.write(tmp_path / "study.yaml", document), tmp_path / "out")
    assert done.exit_code == 1
    assert "the search found no rate: at each of 1e+25, 1e+26" in done.printed.replace("\n", " ")
    table = collect(done.plan, done.store)["learning_rates"].tables["learning_rates"]
    assert len(table) == 8
    assert not table["chosen"].any()
