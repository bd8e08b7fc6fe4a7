"""A data set and an analysis of their own, so that the tests of study files rest on no real one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from transferscope.analyses.contract import ConfigProblem
from transferscope.core import options
from transferscope.core.config import AnalysisConfig, Study
from transferscope.core.datasets import Description
from transferscope.core.errors import BadInput
from transferscope.core.options import DatasetOptions, Frozen

STUDY = """\
name: a study
network:
  name: fixup_resnet
source:
  data: {dataset: squares}
  pretraining:
    epochs: 2
    learning_rate: 0.1
targets:
  near:
    data:
      dataset: squares
      root: pictures
  far:
    data: {dataset: squares}
    likeness_rank: 2
training:
  epochs: 3
  weight_decay: 1e-4
  learning_rate: {p_t: 0.01, ri_t: 0.1}
seeds: [0, 1]
analyses:
  ruler:
    targets: [near]
variants:
  quick:
    training.epochs: 1
    analyses.ruler.sizes_px: [1, 2]
"""
"""A valid study; the tests change single lines of it."""


class SquaresOptions(DatasetOptions):
    dataset: Literal["squares"] = "squares"  # pyright: ignore[reportIncompatibleVariableOverride]
    root: Path = Path("here")
    """Folder of the squares."""
    size_px: int = Field(default=8, ge=4)
    num_classes: int = 3
    channels: int = 3
    multi_label: bool = False


class RulerSettings(Frozen):
    sizes_px: tuple[Annotated[int, Field(ge=1)] | Literal["whole"], ...] = ("whole",)
    unit: Literal["px", "mm"] = "px"


class RulerConfig(AnalysisConfig, RulerSettings):
    pass


def describe(data: SquaresOptions) -> Description:
    if data.root.name == "absent":
        raise BadInput([f"root: {data.root} is no folder", "and nothing else is either"])
    if data.root.name == "locked":
        raise PermissionError(13, "Permission denied", str(data.root))
    names = tuple(f"class {index}" for index in range(data.num_classes))
    return Description(
        class_names=names, image_size_px=data.size_px, multi_label=data.multi_label, channels=data.channels
    )


def check(study: Study, config: RulerConfig) -> Iterator[ConfigProblem]:
    assert all(name in study.targets for name in config.targets or ()), "only asked where the choice is valid"
    if 99 in config.sizes_px:
        yield ConfigProblem("sizes_px", "99 is too long for a ruler")
    if 98 in config.sizes_px:
        raise BadInput("98 broke the ruler")


def module(name: str, **contents: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(contents)
    return made


@pytest.fixture
def plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """The data set `squares` and the analysis `ruler`, and no others."""
    names = {"transferscope.data.sets": ["squares"], "transferscope.analyses": ["ruler"]}
    real = options.plugin_names
    monkeypatch.setattr(options, "plugin_names", lambda package: names.get(package) or real(package))
    squares = module("transferscope.data.sets.squares", Options=SquaresOptions, describe=describe)
    ruler = module("transferscope.analyses.ruler", Config=RulerConfig, Settings=RulerSettings, check=check)
    for made in (squares, ruler):
        monkeypatch.setitem(sys.modules, made.__name__, made)
