"""What a data set holds and what is wrong with it, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from transferscope.core.datasets import Description, ImageData, dataset_module, describe, load
from transferscope.core.errors import BadInput
from transferscope.core.files import write_atomically
from transferscope.core.options import DatasetOptions, FileOptions
from transferscope.data.files.image_list import one_finding_each, one_hot_note
from transferscope.data.files.name_groups import shared_groups
from transferscope.data.files.problems import MAX_SHOWN, Problems
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

SPLITS = ("train", "test")
MAX_CLASSES = 30
"""The number of classes that are named, the largest first; the JSON has all of them."""


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
    in_both = getattr(options, "test_share", None) == "all"  # on purpose
    shared = (
        Problems()
        if in_both
        else shared_images(data.train, data.test, scans["train"].digests, scans["test"].digests)
    )
    exact = {problem.where for problem in shared}
    near = (
        []
        if in_both
        else [
            one
            for one in near_duplicates(
                data.train, data.test, scans["train"].thumbnails, scans["test"].thumbnails
            )
            if one.test not in exact
        ]
    )
    conflicts = conflicting_labels(images, scans)
    groups = [] if in_both else shared_groups(data.train.ids, data.test.ids, description.class_names)
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
