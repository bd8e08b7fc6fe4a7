"""The commented study file: it is valid, and what its comments call a default is one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from transferscope.config import RateSearch
from transferscope.options import Frozen
from transferscope.study_file import load_study, starter_study

COMMENTED_KEY = re.compile(r"^( *)# (\w+: )", re.MULTILINE)


@pytest.fixture(autouse=True)
def _images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folders that the file names, with two classes each."""
    monkeypatch.chdir(tmp_path)
    for name in ("source", "target"):
        for split in ("train", "test"):
            for kind in ("cats", "dogs"):
                folder = Path("data", name, split, kind)
                folder.mkdir(parents=True)
                Image.new("RGB", (8, 8)).save(folder / "one.png")


def test_it_is_a_study_as_it_stands() -> None:
    Path("study.yaml").write_text(starter_study())
    assert load_study("study.yaml").training.learning_rate.p_t == 0.02
    assert load_study("study.yaml", variant="quick").training.epochs == 1


def test_its_comments_show_the_defaults() -> None:
    Path("study.yaml").write_text(starter_study())
    text, num_shown = COMMENTED_KEY.subn(r"\1\2", starter_study())
    Path("shown.yaml").write_text(text)
    assert num_shown > 20
    assert load_study("shown.yaml") == load_study("study.yaml")


def test_it_shows_every_key_of_the_models() -> None:
    Path("study.yaml").write_text(starter_study())
    study = load_study("study.yaml")
    models: list[type[Frozen]] = [type(study), type(study.network), type(study.source.data)]
    models += [type(study.targets["my_target"]), type(study.training), RateSearch]
    keys = {key for model in models for key in model.model_fields} - {"variant"}
    assert {key for key in keys if not re.search(rf"\b{key}:", starter_study())} == set()
