"""Experiment 3: how similar the features of instances are, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Panel, Row, Split, Subject
from transferscope.analyses.feature_similarity.claims import CLAIMS as CLAIMS
from transferscope.analyses.feature_similarity.claims import findings as findings
from transferscope.analyses.feature_similarity.tables import TABLES as TABLES
from transferscope.core.config import AnalysisConfig, Study
from transferscope.core.errors import TaskFailed
from transferscope.core.instances import Pair, instances, pairs, parse
from transferscope.core.options import Frozen
from transferscope.core.runs import chosen_targets
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl
    import torch

ORDER = 3
VERSION = 5
TITLE = "Feature similarity"
SHOWS = (
    "Linear CKA (debiased, spatial axes flattened) of what two instances compute at each layer, on the target's "
    "test images: 1 for features that are the same up to rotation and scale, 0 for unrelated ones."
)
HOW_TO_READ = (
    "P-T & P-T near 1 says that fine-tuning kept the pre-trained features; pairs with an RI-T near RI & RI (two "
    "untrained networks) share no more than the architecture and the images give. Between that baseline and the "
    "ceiling, pairs of the same recipe that differ in their seed alone, lies what training shares."
)
CAVEATS = (
    "Two networks that have learned little look alike: look at the training metric beside the similarity. A few "
    "outlying images can raise CKA: `influence` says how much hangs on a single one. CKA is one notion of "
    "similarity; the share of mutual nearest neighbours stands beside it in the table. A CKA picked as the largest "
    "of many must exceed `null_max`, not `null`. Intervals and nulls in the table speak of other images, those of the "
    "findings of other seeds."
)
SOURCE = (
    "Neyshabur, Sedghi, Zhang (2020), section 3.3 and table 1; linear CKA by Kornblith et al. (2019), debiased; "
    "mutual nearest neighbours by Huh et al. (2024)"
)

KEYS = (Column("target", "str", "Name of the target"),)
BASELINE = "RI & RI"
CEILINGS = {
    "P-T & P-T": ("P-T & P-T",),
    "P-T & P": ("P-T & P-T",),
    "RI-T & RI-T": ("RI-T & RI-T",),
    "RI-T & RI": ("RI-T & RI-T",),
    "P-T & RI-T": ("P-T & P-T", "RI-T & RI-T"),
}
"""Pairs of the same recipe with other seeds that each kind of pair is held against."""


class Settings(Frozen):
    """What decides the numbers of a cell."""

    num_images: Annotated[int, Field(ge=8)] = 512
    """Test images compared; all where there are fewer."""
    batch_size: Annotated[int, Field(ge=8)] = 512
    """Images compared at a time. With fewer than num_images memory is bounded by the batch: HSIC is summed over
    batches, influence is that on the sum, and mutual nearest neighbours are sought within a batch, which is another
    number: among fewer images more are shared by chance."""
    permutations: Annotated[int, Field(ge=0)] = 100
    """Permutations behind the nulls."""
    neighbours: Annotated[int, Field(ge=1)] = 10
    """Nearest neighbours of an image that are compared."""


class Config(AnalysisConfig, Settings):
    """Options of feature_similarity."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """More neighbours than there are images."""
    if config.neighbours >= config.num_images:
        yield ConfigProblem(
            "neighbours",
            f"must be fewer than the {config.num_images} images of num_images, got {config.neighbours}.",
        )


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, with all its instances and their inits: one forward pass each."""
    for target in chosen_targets(study, config):
        subjects = instances(study, config, target, untrained=True)
        yield Cell(keys={"target": target}, subjects=subjects, data=study.targets[target].data, cost=4.0)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Linear CKA of all pairs at all pairs of layers, with what it is to be held against."""
    from transferscope.metrics.similarity.cka import cka
    from transferscope.models.modules.find import HEAD

    by_pair = {(pair.a, pair.b): pair for pair in pairs(subjects)}
    images = _checked(data.test.first(settings.num_images))
    if not by_pair:
        return {"feature_similarity": []}
    models = {name: subject.model() for name, subject in subjects.items()}
    modules = next(iter(subjects.values())).modules
    layers = {module.output: name for name, module in modules.items() if name != HEAD}
    table = cka(
        models,
        images.inputs,
        layers=list(layers),
        pairs=by_pair,
        batch_size=settings.batch_size,
        permutations=settings.permutations,
        neighbours=settings.neighbours,
        generator=generator,
    )
    trained = {name: _train_metric(name, subject) for name, subject in subjects.items()}
    rows = [
        _row(by_pair[row["model_x"], row["model_y"]], row, layers, images.ids, trained)
        for row in table.iter_rows(named=True)
    ]
    return {"feature_similarity": _with_references(rows)}


def _checked(images: Split) -> Split:
    """The images, each with an id of its own: all networks see them in this order.

    Raises:
        TaskFailed: ids that don't go with them.
    """
    if len(images.ids) != len(images.inputs) or len(set(images.ids)) != len(images.ids):
        raise TaskFailed(
            f"{len(images.inputs)} test images have {len(images.ids)} ids, {len(set(images.ids))} of them "
            "different: features can't be matched by image."
        )
    return images


def _row(
    pair: Pair,
    row: Row,
    layers: Mapping[str, str],
    ids: Sequence[str],
    trained: Mapping[str, float | None],
) -> Row:
    """One row of the table; layers are named by their module, `layers` has these by the layer's path."""
    place = row["influence_place"]
    depths = list(layers)
    same = (
        "linear_cka",
        "low",
        "high",
        "null",
        "null_max",
        "influence",
        "mutual_knn",
        "n",
        "smallest_batch",
        "status",
    )
    return {
        **pair.columns,
        "layer_a": layers[row["layer_x"]],
        "layer_b": layers[row["layer_y"]],
        "depth_a": depths.index(row["layer_x"]),
        "depth_b": depths.index(row["layer_y"]),
        **{name: row[name] for name in same},
        "influence_image": None if place is None else ids[place],
        "train_metric_a": trained[pair.a],
        "train_metric_b": trained[pair.b],
    }


def _with_references(rows: Sequence[Row]) -> list[Row]:
    """Rows with the baseline and the ceiling of their layers."""
    values: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        # which of two networks of a kind is a doesn't matter: both orders of the layers count
        for layers in ((row["layer_a"], row["layer_b"]), (row["layer_b"], row["layer_a"])):
            values.setdefault((row["pair"], *layers), []).append(row["linear_cka"])
    means = {key: sum(found) / len(found) for key, found in values.items()}

    def mean_of(kinds: Sequence[str], row: Row) -> float | None:
        found = [means.get((kind, row["layer_a"], row["layer_b"])) for kind in kinds]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known and len(known) == len(found) else None

    return [
        {**row, "baseline": mean_of((BASELINE,), row), "ceiling": mean_of(CEILINGS.get(row["pair"], ()), row)}
        for row in rows
    ]


def _train_metric(name: str, subject: Subject) -> float | None:
    return subject.history["train_metric"][-1] if parse(name).kind in ("P-T", "RI-T") else None


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """For each target, the similarity by layer, a line a kind of pair; then of every layer with every layer."""
    from transferscope.analyses.feature_similarity.panels import feature_similarity_panels

    return feature_similarity_panels(tables["feature_similarity"])
