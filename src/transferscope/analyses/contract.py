"""The one shape of every analysis, and how it is found.

An analysis is one module in `transferscope.analyses`, importable without torch, with

- `ORDER`, `TITLE`, `SHOWS`, `HOW_TO_READ`, `CAVEATS`, `SOURCE`: place and texts of its section in the report,
- `VERSION`: an int, raised whenever the same inputs give other rows; a part of the cache key,
- `Settings`: what `measure` may know (all of it in the cache key), and `Config(AnalysisConfig, Settings)`:
  the same with the choice of cells,
- `KEYS`: the key columns that every row begins with; `TABLES`: the further columns of each table it
  makes; the first has the analysis's own name. A table `NAME_images` has the numbers of the table `NAME` without one
  group of test images at a time (`analyses/shared/image_groups.py`),
- `check(study, config)`: what is wrong with this configuration in this study, in words, with its key,
- `cells(study, config)`: which weights, on which images; an analysis never trains,
- `measure(subjects, data, settings, generator)`: rows for each table; pure, never touches the disk,
- `TRAINS`: True where its cells ask for trainings that no instance which was trained elsewhere can stand for,
- `WITH_SEARCH`: True where every study that searches its learning rates has it; `NEEDS_INIT`: True where it says
  nothing without what networks started from; `COARSER`: options for comparing networks, where those of a study would
  take too long,
- `SUMMARIES` and `summarize(tables)`: further tables, computed from those of all cells whenever the report is
  written, such as intervals over seeds; only where an analysis has some,
- `panels(tables)`: its figure as named charts, from its tables and nothing else; called when all of them have
  rows, but for those in `MAY_BE_EMPTY`, with pictures or `NAME_images`,
- `galleries(tables)`: images to look at, beside the charts; only where an analysis has some,
- `NOTHING`: why its tables are empty, where a network may have nothing to measure,
- `headline(tables, findings, beside)` and `advice(tables)`: its part of the report's first page, as a `FirstPage` and
  as `Advice`; only where an analysis has some. `FIRST_PAGE_ORDER`: its place there, if that isn't `ORDER`,
- `CLAIMS`: the claims that it tests, if it tests any; `findings(tables, study)`: the verdict on each, from
  `transferscope.analyses.findings.judge`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, Protocol

from transferscope.analyses.claims import Claim, Evidence
from transferscope.core.config import AnalysisConfig
from transferscope.core.options import DatasetOptions, Frozen, load_plugin, plugin_names
from transferscope.core.runs import UNSHUFFLED, Point, View

if TYPE_CHECKING:
    import polars as pl
    from torch import Tensor, nn

    from transferscope.core.datasets import Description
    from transferscope.models.modules.find import Module

PACKAGE = "transferscope.analyses"
IMAGES = "_images"
"""End of the names of tables with numbers without one group of test images at a time."""

Row = dict[str, Any]
Key = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One unit of measuring: some weights on one view of one data set."""

    keys: Mapping[str, Key]
    """Key columns put in front of every row; names for display, not in the cache key."""
    subjects: Mapping[str, Point]
    """The weights by their role."""
    data: DatasetOptions
    """The data set measured on."""
    view: View = UNSHUFFLED
    """How its images are shown."""
    cost: float = 1.0
    """Rough number of passes of all subjects over the test images, for the planner's estimate."""


class Subject(Protocol):
    """One set of weights, as `measure` sees it."""

    @property
    def epoch(self) -> int:
        """Epochs of its Run that it has been through; 0 is the init."""
        ...

    @property
    def state(self) -> dict[str, Tensor]:
        """Parameters and buffers by name."""
        ...

    @property
    def history(self) -> pl.DataFrame:
        """One row an epoch of the Run: epoch, learning_rate, and loss and metric as in train_loss, train_metric,
        held_out_loss and test_loss.

        Held-out and test columns are null at epochs where they weren't looked at; epoch 0 is the init."""
        ...

    @property
    def test_logits(self) -> Tensor:
        """(n_test, num_classes) float32, of the Run's final network on the Run's own view of the test images; of
        its best one where that is the Point."""
        ...

    @property
    def modules(self) -> Mapping[str, Module]:
        """Its named modules, from the stem to the "head"."""
        ...

    def model(self) -> nn.Module:
        """A new network with these weights, in evaluation mode."""
        ...


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images ready for a network, with their labels."""

    inputs: Tensor
    """(n, channels, size, size) float32, shuffled as the cell asks, normalised."""
    labels: Tensor
    """(n,) int64 or (n, num_classes) float32."""
    ids: tuple[str, ...]
    clusters: tuple[str, ...] | None = None
    """What each image belongs to, such as a patient; None if the data set doesn't say."""

    def first(self, count: int) -> Split:
        """The first `count` images, or all where there are fewer: splits come in random order."""
        return Split(
            inputs=self.inputs[:count],
            labels=self.labels[:count],
            ids=self.ids[:count],
            clusters=None if self.clusters is None else self.clusters[:count],
        )


