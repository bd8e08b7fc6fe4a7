"""How results look on disk: read and written here and nowhere else.

data:    train.safetensors, test.safetensors (images, labels), ids.json, about.json
weights: checkpoint-0.safetensors, weights.json (file, modules, which of them look untrained)
train:   about.json (of the data trained on), checkpoint-<epoch>.safetensors, history.parquet, test_logits.safetensors;
         where the recipe keeps the best epoch also checkpoint-best.safetensors and best.json (which epoch, by what);
         of a network of a search of rates about.json and history.parquet alone
measure: <table>.parquet
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import polars as pl
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from transferscope.analyses.contract import Row, Split
from transferscope.core.datasets import Description, ImageData, ImageSplit
from transferscope.core.options import Normalization
from transferscope.core.runs import UNSHUFFLED, GivenRun, Run, View
from transferscope.core.tables import Column
from transferscope.data.files.spool import in_pieces
from transferscope.data.normalize import normalize
from transferscope.data.shuffle import block_shuffle, pixel_channel_shuffle
from transferscope.execute.store.checksums import Folder
from transferscope.models.build import build, modules_of
from transferscope.models.modules.find import Module
from transferscope.models.weights.given import GivenNetwork
from transferscope.train.held_out import hold_out
from transferscope.train.trained import Trained

DTYPES = {"str": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "png": pl.Binary}
SPLITS = ("train", "test")
BEST: Literal["best"] = "best"


def write_data(folder: Path, data: ImageData, about: Description) -> None:
    """Store a decoded data set."""
    write_description(folder, about)
    for name in SPLITS:
        split: ImageSplit = getattr(data, name)
        tensors = {"images": split.images.contiguous(), "labels": split.labels.contiguous()}
        if split.larger is not None:
            tensors["larger"] = split.larger.contiguous()
        save_file(tensors, folder / f"{name}.safetensors")
    ids = {name: list(getattr(data, name).ids) for name in SPLITS}
    (folder / "ids.json").write_text(json.dumps(ids))


def write_description(folder: Path, about: Description) -> None:
    """Store what a data set is, so that nobody has to look at its files again."""
    (folder / "about.json").write_text(json.dumps(asdict(about)))


def read_description(folder: Folder) -> Description:
    """What the data set of a data or train result is."""
    fields = json.loads((folder / "about.json").read_text())
    lists = {name: tuple(fields.get(name, ())) for name in ("class_names", "notes")}
    return Description(**{**fields, **lists})


def read_data(folder: Folder, view: View) -> ImageData:
    """A decoded data set under a view: train and test are shuffled by the same permutation.

    The file is mapped into memory, so that images that nobody looks at are never read; what is shuffled of it lies in
    another such file where it is large.
    """
    ids = json.loads((folder / "ids.json").read_text())
    splits = {}
    for name in SPLITS:
        tensors = load_file(folder / f"{name}.safetensors")
        splits[name] = ImageSplit(
            images=_shown(tensors["images"], view),
            labels=tensors["labels"],
            ids=tuple(ids[name]),
            larger=_larger(tensors, view),
        )
    return ImageData(**splits)


def _larger(tensors: Mapping[str, Tensor], view: View) -> Tensor | None:
    """The larger images with the same blocks at the same places; None where single pixels are shuffled."""
    if "larger" not in tensors or view.kind == "pixels_and_channels":
        return None
    times = tensors["larger"].shape[-1] // tensors["images"].shape[-1]
    size_px = None if view.block_size_px is None else view.block_size_px * times
    return _shown(tensors["larger"], view.model_copy(update={"block_size_px": size_px}))


def _shown(images: Tensor, view: View) -> Tensor:
    return images if view == UNSHUFFLED else in_pieces(images, lambda piece: show(piece, view))


def show(images: Tensor, view: View) -> Tensor:
    """Images (n, c, h, w) as the view shows them."""
    if view.kind == "unshuffled":
        return images
    if view.seed is None:
        raise ValueError(f"a shuffled view needs a seed, got {view!r}")
    if view.kind == "pixels_and_channels":
        return pixel_channel_shuffle(images, seed=view.seed)
    if view.block_size_px is None:
        raise ValueError(f"a view of blocks needs their size, got {view!r}")
    return block_shuffle(images, view.block_size_px, seed=view.seed)


def write_trained(folder: Path, trained: Trained, about: Description, *, best_by: str = "none") -> None:
    """Store a training run and what it was trained on; `best_by` says what its best epoch was chosen by."""
    write_description(folder, about)
    checkpoints: dict[int | str, dict[str, Tensor]] = {**trained.checkpoints}
    logits = {"logits": trained.test_logits}
    if trained.best is not None:
        checkpoints[BEST] = trained.best.state
        logits[BEST] = trained.best.test_logits.clone()  # the file format refuses memory that is shared
        chosen = {"epoch": trained.best.epoch, "by": best_by, "metric": trained.best.metric}
        (folder / "best.json").write_text(json.dumps(chosen))
    for epoch, state in checkpoints.items():
        _write_state(folder, epoch, state)
    trained.history.write_parquet(folder / "history.parquet")
    save_file(logits, folder / "test_logits.safetensors")


def write_search(folder: Path, history: pl.DataFrame, about: Description) -> None:
    """Store what a network of a search of rates is trained for: its history."""
    write_description(folder, about)
    history.write_parquet(folder / "history.parquet")


def read_search(folder: Folder) -> float:
    """The held-out metric of a network of a search at its last epoch; NaN where the training diverged."""
    return pl.read_parquet(folder / "history.parquet")["held_out_metric"][-1]


def write_given(folder: Path, given: GivenNetwork) -> None:
    """Store P as it was given: a checkpoint at epoch 0, and what is known of it."""
    _write_state(folder, 0, given.state)
    about = {
        "file": str(given.file),
        "modules": {name: list(module.prefixes) for name, module in given.modules.items()},
        "untrained": list(given.untrained),
    }
    (folder / "weights.json").write_text(json.dumps(about))


def read_given(folder: Folder) -> dict[str, Any]:
    """What is known of P as it was given: file, modules, and which of them look untrained."""
    return json.loads((folder / "weights.json").read_text())


def _write_state(folder: Path, epoch: int | str, state: Mapping[str, Tensor]) -> None:
    # the file format sorts by name; the order of the network, from stem to head, is a fact to keep
    order = {"order": json.dumps(list(state))}
    stored: dict[str, Tensor] = {}
    places: set[int] = set()
    for name, tensor in state.items():  # the file can't hold tied weights as one
        place = tensor.untyped_storage().data_ptr()
        stored[name] = tensor.clone() if place in places else tensor
        places.add(place)
    save_file(stored, folder / f"checkpoint-{epoch}.safetensors", metadata=order)


def read_state(folder: Folder, epoch: int | Literal["best"]) -> dict[str, Tensor]:
    """The checkpoint of an epoch, in the order of the network."""
    with safe_open(folder / f"checkpoint-{epoch}.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in json.loads(file.metadata()["order"])}


def write_rows(
    folder: Path, tables: Mapping[str, Sequence[Column]], rows: Mapping[str, Sequence[Row]]
) -> None:
    """Store the rows of a cell, one file a table.

    Raises:
        ValueError: other tables or columns than documented.
    """
    if set(rows) != set(tables):
        raise ValueError(f"measure gave the tables {sorted(rows)}, documented are {sorted(tables)}")
    for name, columns in tables.items():
        names = {column.name for column in columns}
        for row in rows[name]:
            if set(row) != names:
                raise ValueError(f"table {name}: a row has {sorted(row)}, documented are {sorted(names)}")
        schema = {column.name: DTYPES[column.dtype] for column in columns}
        pl.DataFrame(list(rows[name]), schema=schema).write_parquet(folder / f"{name}.parquet")


class StoredSubject:
    """One set of weights in the store; read when asked for."""

    def __init__(
        self, folder: Folder, run: Run | GivenRun, epoch: int | Literal["best"], device: torch.device
    ) -> None:
        self._folder, self._run, self._about = folder, run, read_description(folder)
        self._device = device
        self._asked: int | Literal["best"] = epoch

    @cached_property
    def epoch(self) -> int:
        if isinstance(self._asked, int):
            return self._asked
        return json.loads((self._folder / "best.json").read_text())["epoch"]

    @cached_property
    def state(self) -> dict[str, Tensor]:
        return read_state(self._folder, self._asked)

    @cached_property
    def history(self) -> pl.DataFrame:
        return pl.read_parquet(self._folder / "history.parquet")

    @cached_property
    def test_logits(self) -> Tensor:
        name = BEST if self._asked == BEST else "logits"
        return load_file(self._folder / "test_logits.safetensors")[name].to(self._device)

    @cached_property
    def modules(self) -> dict[str, Module]:
        about = self._about
        return modules_of(
            self._run.network, self.model(), about.num_classes, about.channels, about.image_size_px
        )

    def model(self) -> nn.Module:
        about = self._about
        with torch.random.fork_rng(devices=[]):
            model = build(self._run.network, about.num_classes, about.channels, about.image_size_px)
        model.load_state_dict(self.state)
        # the memory format of the training, so that outputs are the same to the bit
        model = model.to(device=self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.eval()


class StoredCellData:
    """The images of a cell, read and normalised when asked for.

    Args:
        folder: of the data.
        view: how they are shown.
        normalization: how pixels become inputs.
        device: where they go.
        held_out: share of the training images that the cell's networks were not trained on: no training images here.
        cluster_of: from the id of an image to what it belongs to, such as a patient; None if the data set doesn't say.
    """

    def __init__(
        self,
        folder: Folder,
        view: View,
        normalization: Normalization,
        device: torch.device,
        held_out: float = 0.0,
        cluster_of: Callable[[str], str] | None = None,
    ) -> None:
        self._folder, self._view, self._held_out = folder, view, held_out
        self._cluster_of = cluster_of
        self._normalization: Normalization = normalization
        self._device = device
        self.description = read_description(folder)

    @cached_property
    def _data(self) -> ImageData:
        return read_data(self._folder, self._view)

    @cached_property
    def train(self) -> Split:
        return self._split(hold_out(self._data.train, self._held_out)[0])

    @cached_property
    def test(self) -> Split:
        return self._split(self._data.test)

    @property
    def test_images_uint8(self) -> Tensor:
        return self._data.test.images

    def _split(self, split: ImageSplit) -> Split:
        return Split(
            inputs=in_pieces(split.images, self._inputs),
            labels=split.labels.to(self._device),
            ids=split.ids,
            clusters=None if self._cluster_of is None else tuple(map(self._cluster_of, split.ids)),
        )

    def _inputs(self, images: Tensor) -> Tensor:
        normalised = normalize(images.to(self._device), self._normalization)
        return normalised.contiguous(memory_format=torch.channels_last)
