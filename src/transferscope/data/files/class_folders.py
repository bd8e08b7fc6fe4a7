"""Images in one folder per class: options and file listing shared by data sets with this layout."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from transferscope.core.class_order import plain_name, refuse_repeated
from transferscope.core.errors import BadInput, did_you_mean
from transferscope.data.files.folder_options import FolderOptions, SplitFolders
from transferscope.data.files.folder_walk import ARRAYS, EXTENSIONS, MASK_WORDS, Walk, suspected_masks, walk
from transferscope.data.files.image_list import Entry, ImageFolder, Listing
from transferscope.data.files.problems import Problems
from transferscope.data.files.split_share import DEFAULT_SHARE, divide, split_note

_ONLY_READ = f"only {', '.join(EXTENSIONS)} are read"
TEST_NAMES = ("test", "val", "valid", "validation", "testing", "eval")
"""What folders of test images are usually called."""
NO_CLASSES = {*TEST_NAMES, *MASK_WORDS, "train", "training", "trn", "tst", "images", "imgs", "labels"}
"""Where a folder below the root has such a name, the folders beside it are not taken as classes."""
TABLES = (".csv", ".parquet", ".tsv", ".xls", ".xlsx")
"""Suffixes of files that may hold labels."""
Classes = dict[str, list[Entry]]
"""The images of each class, both sorted by name; labels are set later."""


def layout(train: str = "train", test: str = "test") -> str:
    """What is expected, for messages."""
    return f"Expected: <root>/{train}/<class>/<image> and <root>/{test}/<class>/<image>."


def list_folders(options: FolderOptions, test_folder: str) -> Listing:
    """The images of both splits; labels are those of the classes in train, sorted by name.

    Images in folders within the folder of a class are of that class, as in torchvision's ImageFolder. Links are
    followed.

    Args:
        options: where they are, and how many to take.
        test_folder: name of the folder with the test images, unless the options name it.

    Raises:
        BadInput: the folders are not as expected.
    """
    options = _with_share(options, test_folder)
    root = options.root
    splits = options.splits or SplitFolders()
    names = {"train": splits.train or "train", "test": splits.test or test_folder}
    expected = layout(**names)
    if not root.is_dir():
        came = "is not a folder" if root.exists() else "does not exist"
        raise BadInput(f"the root of the images, {root}, {came}. {expected} Give the folder that holds both.")
    problems, found = Problems(), Walk()
    folder = ImageFolder(root, problems, follow_links=True)
    try:
        if options.test_share is not None:
            whole = _undivided(options, names)
            train, test = _divided(_classes(options, whole, folder, problems, found), options)
        else:
            _refuse_missing_folders(root, names, expected)
            train = _classes(options, names["train"], folder, problems, found)
            test = _classes(options, names["test"], folder, problems, found)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead in a circle
        raise BadInput(f"{root} can't be read ({error}). Correct its permissions and links.") from None
    refuse_repeated(train, f"{root}/{names['train']}")
    refuse_repeated(test, f"{root}/{names['test']}")
    test = _by_name(test, train, problems)
    _refuse_too_little(options, names, tuple(train), test, problems)
    return Listing(
        class_names=tuple(train),
        train=_choose(train, tuple(train), options.max_train_size, options.seed),
        test=_choose(test, tuple(train), options.max_test_size, options.seed),
        problems=problems,
        notes=tuple(_notes(options, names, tuple(train), found, folder)),
        division=_division(options),
    )


def _with_share(options: FolderOptions, test_folder: str) -> FolderOptions:
    """The options with the default share, if the root holds folders of classes and nothing named as a split."""
    chosen = options.test_share is not None or options.splits is not None or test_folder != "test"
    if chosen or not options.root.is_dir():
        return options
    inside = [path for path in options.root.iterdir() if not path.name.startswith(".")]
    folders = {path.name.lower() for path in inside if path.is_dir()}
    tables = any(path.suffix.lower() in TABLES for path in inside)
    if len(folders) < 2 or tables or not folders.isdisjoint(NO_CLASSES):
        return options
    return options.model_copy(update={"test_share": DEFAULT_SHARE})


def _refuse_missing_folders(root: Path, names: dict[str, str], expected: str) -> None:
    if names["train"] == names["test"]:
        raise BadInput(f"splits: both are the folder '{names['train']}'; expected two. {expected}")
    missing = [name for name in names.values() if not (root / name).is_dir()]
    if not missing:
        return
    folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if names["train"] not in missing:
        usual = [name for name in folders if name.lower() in TEST_NAMES]
        how = (
            f" `splits: {{test: {usual[0]}}}` takes {usual[0]} for testing." if usual else ""
        ) + f" `splits: {{train: {names['train']}}}` with `test_share: 0.2` divides {names['train']}."
    else:
        how = (
            " `splits: {train: ..., test: ...}` names other folders. Where the folders are the classes, "
            "`test_share: 0.2` takes a fifth of each for testing."
        )
    tables = sorted(path.name for path in root.iterdir() if path.suffix.lower() in TABLES)
    if tables:
        how += (
            f" There is a table ({tables[0]}): if it holds the labels, the data set `table` reads it, as in "
            f"table:{root / tables[0]}."
        )
    raise BadInput(
        f"{root} has no folder named {' and none named '.join(missing)}; its folders: "
        f"{', '.join(folders[:20]) or 'none'}{' ...' if len(folders) > 20 else ''}. {expected}{how}"
    )


def _undivided(options: FolderOptions, names: dict[str, str]) -> str:
    """The folder that holds all classes, relative to the root."""
    there = [name for name in names.values() if (options.root / name).is_dir()]
    if options.splits is not None and options.splits.train is not None:
        return names["train"]
    if there:
        raise BadInput(
            f"test_share: {options.root} has {' and '.join(there)}. Leave test_share out to use the two folders, or "
            f"give `splits: {{train: {there[0]}}}` to divide the images of {there[0]}."
        )
    return "."


def _divided(classes: Classes, options: FolderOptions) -> tuple[Classes, Classes]:
    labels = [name for name, entries in classes.items() for _ in entries]
    entries = [entry for of_class in classes.values() for entry in of_class]
    parts: tuple[Classes, Classes] = ({}, {})
    groups = [_group(entry.id, options.group_pattern) for entry in entries]
    assert options.test_share is not None
    divided = divide(labels, groups, options.test_share, options.split_seed or 0)
    for part, rows in zip(parts, divided, strict=True):
        for row in rows:
            part.setdefault(labels[row], []).append(entries[row])
    return parts


def _division(options: FolderOptions) -> str:
    """How the test images were chosen; empty if folders say which they are."""
    if options.test_share is None:
        return ""
    groups = f"`group_pattern` {options.group_pattern}" if options.group_pattern else ""
    return split_note(options.test_share, options.split_seed or 0, "each class", groups)


def _group(id_: str, pattern: str | None) -> str:
    """The group of an image: what its path has for the pattern; the path itself where it has nothing."""
    match = re.search(pattern, id_) if pattern is not None else None
    return id_ if match is None else match[1]


def _by_name(test: Classes, train: Classes, problems: Problems) -> Classes:
    """The test images by the names of the training classes; those of other classes are noted."""
    known = {plain_name(name): name for name in train}
    for name in [name for name in test if plain_name(name) not in known]:
        for entry in test.pop(name):
            problems.add("class_not_in_train", entry.id, f"'{name}'.{did_you_mean(name, train)}")
    return {known[plain_name(name)]: entries for name, entries in test.items()}


def _refuse_too_little(
    options: FolderOptions,
    names: dict[str, str],
    classes: tuple[str, ...],
    test: Classes,
    problems: Problems,
) -> None:
    wrong, expected = [], layout(**names)
    if len(classes) < 2:
        where = options.root if options.test_share is not None else options.root / names["train"]
        wrong.append(
            f"{where} has {len(classes)} class folders with images; at least 2 are needed. {expected}"
        )
    if not test:
        wrong.append(
            f"{options.root / names['test']} has no class folders; test images are needed. {expected}"
        )
    if options.max_train_size is not None and options.max_train_size < len(classes):
        wrong.append(
            f"max_train_size is {options.max_train_size} and there are {len(classes)} classes: each needs an "
            f"image to train on. Give {len(classes)} or more."
        )
    if wrong:
        raise BadInput([*wrong, *(f"{options.root}: {line}" for line in problems.lines())])


def _classes(
    options: FolderOptions, split: str, folder: ImageFolder, problems: Problems, found: Walk
) -> Classes:
    """The images of each class folder of a split; what can't be used is noted."""
    root = os.fspath(options.root)
    classes = {}
    for name in sorted(os.listdir(os.path.join(root, split))):
        path = name if split == "." else f"{split}/{name}"
        if name.startswith(".") or any(
            fnmatch(one, pattern) for pattern in options.exclude for one in (name, path)
        ):
            continue
        if not os.path.isdir(os.path.join(root, path)):
            if os.path.islink(os.path.join(root, path)):
                problems.add("missing", path, "a link that leads nowhere")
            else:
                found.passed_over["files beside the folders of classes"] += 1
            continue
        before = len(found.unread), len(found.loops)
        extensions = EXTENSIONS if options.channels is None else (*EXTENSIONS, ARRAYS)
        files = walk(root, path, options.exclude, found, extensions)
        for image in found.unread[before[0] :] if files else ():
            problems.add("undecodable", image, _ONLY_READ)
        for loop in found.loops[before[1] :]:
            problems.add("missing", loop, "a link that leads back to a folder above it")
        entries = [entry for file in files if (entry := folder.entry(file, 0))]
        if entries:
            classes[name] = entries
        elif not files:
            problems.add("empty_class", path, _ONLY_READ)
    return classes


