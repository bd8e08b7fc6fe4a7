"""What is asked of a wheel before it is published."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tools.dist import NEEDED, main, problems_of


def wheel(folder: Path, names: tuple[str, ...]) -> Path:
    path = folder / "made.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return path


def test_a_wheel_with_all_files_and_no_others_has_no_problem(tmp_path: Path) -> None:
    assert problems_of(wheel(tmp_path, (*NEEDED, "transferscope/cli/run.py"))) == []


def test_missing_and_unwanted_files_are_named(tmp_path: Path) -> None:
    found = problems_of(wheel(tmp_path, (*NEEDED[1:], "tests/test_a.py")))
    assert found == [f"made.whl lacks {NEEDED[0]}", "made.whl holds tests/test_a.py"]


def test_every_needed_file_is_in_the_tree() -> None:
    src = Path(__file__).resolve().parents[2] / "src"
    assert all((src / name).is_file() for name in NEEDED)


def test_an_unknown_option_is_refused() -> None:
    assert main(["--upload"]) == 2
