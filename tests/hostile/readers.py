"""What reads a file of others, each as the commands call it, by name; the children of `children` run these."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from transferscope.core.datasets import describe, forget_descriptions, load
from transferscope.core.errors import BadInput
from transferscope.data.drawn.chest_film import radiograph_decoder
from transferscope.data.files import array_file, idx_file
from transferscope.data.files.decode import Failure, SquareDecoder, decode_into
from transferscope.data.sets import arrays, chexpert, domainnet, fashion_mnist, imagefolder
from transferscope.models.build import build, modules_of
from transferscope.models.networks.fixup_resnet import FixupResNetOptions
from transferscope.models.weights.files import read_state_dict
from transferscope.models.weights.given import match_state
from transferscope.study.file import load_study
from transferscope.study.plan import plan

SIZE_PX = 16
NETWORK = FixupResNetOptions(depths=(1, 1), widths=(4, 4))
_MODEL = build(NETWORK, 10, 3, SIZE_PX)
_HEAD = modules_of(NETWORK, _MODEL, 10)["head"].prefixes


def study(path: Path) -> Any:
    """A study file, with everything that is checked before a task runs."""
    return plan(load_study(path))


def checkpoint(path: Path) -> Any:
    """A checkpoint, matched with a network."""
    return match_state(read_state_dict(path), _MODEL, _HEAD, None, str(path))


def array_data(path: Path) -> Any:
    """A file of arrays as a data set, and its arrays one by one."""
    for name in array_file.read_headers(path):
        try:
            array_file.read_array(path, name)
        except BadInput:
            continue
    return _described_and_loaded(arrays.Options(path=path))


def idx(path: Path) -> Any:
    """An IDX file."""
    idx_file.read_shape(path)
    return idx_file.read_array(path)


def idx_data(root: Path) -> Any:
    """A folder as Fashion-MNIST is published."""
    return _described_and_loaded(fashion_mnist.Options(root=root, train_size=60, test_size=60))


def image_list(root: Path) -> Any:
    """A folder with the lists of DomainNet."""
    return _described_and_loaded(domainnet.Options(root=root, domain="real", image_size_px=SIZE_PX))


def chest_list(root: Path) -> Any:
    """A folder with the lists of CheXpert."""
    return _described_and_loaded(
        chexpert.Options(root=root, image_size_px=SIZE_PX, train_size=2, test_size=2, repeat_rare=0)
    )


def class_folders(root: Path) -> Any:
    """Images in folders, one a class."""
    return _described_and_loaded(imagefolder.Options(root=root, image_size_px=SIZE_PX))


def image(path: Path) -> Any:
    """An image, under every way to make a square of it."""
    ways: list[Callable[[str], np.ndarray]] = [
        SquareDecoder(SIZE_PX, "crop"),
        SquareDecoder(SIZE_PX, "pad"),
        SquareDecoder(SIZE_PX, "evaluation"),
        radiograph_decoder(SIZE_PX),
    ]
    found = []
    for decode in ways:
        pixels = np.zeros((1, 3, SIZE_PX, SIZE_PX), dtype=np.uint8)
        found += decode_into(pixels, [str(path)], decode)
    reasons = [f"{one.kind}: {one.reason}" for one in found if isinstance(one, Failure)]
    if len(reasons) == len(ways):
        raise BadInput(reasons)
    return found


def _described_and_loaded(options: Any) -> Any:
    forget_descriptions()
    describe(options)
    return load(options)


READERS: dict[str, Callable[[Path], Any]] = {
    reader.__name__: reader
    for reader in (
        study,
        checkpoint,
        array_data,
        idx,
        idx_data,
        image_list,
        chest_list,
        class_folders,
        image,
    )
}
