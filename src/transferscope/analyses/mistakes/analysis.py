"""Experiment 2: which mistakes instances share, and on which examples they differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from transferscope.analyses.contract import Cell, CellData, ConfigProblem, Gallery, Panel, Row, Subject
from transferscope.analyses.mistakes.claims import CLAIMED, COMPARED
from transferscope.analyses.mistakes.claims import CLAIMS as CLAIMS
from transferscope.analyses.mistakes.claims import findings as findings
from transferscope.analyses.mistakes.tables import TABLES as TABLES
from transferscope.analyses.shared.image_groups import groups_of, rows_without
from transferscope.core.config import AnalysisConfig, Study
from transferscope.core.errors import TaskFailed
from transferscope.core.instances import Pair, instances, pairs, parse
from transferscope.core.options import Frozen
from transferscope.core.runs import chosen_targets
from transferscope.core.tables import Column

if TYPE_CHECKING:
    import polars as pl
    import torch
    from torch import Tensor

    from transferscope.core.datasets import Description

ORDER = 2
VERSION = 4
TITLE = "Mistakes"
SHOWS = (
    "For every pair of instances, the test images that both get wrong (common mistakes) and those that only one "
    "gets wrong (uncommon mistakes). Networks that learned the same thing make the same mistakes.\n\n"
    "The images themselves stand below: what only P-T gets wrong, what only RI-T gets wrong, and what both do."
)
HOW_TO_READ = (
    "Few uncommon mistakes mean that two instances are near copies of each other in what they do. Kappa says how "
    "much more they agree on what is hard than their accuracies alone would make them: 0 is chance, 1 is full "
    "agreement. The stratified kappa counts agreement only among images on which equally many of the other "
    "instances err: what is left when shared difficulty is taken out."
)
CAVEATS = (
    "Images that are hard for everybody raise the agreement of every pair: compare pairs of one kind with pairs "
    "of another, not with zero. An accurate pair has few uncommon mistakes because it has few mistakes: read kappa "
    "beside them. Taking out shared difficulty is never complete: it is judged by a few instances, other ones for each "
    "kind of pair, and a kind whose instances vary less among themselves keeps a higher stratified kappa. Tests and "
    "intervals in the tables speak of other test images (p, low, high) or of other instances (p_instances), those of "
    "the findings of other seeds. In multi-label data a decision is one finding of one image, at a probability of "
    "one half."
)
SOURCE = (
    "Neyshabur, Sedghi, Zhang (2020), section 3.2; kappa after Geirhos, Meding, Wichmann (2020), stratified as in "
    "Barlow, Lai, Azen (1991); churn after Milani Fard et al. (2016)"
)

KEYS = (Column("target", "str", "Name of the target"),)


class Settings(Frozen):
    """What decides the numbers of a cell."""

    bootstrap_draws: Annotated[int, Field(ge=100)] = 1000
    """Resamples of the test images behind the intervals, and draws behind the tests."""
    gallery_images: Annotated[int, Field(ge=0)] = 8
    """Images shown in each row of the gallery."""


class Config(AnalysisConfig, Settings):
    """Options of mistakes."""


def check(study: Study, config: Config) -> Iterator[ConfigProblem]:
    """Nothing beyond what every analysis is checked for."""
    yield from ()


def cells(study: Study, config: Config) -> Iterator[Cell]:
    """One cell a target, with all its instances."""
    for target in chosen_targets(study, config):
        subjects = instances(study, config, target)
        yield Cell(keys={"target": target}, subjects=subjects, data=study.targets[target].data, cost=0.1)


def measure(
    subjects: Mapping[str, Subject], data: CellData, settings: Settings, generator: torch.Generator
) -> dict[str, list[Row]]:
    """Shared and unshared mistakes of all pairs, how hard they are for the others, and the images."""
    from transferscope.metrics.agreement.mistakes import mistakes, mistakes_by_difficulty
    from transferscope.metrics.evaluation.image_groups import means_without

    logits = {name: _logits(name, subject, data) for name, subject in subjects.items()}
    truth = data.test.labels.cpu().long()
    predictions = {
        name: (own > 0).long() if data.description.multi_label else own.argmax(1)
        for name, own in logits.items()
    }
    rows: dict[str, list[Row]] = {name: [] for name in TABLES}
    rows["mistakes_gallery"] = _gallery(logits, data, settings.gallery_images)
    by_pair = {(pair.a, pair.b): pair for pair in pairs(subjects)}
    if not by_pair:
        return rows
    found = mistakes(
        predictions, truth, pairs=by_pair, bootstrap=settings.bootstrap_draws, generator=generator
    )
    for row in found.iter_rows(named=True):
        pair = by_pair[row.pop("a"), row.pop("b")]
        if row["scope"] != "all":
            row["scope"] = data.description.class_names[int(row["scope"])]
        uncommon = (row["only_a"] + row["only_b"]) / row["n"]
        rows["mistakes"].append({**pair.columns, **row, "uncommon_share": uncommon})
    for row in mistakes_by_difficulty(predictions, truth, pairs=by_pair).iter_rows(named=True):
        rows["mistakes_by_difficulty"].append({**by_pair[row.pop("a"), row.pop("b")].columns, **row})
    wrong = {name: predicted != truth for name, predicted in predictions.items()}
    rows["mistakes_difficulty"] = [row for pair in by_pair.values() for row in _judged(pair, wrong)]
    every = [
        row | {"uncommon_share": (row["only_a"] + row["only_b"]) / row["n"]}
        for row in mistakes(predictions, truth, bootstrap=0).filter(scope="all").iter_rows(named=True)
    ]
    groups = groups_of(data.test)
    for pair in by_pair.values():
        uncommon = by_image(wrong[pair.a] ^ wrong[pair.b]).mean(-1)
        without = rows_without({"uncommon_share": means_without(uncommon, groups)})
        rows["mistakes_images"] += [{**pair.columns, "scope": "all", **row} for row in without]
        if pair.kind == COMPARED[0]:
            rows["mistakes_difficulty_images"] += _judged_without(pair, wrong, groups)
    rows["mistakes_tests"] = _tests(by_pair, wrong, every, settings, generator)
    rows["mistakes_matrix"] = [
        {name: row[name] for name in ("a", "b", "kappa", "churn", "uncommon_share")} for row in every
    ]
    return rows


def _logits(name: str, subject: Subject, data: CellData) -> Tensor:
    """The instance's logits on the test images: one row an image, in the order of the ids.

    Raises:
        TaskFailed: they are of other images, or not finite.
    """
    logits, ids = subject.test_logits.cpu(), data.test.ids
    if not len(logits) == len(ids) == len(data.test.labels):
        raise TaskFailed(
            f"{name} has predictions of {len(logits)} test images, but the data set has {len(ids)} ids and "
            f"{len(data.test.labels)} labels: they can't be matched."
        )
    if len(set(ids)) != len(ids):
        raise TaskFailed("The test images have ids that occur twice: predictions can't be matched by them.")
    if not logits.isfinite().all():
        raise TaskFailed(f"{name} gives logits that aren't finite: it has no mistakes to count.")
    return logits


def _judged(pair: Pair, wrong: Mapping[str, Tensor]) -> Iterator[Row]:
    """How often the instances outside the pair err where only one of it does, or both."""
    from transferscope.metrics.agreement.difficulty import judged_difficulty

    judges = {name: errs for name, errs in wrong.items() if name not in (pair.a, pair.b)}
    for found in judged_difficulty(wrong[pair.a], wrong[pair.b], judges):
        for name, share in found.judged_wrong.items():
            judge = {"judge": name, "judge_kind": parse(name).kind, "seed_judge": parse(name).seed}
            yield {**pair.columns, "wrong": found.wrong, "n": found.n, **judge, "judged_wrong": share}


def _judged_without(pair: Pair, wrong: Mapping[str, Tensor], groups: Tensor) -> Iterator[Row]:
    """`_judged` where only one of the pair errs, without each group of images."""
    from transferscope.metrics.evaluation.image_groups import sums_without

    a, b = wrong[pair.a], wrong[pair.b]
    for who, where in (("only a", a & ~b), ("only b", b & ~a)):
        n = sums_without(by_image(where).sum(-1), groups)
        for name, errs in wrong.items():
            if name not in (pair.a, pair.b):
                judge = {"judge": name, "judge_kind": parse(name).kind, "seed_judge": parse(name).seed}
                # 0 / 0 is NaN: nothing to judge
                share = sums_without(by_image(errs & where).sum(-1), groups) / n
                for row in rows_without({"n": n.long(), "judged_wrong": share}):
                    yield {**pair.columns, "wrong": who, **judge, **row}


def by_image(decisions: Tensor) -> Tensor:
    """(n, decisions of an image) float64 of (n,) or (n, k) bool."""
    return decisions.double().reshape(len(decisions), -1)


def _tests(
    by_pair: Mapping[tuple[str, str], Pair],
    wrong: Mapping[str, Tensor],
    every: Sequence[Row],
    settings: Settings,
    generator: torch.Generator,
) -> list[Row]:
    """Whether the mistakes of two P-T overlap more than those of the other kinds of pairs.

    Args:
        by_pair: the pairs by their instances.
        wrong: which decisions each instance gets wrong.
        every: the numbers of every two instances.
    """
    from transferscope.metrics.agreement.overlap import overlap_tests

    kinds = {
        kind: [names for names, pair in by_pair.items() if pair.kind == kind] for kind in (CLAIMED, *COMPARED)
    }
    kinds = {kind: names for kind, names in kinds.items() if names}
    if CLAIMED not in kinds or len(kinds) < 2:
        return []
    table = overlap_tests(
        wrong, kinds, reference=CLAIMED, draws=settings.bootstrap_draws, generator=generator
    )
    return [
        {"pair": CLAIMED, **row, **_relabelled(every, row["measure"], row["other"], generator)}
        for row in table.iter_rows(named=True)
    ]


def _relabelled(every: Sequence[Row], measure: str, other: str, generator: torch.Generator) -> Row:
    """The same question put to the instances: were P-T and RI-T alike, any of them could be called P-T."""
    import numpy as np

    from transferscope.metrics.agreement.relabelling import relabelling_test

    names = list(dict.fromkeys(name for row in every for name in (row["a"], row["b"])))
    overlap = np.zeros((len(names), len(names)))
    for row in every:
        a, b = names.index(row["a"]), names.index(row["b"])
        overlap[a, b] = overlap[b, a] = -row[measure] if measure == "uncommon_share" else row[measure]
    known = [parse(name) for name in names]
    seeds = np.array([instance.seed for instance in known])
    found = relabelling_test(
        overlap,
        [instance.kind == "P-T" for instance in known],
        other="between" if other == COMPARED[0] else "rest",
        counted=seeds[:, None] != seeds[None, :],
        generator=generator,
    )
    return {"p_instances": found.p_value, "relabellings": found.relabellings}


def _gallery(logits: Mapping[str, Tensor], data: CellData, count: int) -> list[Row]:
    """What only P-T, only RI-T and both get wrong, most confident first."""
    from transferscope.data.inspect.thumbnail import png_thumbnail
    from transferscope.metrics.agreement.confident_mistakes import confident_mistakes

    groups = [[own for name, own in logits.items() if parse(name).kind == kind] for kind in ("P-T", "RI-T")]
    if not all(groups):
        return []
    test, images = data.test, data.test_images_uint8
    names = {"first": "only P-T", "second": "only RI-T", "both": "both"}
    rows = []
    for found in confident_mistakes(groups[0], groups[1], test.labels.cpu(), count=count):
        truth = int(
            test.labels[found.index] if found.finding is None else test.labels[found.index, found.finding]
        )
        rows.append(
            {
                "set": names[found.who],
                "rank": found.rank,
                "image_id": test.ids[found.index],
                "index": found.index,
                "label": _label(data.description, truth, found.finding),
                "p_t_label": _label(data.description, found.first_label, found.finding),
                "p_t_confidence": found.first_confidence,
                "ri_t_label": _label(data.description, found.second_label, found.finding),
                "ri_t_confidence": found.second_confidence,
                "picture": None if images is None else png_thumbnail(images[found.index]),
            }
        )
    return rows


def _label(about: Description, label: int, finding: int | None) -> str:
    if finding is None:
        return about.class_names[label]
    return f"{'' if label else 'no '}{about.class_names[finding]}"


def panels(tables: Mapping[str, pl.DataFrame]) -> Sequence[Panel]:
    """Uncommon mistakes and kappa of all targets; of each target, kappa of all pairs, and by difficulty."""
    from transferscope.analyses.mistakes.panels import mistakes_panels

    return mistakes_panels(tables)


def galleries(tables: Mapping[str, pl.DataFrame]) -> Sequence[Gallery]:
    """The images of each target that only P-T, only RI-T, and both get wrong."""
    from transferscope.analyses.mistakes.panels import mistakes_galleries

    return mistakes_galleries(tables["mistakes_gallery"])
