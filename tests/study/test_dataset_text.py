"""Data sets named in one word."""

from __future__ import annotations

from pathlib import Path

import pytest

from transferscope.core.datasets import PACKAGE, dataset_module
from transferscope.core.errors import BadInput
from transferscope.core.options import FileOptions, plugin_names
from transferscope.study.dataset_text import dataset_from_text


def test_a_place_becomes_the_option_that_says_where() -> None:
    assert dataset_from_text("imagefolder:some/photos").model_dump()["root"] == Path("some/photos")
    assert dataset_from_text("arrays:C:/a.npz").model_dump()["path"] == Path("C:/a.npz")
    assert dataset_from_text("huggingface:user/name").model_dump()["name"] == "user/name"
    assert (
        dataset_from_text("python:package.module:factory").model_dump()["factory"] == "package.module:factory"
    )
    assert dataset_from_text("chexpert:x").dataset == "chexpert"


def test_a_data_set_may_need_no_place() -> None:
    assert dataset_from_text("letters").dataset == "letters"
    assert dataset_from_text("fashion_mnist").model_dump()["root"] == Path(
        "/usr/share/datasets/fashion-mnist"
    )


def test_every_data_set_of_files_says_where_it_is_read_from() -> None:
    for name in plugin_names(PACKAGE):
        module = dataset_module(name)
        assert issubclass(module.Options, FileOptions) == hasattr(module, "TEXT_KEY"), name
        if hasattr(module, "TEXT_KEY"):
            assert module.TEXT_KEY in module.Options.model_fields


def test_overrides_are_yaml() -> None:
    options = dataset_from_text("domainnet:d", ["domain=real", "max_train_size=null", "on_bad=skip"])
    assert options.model_dump()["domain"] == "real"
    assert options.model_dump()["max_train_size"] is None


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        ("leters", [], "Did you mean 'letters'? A data set is given as NAME or NAME:PATH"),
        ("letters:here", [], "'letters' is drawn, and takes nothing after a colon"),
        ("imagefolder:", [], "'imagefolder' needs its root after the colon"),
        ("imagefolder", [], "imagefolder: root: missing key. The folder that holds"),
        ("domainnet:d", [], "domain: missing key"),
        ("domainnet:d", ["domain=rael"], "Did you mean 'real'"),
        ("letters", ["train_siz=3"], "train_siz: unknown key. Did you mean 'train_size'?"),
        ("letters", ["train_size"], "--set train_size: expected an option"),
        ("letters", ["source.data=3"], "--set source.data=3: expected an option"),
        ("letters", ["train_size='3'"], "train_size: expected a whole number"),
        ("python:no", [], "factory: expected text of the form"),
    ],
)
def test_mistakes(text: str, overrides: list[str], said: str) -> None:
    with pytest.raises(BadInput) as caught:
        dataset_from_text(text, overrides)
    assert said in str(caught.value)