def _notes(
    options: FolderOptions, names: dict[str, str], classes: Sequence[str], found: Walk, folder: ImageFolder
) -> list[str]:
    """What of the folders was read in a way that one should know, and what was not read."""
    notes = []
    if found.num_deep:
        notes.append(
            f"{found.num_deep:,} images are in folders within the folder of a class, and count as images of the class"
        )
    if folder.num_linked:
        more = " ..." if folder.num_linked > len(folder.linked) else ""
        notes.append(
            f"{folder.num_linked:,} images are reached by links that lead out of {options.root}: "
            f"{', '.join(folder.linked)}{more}"
        )
    masks = suspected_masks(found.images)
    if masks:
        notes.append(
            f"{len(masks):,} of {len(found.images):,} files look like masks or other companions of images, and are "
            f"taken as images of their class: {', '.join(masks[:3])}{' ...' if len(masks) > 3 else ''}. "
            '`exclude: ["*_mask*"]` leaves files out by a pattern of their names.'
        )
    masks_of = [name for name in classes if name.lower() in MASK_WORDS]
    if masks_of:
        notes.append(
            f"the class '{masks_of[0]}' is called as folders of masks are; its files are taken as images"
        )
    if found.excluded:
        counts = ", ".join(f"{count:,} by {pattern}" for pattern, count in found.excluded.items())
        notes.append(f"left out by `exclude`: {counts}")
    if found.passed_over:
        counts = ", ".join(f"{count:,} ({kind})" for kind, count in sorted(found.passed_over.items()))
        notes.append(f"files that were passed over, as {_ONLY_READ}: {counts}")
    if options.test_share is None:
        others = sorted(
            path.name
            for path in options.root.iterdir()
            if path.is_dir() and path.name not in {Path(one).parts[0] for one in names.values()}
        )
        others = [name for name in others if not name.startswith(".")]
        if others:
            notes.append(f"folders of {options.root} that are not read: {', '.join(others[:10])}")
    return notes


def _choose(classes: Classes, names: tuple[str, ...], maximum: int | None, seed: int) -> tuple[Entry, ...]:
    """The images to take, in random order: the first ones stand for all."""
    import numpy as np

    generator = np.random.Generator(np.random.PCG64(seed))
    turns = [
        (turn, name, entries[i])
        for name, entries in classes.items()
        for turn, i in enumerate(generator.permutation(len(entries)))
    ]
    # One image of each class in turn: small classes are taken whole, and large ones evenly.
    chosen = sorted((name, entry) for _, name, entry in sorted(turns)[:maximum])
    numbers = {name: number for number, name in enumerate(names)}
    order = generator.permutation(len(chosen))
    return tuple(entry._replace(label=numbers[name]) for name, entry in (chosen[i] for i in order))
