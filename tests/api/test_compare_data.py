"""What `compare` measures on if nothing divides the images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image
from safetensors.torch import save_file

from transferscope.api.compare import comparison_study
from transferscope.core.datasets import load
from transferscope.core.errors import BadInput
from transferscope.models.build import FixupResNetOptions
from transferscope.models.init import random_init
from transferscope.study.file import study_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(5):
            pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.png")
    save_file(random_init(FixupResNetOptions(), 2, 3, 0, 16).state_dict(), tmp_path / "a.safetensors")
    return tmp_path


@pytest.mark.parametrize(("overrides", "count"), [([], 10), (["data.test_share=0.2"], 2)])
def test_all_images_are_taken_unless_a_share_is_stated(
    folder: Path, overrides: list[str], count: int
) -> None:
    study = comparison_study(
        model="fixup_resnet",
        data=f"imagefolder:{folder / 'images'}",
        instances={"a": folder / "a.safetensors", "b": folder / "a.safetensors"},
        analyses=["mistakes"],
        overrides=["data.image_size_px=16", *overrides],
    )
    assert len(load(study.targets["imagefolder"].data).test) == count


def test_a_study_that_trains_refuses_all(folder: Path) -> None:
    document = tiny.document()
    name = next(iter(document["targets"]))
    data = {
        "dataset": "imagefolder",
        "root": str(folder / "images"),
        "test_share": "all",
        "image_size_px": 16,
    }
    document["targets"][name]["data"] = data
    with pytest.raises(BadInput, match="trained on their test images"):
        study_of(document, "study")
