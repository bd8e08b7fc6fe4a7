"""What a data set holds, what is wrong with it, and how it looks, before anything is trained on it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from transferscope.core.class_order import reading_order
from transferscope.core.datasets import Description, ImageData, dataset_module, describe, load
from transferscope.core.errors import BadInput, unmarked, visible
from transferscope.core.files import write_atomically
from transferscope.core.options import DatasetOptions, FileOptions
from transferscope.data.files.decode import telling_of_decoded
from transferscope.data.files.image_list import one_finding_each, one_hot_note
from transferscope.data.files.name_groups import shared_groups
from transferscope.data.files.problems import MAX_SHOWN
from transferscope.data.inspect.contact_sheet import contact_sheet
from transferscope.data.inspect.facts import class_notes, split_facts
from transferscope.data.inspect.near_duplicates import NearDuplicate, near_duplicates
from transferscope.data.inspect.overview import (
    SplitOverview,
    conflicting_labels,
    overview,
    scanned,
    shared_images,
)
from transferscope.execute.progress.terminal import reading
from transferscope.study.dataset_text import dataset_from_text
from transferscope.study.file import load_study

EXIT_PROBLEMS = 2
SPLITS = ("train", "test")
MAX_CLASSES = 30
"""So many classes are printed, the largest first; the JSON has all."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found out about one data set."""

    name: str
    """Its name in the study, or as it was given."""
    options: DatasetOptions
    description: Description
    """Of what is left where bad images are left out."""
    splits: Mapping[str, SplitOverview]
    num_shared: int
    """Test images with the very pixels of a training image."""
    near_duplicates: Sequence[NearDuplicate]
    """Further test images that show nearly the same as a training image."""
    conflicts: Sequence[tuple[str, ...]]
    """Ids of images with the same pixels and different labels."""
    shared_groups: Sequence[str]
    """What may name a group of images, such as a patient, and occurs in both splits."""
    problems: tuple[str, ...]
    """In words, a line for each kind, with the first of them named."""
    problem_counts: Mapping[str, int]
    shown: tuple[str, ...]
    """What the network will be shown: sizes, orientation, grey values, the order of the classes."""
    notes: tuple[str, ...]
    """What one should know: what was not taken, what looks wrong."""
    sheet: Path

    @property
    def stops(self) -> bool:
        """Whether a study of these data stops at the problems."""
        return bool(self.problems) and getattr(self.options, "on_bad", "stop") == "stop"


def check_data(
    text: str, overrides: Sequence[str], sheet: Path | None, *, as_json: bool, console: Console
) -> int:
    """Check the data sets that are named on the command line, and print what they hold.

    Args:
        text: a data set, as in `imagefolder:PATH`, or a study file: then its source and all its targets.
        overrides: of the data set's options, or of the study.
        sheet: the PNG file to write; for a study the name of each data set is put before its suffix.
        as_json: print one JSON document instead of tables.
        console: where to print.

    Returns:
        The exit code: 0, or 2 where a study of these data would stop at problems.

    Raises:
        BadInput: there is no such data set or study, or nothing of it can be used.
    """
    results = []
    for name, options in _named(text, overrides).items():
        quiet = Console(quiet=True) if as_json else console
        with reading(quiet, name) as told, telling_of_decoded(told):
            results.append(check(name, options, _sheet_file(sheet, name, options, several=_is_study(text))))
        if not as_json:
            print_checked(results[-1], console)
    if as_json:
        print(json.dumps(as_document(results), indent=1, ensure_ascii=False, allow_nan=False))
    return EXIT_PROBLEMS if any(checked.stops for checked in results) else 0


def _is_study(text: str) -> bool:
    return text.endswith((".yaml", ".yml"))


def _named(text: str, overrides: Sequence[str]) -> dict[str, DatasetOptions]:
    """The data sets by their name; the same one is checked once."""
    if not _is_study(text):
        return {text: dataset_from_text(text, overrides)}
    study = load_study(text, overrides=overrides)
    named = {name: target.data for name, target in study.targets.items()}
    if study.source is not None and study.source.data is not None:
        named = {"source": study.source.data, **named}
    first = {options: name for name, options in reversed(named.items())}
    return {name: options for name, options in named.items() if first[options] == name}


def _sheet_file(sheet: Path | None, name: str, options: DatasetOptions, *, several: bool) -> Path:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name if several else options.dataset).strip("-")
    if sheet is None:
        return Path(f"{plain}-sheet.png")
    return sheet.with_name(f"{sheet.stem}-{plain}{sheet.suffix}") if several else sheet


