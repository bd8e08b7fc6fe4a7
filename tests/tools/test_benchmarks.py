"""The benchmarks run, compare before they time, and notice what falls under its bar."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks import bars, results, scaling, shuffle  # noqa: E402
from benchmarks.__main__ import JOBS  # noqa: E402
from benchmarks.measure import Candidate, Case, Disagreement, Quantity, Ratio, Result, compare  # noqa: E402


def case(gives: float) -> Case:
    def agree(found: object) -> str:
        if found != {"ours": 1.0, "theirs": 1.0}:
            raise Disagreement(str(found))
        return "equal"

    return Case(
        name="a case",
        ours=[Candidate(name="ours", run=lambda: 1.0)],
        peers=[Candidate(name="theirs", run=lambda: gives)],
        agree=agree,
    )


def test_results_are_compared_before_they_are_timed() -> None:
    found = compare("no job", case(1.0), "tiny", 2)
    assert [time.candidate for time in found.times] == ["ours", "theirs"]
    assert [(ratio.ours, ratio.against) for ratio in found.ratios] == [("ours", "theirs")]
    assert found.notes == ["a case: equal"]
    with pytest.raises(Disagreement):
        compare("no job", case(2.0), "tiny", 2)


def test_a_job_runs_and_is_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(results, "PAGE", tmp_path / "performance.md")
    result = shuffle.run("tiny", 1)
    assert {ratio.against for ratio in result.ratios} == {shuffle.PAPER}
    path = results.write("shuffle", result, "tiny", 1)
    assert results.read(path)[1].notes == result.notes
    results.PAGE.write_text("before\n<!-- shuffle -->\nstale\n<!-- end of shuffle -->\nafter\n")
    results.renew_page()
    page = results.PAGE.read_text()
    assert "stale" not in page
    assert "| 28 px | block_shuffle | unfold and fold |" in page
    assert page.startswith("before\n")
    assert page.endswith("after\n")


@pytest.mark.parametrize("job", sorted({*JOBS} - {"study", "startup", "shuffle"}))
def test_every_job_runs(job: str) -> None:
    result = importlib.import_module(f"benchmarks.{job}").run("tiny", 1)
    assert result.times or result.curves


def ratio(cpu: float) -> Ratio:
    return Ratio(case="28 px", ours=shuffle.OURS, against=shuffle.PAPER, wall=cpu, cpu=cpu)


def test_only_what_falls_short_by_more_than_the_margin_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = bars.Bar(job="shuffle", case="28 px", ours=shuffle.OURS, against=shuffle.PAPER, least=8)
    slow = bars.Bar(job="shuffle", case="start", ours="all", most=2)
    monkeypatch.setattr(bars, "BARS", (bar, slow))
    quick = [Quantity(case="start", what="all", value=2.2, unit="s")]
    assert not bars.shortfalls("shuffle", Result(ratios=[ratio(7.0)], quantities=quick))
    told = bars.shortfalls("shuffle", Result(ratios=[ratio(6.7)], quantities=quick))
    assert len(told) == 1
    assert "6.70" in told[0]
    assert len(bars.shortfalls("shuffle", Result())) == 2, "what is not measured is told"


def test_every_bar_is_of_a_job_and_every_job_has_its_place_on_the_page() -> None:
    assert {bar.job for bar in bars.BARS} <= set(JOBS)
    page = (ROOT / "docs" / "performance.md").read_text()
    for job in JOBS:
        assert (ROOT / "benchmarks" / f"{job}.py").exists()
        assert f"<!-- {job} -->" in page
        assert f"<!-- end of {job} -->" in page


def test_the_exponent_of_a_power_is_found() -> None:
    assert scaling.slope([1, 2, 4, 8], [3 * x**1.5 for x in (1, 2, 4, 8)]) == pytest.approx(1.5)
