"""The doctor: what it says of this machine, and that it notices a number that is off and a place that can't be used."""

from __future__ import annotations

import json
import math
import tomllib
from pathlib import Path

import pytest
import torch

from transferscope import cli
from transferscope.cli.doctor import command, facts, self_test
from transferscope.cli.doctor.self_test import Known


@pytest.fixture(scope="module")
def known() -> dict[str, Known]:
    return {one.name: one for one in self_test.self_test(torch.device("cpu"))}


def test_all_known_numbers_come_out_in_time(known: dict[str, Known]) -> None:
    assert {name: one.error for name, one in known.items() if not one.is_right} == {}
    assert all(math.isfinite(one.found) for one in known.values())


def test_a_number_that_is_off_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from transferscope.metrics.landscape import distance, spectrum
    from transferscope.metrics.similarity import cka
    from transferscope.train import optimizer

    monkeypatch.setattr(distance, "l2_distance", lambda a, b: 13.001)
    monkeypatch.setattr(cka, "linear_cka", lambda *_, **__: math.nan)
    rate = optimizer.learning_rate_at
    monkeypatch.setattr(optimizer, "learning_rate_at", lambda *all_: 1.001 * rate(*all_))

    def lacks(*_: object, **__: object) -> None:
        raise ImportError("no such library")

    monkeypatch.setattr(spectrum, "conv_singular_values", lacks)
    wrong = {one.name: one for one in self_test.self_test(torch.device("cpu")) if not one.is_right}
    assert len(wrong) == 5
    assert wrong["distance of weights (3, 4, 12)"].deviation == pytest.approx(0.001 / 13)
    assert (
        wrong["singular values of a 1 x 1 convolution, largest error"].error == "ImportError: no such library"
    )
    assert "one step of training, largest error of a weight" in wrong


def test_a_loss_that_stays_where_it_began_is_off() -> None:
    untrained = math.log(12)
    assert abs(untrained - self_test.TRAINED_LOSS) / self_test.TRAINED_LOSS > 10 * self_test.TRAINING


def test_facts_name_every_library_and_extra(tmp_path: Path) -> None:
    found = {fact.name: fact for fact in facts.facts(tmp_path / "runs" / "first")}
    for name in ("torch", "polars", "typer", "vl-convert-python"):
        assert f"{name} " in found["libraries"].found
    assert {"extra timm", "extra ray", "processor", "memory", "disk", "store", "browser"} <= set(found)
    assert [fact.name for fact in found.values() if fact.state == "wrong"] == []
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for_developers = {"test", "check", "docs", "benchmark", "notebooks", "fuzz", "dist"}
    assert set(facts.EXTRAS) == set(project["optional-dependencies"]) - for_developers
    for extra, names in facts.EXTRAS.items():
        assert [text.partition(">=")[0] for text in project["optional-dependencies"][extra]] == list(names)
    assert list(tmp_path.iterdir()) == []


def test_what_is_missing_or_too_old_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"torch": "1.13.1+cpu", "polars": None}
    version = facts._version
    monkeypatch.setattr(
        facts, "_version", lambda name: installed[name] if name in installed else version(name)
    )
    wrong = {fact.name: fact for fact in facts._libraries() if fact.state == "wrong"}
    assert wrong["torch"].found == "1.13.1+cpu, but >=2.6 is needed"
    assert wrong["polars"].mend == "pip install 'polars>=1.20'"


def test_a_place_that_cannot_be_used_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(facts.fcntl, "flock", no_locks)
    fact = facts._writable(tmp_path)
    assert (fact.state, fact.found) == ("wrong", f"{tmp_path}: Operation not supported")


@pytest.mark.parametrize("is_right", [True, False])
def test_the_command_ends_with_1_where_something_is_wrong(
    is_right: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one = Known(
        name="a [number]", expected=1.0, found=1.0 if is_right else math.nan, tolerance=0.1, seconds=0.0
    )
    monkeypatch.setattr(self_test, "self_test", lambda device: [one])
    for options in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["transferscope", "doctor", "--out", str(tmp_path), *options])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == (0 if is_right else command.EXIT_FAILED)
        printed = capsys.readouterr().out
        if options:
            document = json.loads(printed)
            assert document["ok"] is is_right
            assert document["self_test"][0]["found"] == (1.0 if is_right else None)
        else:
            assert "a [number]" in printed
            assert ("all is well" in printed) is is_right
