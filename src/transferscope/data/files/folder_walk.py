"""The image files below one folder, and what else lies there."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import PurePosixPath

EXTENSIONS = (
    ".bmp", ".dcm", ".dicom", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp",
)  # fmt: skip
ARRAYS = ".npy"
"""Read if the number of channels is stated: beside images, such files often hold something else."""
OTHER_IMAGES = (
    ".avif", ".exr", ".gif", ".hdr", ".heic", ".heif", ".jp2", ".nii", ".nii.gz", ".nrrd", ".pbm", ".pgm", ".ppm",
    ".svs", ".tga",
)  # fmt: skip
"""Images of formats that are not read: a problem, and not passed over."""
MASK_WORDS = frozenset(
    (
        "mask",
        "masks",
        "seg",
        "segmentation",
        "segmentations",
        "annotation",
        "annotations",
        "gt",
        "groundtruth",
    )
)
"""In the name of a file or folder: what it holds is drawn over an image, and no image of its class."""
SEPARATORS = "_-. "
COMPANION_SHARE = 1 / 3
"""Where more of the files than this are called like another one with the same addition, they go with it."""


@dataclass
class Walk:
    """What was found below some folders, as paths relative to the root, with `/`."""

    images: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """Images of formats that are not read."""
    passed_over: Counter[str] = field(default_factory=Counter)
    """Other files, by the end of their name."""
    excluded: Counter[str] = field(default_factory=Counter)
    """Files that were left out, by the pattern."""
    loops: list[str] = field(default_factory=list)
    """Links that lead back to a folder above them."""
    num_deep: int = 0
    """Images in folders within the folder of a class."""


def walk(
    root: str, folder: str, exclude: Sequence[str], found: Walk, extensions: tuple[str, ...] = EXTENSIONS
) -> list[str]:
    """The images below a folder, at any depth, sorted; links are followed. Files and folders named .* are passed over.

    Args:
        root: the paths are relative to it.
        folder: where to look, relative to the root.
        exclude: patterns of file names or of paths relative to the root; what fits is left out.
        found: what is found is added to it.
        extensions: ends of the names of images.

    Raises:
        OSError: a folder can't be read.
    """
    parents = [root, *(os.path.join(root, one) for one in PurePosixPath(folder).parents if str(one) != ".")]
    images = sorted(_images(root, folder, exclude, found, extensions, tuple(map(_identity, parents))))
    found.images += images
    found.num_deep += sum(image.count("/") > folder.count("/") + 1 for image in images)
    return images


def _images(
    root: str,
    folder: str,
    exclude: Sequence[str],
    found: Walk,
    extensions: tuple[str, ...],
    above: tuple[tuple[int, int], ...],
) -> Iterator[str]:
    here = _identity(os.path.join(root, folder))
    if here in above:
        found.loops.append(folder)
        return
    with os.scandir(os.path.join(root, folder)) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        path, name = f"{folder}/{entry.name}", entry.name.lower()
        pattern = next((one for one in exclude if fnmatch(entry.name, one) or fnmatch(path, one)), None)
        if pattern is not None:
            found.excluded[pattern] += 1
        elif name.startswith("."):
            found.passed_over["names that begin with a dot"] += 1
        elif entry.is_dir(follow_symlinks=False) or (entry.is_symlink() and os.path.isdir(entry.path)):
            yield from _images(root, path, exclude, found, extensions, (*above, here))
        elif name.endswith(extensions):
            yield path
        elif name.endswith(OTHER_IMAGES):
            found.unread.append(path)
        else:
            found.passed_over[PurePosixPath(name).suffix or "no extension"] += 1


def _identity(folder: str) -> tuple[int, int]:
    state = os.stat(folder)
    return state.st_dev, state.st_ino


def suspected_masks(images: Sequence[str]) -> list[str]:
    """Files that look as if they go with an image: masks and the like, by their names.

    They are called masks, or like another image with an addition that many of the images have.

    >>> suspected_masks(["a/0.png", "a/0_mask.png", "a/1.png", "a/1_mask.png", "a/masks/2.png"])
    ['a/0_mask.png', 'a/1_mask.png', 'a/masks/2.png']
    >>> suspected_masks(["a/0.png", "a/0_depth.png", "a/1.png", "a/1_depth.png"])
    ['a/0_depth.png', 'a/1_depth.png']
    >>> suspected_masks(["a/cat_1.png", "a/cat_2.png", "a/cat.png"])
    []
    """
    stems = {image.rpartition(".")[0] for image in images}
    additions: dict[str, list[str]] = {}
    masks = []
    for image in images:
        stem = image.rpartition(".")[0]
        folders, _, name = stem.rpartition("/")
        parts = folders.lower().split("/")
        of_masks = not MASK_WORDS.isdisjoint(parts)
        if of_masks or (_has_mask_word(name) and not any(map(_has_mask_word, parts))):
            masks.append(image)  # a class may be called "with mask", and its files too
            continue
        for place in range(1, len(name)):
            if name[place] in SEPARATORS and f"{folders}/{name[:place]}" in stems:
                additions.setdefault(name[place:], []).append(image)
                break
    many = max(2, COMPANION_SHARE * len(images))
    for addition, companions in additions.items():
        if len(companions) >= many and any(letter.isalpha() for letter in addition):
            masks += companions
    return sorted(masks)


def _has_mask_word(name: str) -> bool:
    words = name.lower()
    for separator in SEPARATORS:
        words = words.replace(separator, " ")
    return not MASK_WORDS.isdisjoint(words.split())