def check(name: str, options: DatasetOptions, sheet: Path) -> Checked:
    """Decode a data set, count, and draw its contact sheet.

    Args:
        name: what to call it.
        options: the data set; whatever its policy, all problems are looked for.
        sheet: the PNG file to write.

    Raises:
        BadInput: nothing of it can be used.
    """
    # All that is bad is looked for at once, and duplicates are counted rather than left out.
    lenient = options
    if isinstance(options, FileOptions):
        lenient = options.model_copy(update={"on_bad": "skip", "keep_duplicates": True})
    description, data = describe(lenient), load(lenient)
    images = {split: getattr(data, split) for split in SPLITS}
    scans = {split: scanned(images[split]) for split in SPLITS}
    shared = shared_images(data.train, data.test, scans["train"].digests, scans["test"].digests)
    exact = {problem.where for problem in shared}
    near = [
        one
        for one in near_duplicates(data.train, data.test, scans["train"].thumbnails, scans["test"].thumbnails)
        if one.test not in exact
    ]
    conflicts = conflicting_labels(images, scans)
    groups = shared_groups(data.train.ids, data.test.ids, description.class_names)
    problems, counts = list(data.problems), dict(data.left_out)
    if not getattr(options, "keep_duplicates", True):
        problems += shared.lines()
        counts |= shared.counts
    notes = getattr(dataset_module(options.dataset), "notes", None)
    title = f"{name}: training images by class, {description.image_size_px} px"
    try:
        write_atomically(sheet, contact_sheet(data.train, description.class_names, title))
    except OSError as error:
        raise BadInput(f"can't write {sheet}: {error.strerror or error}. Give another --out.") from None
    return Checked(
        name=name,
        options=options,
        description=_of_what_is_left(description, data),
        splits={split: overview(images[split], description.num_classes, scans[split]) for split in SPLITS},
        num_shared=len(shared),
        near_duplicates=near,
        conflicts=conflicts,
        shared_groups=groups,
        problems=tuple(problems),
        problem_counts=counts,
        shown=(*_shown(description), *data.shown),
        notes=tuple(
            dict.fromkeys(
                (
                    *_image_notes(near, conflicts, groups),
                    *_label_notes(description, data),
                    *description.notes,
                    *(note for note in data.notes if note not in data.shown),
                    *(() if notes is None else notes(lenient)),
                )
            )
        ),
        sheet=sheet,
    )


def _shown(about: Description) -> list[str]:
    """What the network is shown, as far as the description says it."""
    names = [f"{number} {name}" for number, name in enumerate(about.class_names[:MAX_CLASSES])]
    more = f" and {about.num_classes - MAX_CLASSES} more" if about.num_classes > MAX_CLASSES else ""
    channels = "1 channel" if about.channels == 1 else f"{about.channels} channels"
    return [
        f"{about.image_size_px} x {about.image_size_px} px, {channels}, values 0 to 255 before normalization",
        f"outputs of the network, in order: {', '.join(names)}{more}",
    ]


def _label_notes(description: Description, data: ImageData) -> list[str]:
    found = description.multi_label and one_finding_each(
        data.train.labels.tolist(), data.test.labels.tolist()
    )
    splits = [split_facts(split.labels.numpy(), description.num_classes) for split in (data.train, data.test)]
    return [*([one_hot_note(description.num_classes)] if found else []), *class_notes(description, *splits)]


def _image_notes(
    near: Sequence[NearDuplicate], conflicts: Sequence[tuple[str, ...]], groups: Sequence[str]
) -> list[str]:
    """What is suspicious about the images: a few of each kind by name."""
    notes = []
    if near:
        pairs = [f"{one.test} and {one.train}{' (mirrored)' if one.mirrored else ''}" for one in near]
        notes.append(
            f"{len(near)} test images show nearly the same as a training image: {_few(pairs)}. Accuracy on them says "
            "little about new images. Remove one of each pair."
        )
    if conflicts:
        notes.append(
            f"{len(conflicts)} images occur with different labels: {_few([' and '.join(ids) for ids in conflicts])}."
        )
    if groups:
        notes.append(
            f"{len(groups)} names occur in the paths of training and of test images: {_few(groups)}. If they are of "
            "patients or other groups, put all images of a group into one split."
        )
    return notes


