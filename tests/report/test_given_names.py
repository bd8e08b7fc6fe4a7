"""The user's names for networks that were trained elsewhere."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from transferscope.api.compare import comparison_study
from transferscope.core.config import Study
from transferscope.core.errors import BadInput
from transferscope.core.instances import given_names
from transferscope.core.tables import Column
from transferscope.report.collect import AnalysisResult
from transferscope.report.given_names import in_words_of, with_given_names

COLUMNS = (Column("kind", "str", "Kind"), Column("seed", "int", "Seed"), Column("value", "float", "Number"))
PAIRS = (Column("a", "str", "First instance: kind and seed"), Column("b", "str", "Second"))


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two P-T of which one is called as the other is numbered, and an RI-T."""
    return of(tmp_path, "P-T 1", "seed 7", "base")


def of(folder: Path, *names: str, init: bool = False) -> Study:
    for name in (*names, "init"):
        (folder / f"{name}.pt").touch()
    return comparison_study(
        model="fixup_resnet18",
        data="letters",
        instances={name: folder / f"{name}.pt" for name in names},
        init=folder / "init.pt" if init else None,
        from_scratch=names[2:],
        analyses=["parameter_distance"],
    )


def test_names_are_put_in_all_at_once(study: Study) -> None:
    assert given_names(study) == {"P-T 0": "P-T 1", "P-T 1": "seed 7", "RI-T 2": "base"}
    own = pl.DataFrame({"kind": ["P-T", "P-T", "RI-T"], "seed": [0, 1, 2], "value": [1.0, 2.0, 3.0]})
    pairs = pl.DataFrame({"a": ["P-T 0", "P-T 1"], "b": ["P-T 1", "P"]})
    result = AnalysisResult(
        tables={"own": own, "pairs": pairs}, columns={"own": COLUMNS, "pairs": PAIRS}, missing=()
    )
    named = with_given_names({"some": result}, study)["some"]
    assert named.tables["own"].columns == ["kind", "seed", "instance", "value"]
    assert [column.name for column in named.columns["own"]] == named.tables["own"].columns
    assert named.tables["own"]["instance"].to_list() == ["P-T 1", "seed 7", "base"]
    assert named.tables["own"]["seed"].to_list() == [0, 1, 2]
    assert named.tables["pairs"].rows() == [("P-T 1", "seed 7"), ("seed 7", "P")]
    assert named.columns["pairs"][0].meaning == "First instance: name as given"


def test_sentences_speak_of_networks_and_leave_names_alone(study: Study) -> None:
    fitted = in_words_of(study.instances, study.targets)
    assert (
        fitted("Seeds: mean over seeds, a point a seed.")
        == "Networks: mean over networks, a point a network."
    )
    assert fitted("through P-T 1 and seed 7 over 3 seeds") == "through P-T 1 and seed 7 over 3 networks"


def test_the_name_of_what_all_were_started_from_is_taken(tmp_path: Path) -> None:
    of(tmp_path, "P")
    with pytest.raises(BadInput, match="P is what the networks were started from"):
        of(tmp_path, "P", init=True)