class CellData(Protocol):
    """The images a cell is measured on."""

    @property
    def description(self) -> Description: ...
    @property
    def train(self) -> Split:
        """Those that the networks were trained on: without any that their recipe holds out."""
        ...

    @property
    def test(self) -> Split: ...
    @property
    def test_images_uint8(self) -> Tensor | None:
        """(n_test, channels, size, size): the test images as shown, before they are normalised; None where
        only normalised ones are at hand."""
        ...


@dataclass(frozen=True)
class ConfigProblem:
    """Something wrong in an analysis's configuration: which key, and what to do."""

    key: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One chart of an analysis's figure, about as wide as a phone."""

    name: str
    """Part of the file name: figures/<analysis>-<name>.svg."""
    title: str
    """Heading, in words."""
    chart: Any
    """An Altair chart."""
    summary: str = field(default="")
    """What the chart shows, in a sentence, for those who can't see it."""
    group: str = ""
    """Panels of a group, such as those of a target, stand together under its name; by default below no name."""
    secondary: bool = False
    """Whether it is folded away in the report until somebody asks for it."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of a gallery."""

    png: bytes | None
    """A PNG file; None where the image isn't at hand."""
    alt: str
    """What it is, for those who can't see it."""
    caption: Sequence[str]
    """Lines below it."""


@dataclass(frozen=True, kw_only=True)
class PictureRow:
    """Images that belong together."""

    title: str
    pictures: Sequence[Picture]
    empty: str = "None."
    """What stands there where there is no picture."""


@dataclass(frozen=True, kw_only=True)
class Gallery:
    """Images of one data set to look at, in rows."""

    name: str
    title: str
    """Heading, in words."""
    summary: str
    """How the images were chosen."""
    rows: Sequence[PictureRow]
    group: str = ""
    """Where set, it stands with the charts of this group, its rows beside each other as columns."""


@dataclass(frozen=True, kw_only=True)
class Headline:
    """One of the numbers that carry the answer."""

    value: str
    label: str
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class FirstPage:
    """What an analysis says on the first page; empty texts are left out."""

    paragraphs: Sequence[str] = ()
    """With all numbers, a question a paragraph."""
    headlines: Sequence[Headline] = ()
    summary: Sequence[str] = ()
    """The same in plain sentences with few numbers."""
    panels: Sequence[Panel] = ()
    """Charts; they replace those of the same name from an analysis that comes before."""


AdviceEvidence = Evidence | Literal["indirect"]
"""As of a claim; indirect: a rule or another measurement stands in for the question."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """One thing to do with the pre-trained weights."""

    text: str
    numbers: str
    """What it rests on, in sentences."""
    evidence: AdviceEvidence
    """How sure it is; it says what to do only where this is strong, some or indirect."""
    why: str
    """What the evidence is, or what would decide it."""
    analysis: str
    """The analysis whose section has the evidence."""


def analysis_names() -> list[str]:
    """The analyses that there are."""
    return plugin_names(PACKAGE)


def analysis_module(name: str) -> Any:
    """The module that holds the analysis's contract: `NAME/analysis.py`, or `NAME.py` where it is a single file.

    Raises:
        BadInput: there is no such analysis; the message names the nearest one.
    """
    known = sys.modules.get(f"{PACKAGE}.{name}.analysis")
    if known is not None:
        return known
    module: ModuleType = load_plugin(PACKAGE, name, "analysis")
    return importlib.import_module(f"{PACKAGE}.{name}.analysis") if hasattr(module, "__path__") else module


def all_claims() -> tuple[Claim, ...]:
    """The claims of all analyses, in the order of their sections."""
    modules = sorted((analysis_module(name) for name in analysis_names()), key=lambda module: module.ORDER)
    return tuple(claim for module in modules for claim in getattr(module, "CLAIMS", ()))


def drawn_tables(name: str) -> list[str]:
    """The tables that must have rows for the analysis's charts to be drawn."""
    module = analysis_module(name)
    return [
        table
        for table, columns in module.TABLES.items()
        if table not in getattr(module, "MAY_BE_EMPTY", ())
        and not table.endswith(IMAGES)
        and not any(column.dtype == "png" for column in columns)  # no image may be misclassified
    ]


def measured_settings(name: str, config: AnalysisConfig) -> Frozen:
    """The part of the configuration that decides the numbers, without the choice of cells."""
    settings = analysis_module(name).Settings
    return settings(**{field: getattr(config, field) for field in settings.model_fields})
