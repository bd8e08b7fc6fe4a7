"""Weights that an installed package ships."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
from pydantic import ValidationError

from transferscope.core.config import Weights
from transferscope.core.errors import BadInput
from transferscope.study.file import load_study


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "shipped_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('it must not be imported')")
    (folder / "models" / "w.safetensors").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_the_file_is_found_in_the_package_which_is_not_imported(package: Path) -> None:
    weights = Weights(package="shipped_weights", file=Path("models/w.safetensors"))
    assert weights.path == package / "models" / "w.safetensors"
    assert Weights(file=Path("w.safetensors")).path == Path("w.safetensors")
    assert Weights(hub="hf-hub:a/b").path is None


def study_with(folder: Path, weights: dict[str, str]) -> str:
    document = tiny.document("mistakes", source={"weights": weights})
    with pytest.raises(BadInput) as caught:
        load_study(tiny.write(folder / "tiny.yaml", document))
    return str(caught.value)


def test_a_package_that_is_not_installed_is_named_with_what_to_install(tmp_path: Path) -> None:
    text = study_with(tmp_path, {"package": "not_there", "file": "w.safetensors"})
    assert "source.weights.package: the package not_there" in text
    assert "pip install not-there" in text


@pytest.mark.parametrize("name", ["../etc", "a.b", "", "a b"])
def test_what_is_no_name_of_a_package_is_not_looked_for(name: str) -> None:
    with pytest.raises(BadInput, match="is not installed"):
        _ = Weights(package=name, file=Path("w.safetensors")).path


def test_a_file_that_the_package_lacks_is_named(package: Path, tmp_path: Path) -> None:
    text = study_with(tmp_path, {"package": "shipped_weights", "file": "models/other.safetensors"})
    assert "other.safetensors is no file" in text


@pytest.mark.parametrize("path", ["/etc/passwd", "../../secret.pt"])
def test_a_path_that_leaves_the_package_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="a path in the package"):
        Weights(package="shipped_weights", file=Path(path))


def test_a_package_without_a_file_is_refused() -> None:
    with pytest.raises(ValidationError, match="give file too"):
        Weights(package="shipped_weights", hub="default")
