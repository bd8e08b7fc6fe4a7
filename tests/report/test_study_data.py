"""The section on the data says what its tables lack."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from transferscope.execute.store.local import Store
from transferscope.report.study_data import study_data
from transferscope.study.file import load_study
from transferscope.study.plan import plan

DEMO = Path(__file__).parents[2] / "src/transferscope/study/studies/demo.yaml"


class ElsewhereStore(Store):
    """All results are finished, and lie on other machines."""

    def present(self, keys: Iterable[str]) -> set[str]:
        return set(keys)


def test_networks_whose_predictions_are_on_other_machines_are_counted(tmp_path: Path) -> None:
    the_plan = plan(load_study(DEMO))
    found = study_data(the_plan, ElsewhereStore(tmp_path), {})
    assert len(found.notes) == len(the_plan.study.targets)
    for target, note in zip(the_plan.study.targets, found.notes, strict=True):
        assert re.match(rf"{target}: test_metrics lacks (\d+) of \1 networks", note)
    assert not study_data(the_plan, Store(tmp_path), {}).notes  # nothing is finished