def _few(texts: Sequence[str]) -> str:
    more = len(texts) - MAX_SHOWN
    return "; ".join(texts[:MAX_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _of_what_is_left(description: Description, data: ImageData) -> Description:
    return replace(description, num_train=len(data.train), num_test=len(data.test), left_out=data.left_out)


def print_checked(checked: Checked, console: Console) -> None:
    """The result for people."""
    about = checked.description
    kind = "labels, several an image" if about.multi_label else "classes"
    console.print(f"[bold]{unmarked(checked.name)}[/bold] ({checked.options.dataset})", highlight=False)
    console.print(
        f"{about.num_classes} {kind}; images of {about.image_size_px} x {about.image_size_px} px, "
        f"{about.channels} channel{'s' if about.channels > 1 else ''}",
        highlight=False,
    )
    console.print(_split_table(checked))
    console.print(_class_table(checked))
    console.print(
        f"duplicates between train and test: {checked.num_shared:,}, near duplicates: "
        f"{len(checked.near_duplicates):,}",
        highlight=False,
    )
    for line in checked.problems:
        console.print(f"problem: {visible(line)}", style="red", highlight=False, markup=False, soft_wrap=True)
    if not checked.problems:
        console.print("problems: none", highlight=False)
    elif checked.stops:
        console.print(
            "a study of these data stops at this; `on_bad: skip` leaves the images out, and counts them",
            highlight=False,
        )
    else:
        console.print("on_bad: skip: these images are left out of a study, and counted", highlight=False)
    console.print(f"contact sheet: {checked.sheet}", highlight=False, markup=False, soft_wrap=True)
    console.print("What the network will be shown:", highlight=False)
    for line in checked.shown:
        console.print(f"- {visible(line)}", highlight=False, markup=False, soft_wrap=True)
    for note in checked.notes:
        console.print(f"note: {visible(note)}", highlight=False, markup=False, soft_wrap=True)


def _split_table(checked: Checked) -> Table:
    table = Table()
    headings = (
        "split",
        "images",
        "of these listed again",
        "duplicates within",
        "mean by channel",
        "std by channel",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, split in checked.splits.items():
        numbers = (split.num_images, split.num_repeats, split.num_duplicates)
        moments = (" ".join(f"{one:.1f}" for one in numbers_) for numbers_ in (split.mean, split.std))
        table.add_row(name, *(f"{number:,}" for number in numbers), *moments)
    return table


def _class_table(checked: Checked) -> Table:
    about, splits = checked.description, checked.splits
    table = Table()
    table.add_column("label" if about.multi_label else "class")
    for name in splits:
        table.add_column(name, justify="right")
        table.add_column("share", justify="right")
    train = splits["train"].counts
    order = sorted(reading_order(about.class_names), key=lambda number: -train[number])
    for number in order[:MAX_CLASSES]:
        cells = []
        for split in splits.values():
            cells += [f"{split.counts[number]:,}", _share(split.prevalence[number])]
        table.add_row(unmarked(about.class_names[number]), *cells)
    if len(order) > MAX_CLASSES:
        rest = order[MAX_CLASSES:]
        cells = []
        for split in splits.values():
            cells += [f"{min(split.counts[n] for n in rest):,} to {max(split.counts[n] for n in rest):,}", ""]
        table.add_row(f"{len(rest)} more classes", *cells)
    return table


def _share(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def as_document(results: Sequence[Checked]) -> dict[str, Any]:
    """All of it as plain data, for JSON."""
    return {"datasets": [_entry(checked) for checked in results]}


def _entry(checked: Checked) -> dict[str, Any]:
    about = checked.description
    return {
        "name": checked.name,
        "options": checked.options.model_dump(mode="json"),
        "class_names": list(about.class_names),
        "multi_label": about.multi_label,
        "image_size_px": about.image_size_px,
        "channels": about.channels,
        "fingerprint": about.fingerprint,
        "splits": {
            name: {
                **asdict(split),
                "prevalence": [None if math.isnan(one) else one for one in split.prevalence],
            }
            for name, split in checked.splits.items()
        },
        "duplicates_between_splits": checked.num_shared,
        "near_duplicates_between_splits": [asdict(one) for one in checked.near_duplicates],
        "conflicting_labels": [list(ids) for ids in checked.conflicts],
        "groups_in_both_splits": list(checked.shared_groups),
        "problems": list(checked.problems),
        "problem_counts": dict(checked.problem_counts),
        "stops": checked.stops,
        "shown": list(checked.shown),
        "notes": list(checked.notes),
        "contact_sheet": str(checked.sheet),
    }
