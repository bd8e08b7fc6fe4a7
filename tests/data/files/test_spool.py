"""Images that are larger than memory may hold: in mapped files, and the same to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import tiny
import torch
from PIL import Image

from transferscope.core.datasets import Description, ImageData, ImageSplit, load
from transferscope.core.options import Normalization
from transferscope.core.runs import UNSHUFFLED, View
from transferscope.data.files import spool
from transferscope.data.sets.imagefolder import Options
from transferscope.execute.store.artifacts import StoredCellData, read_data, write_data
from transferscope.train.held_out import hold_out

VIEWS = [
    UNSHUFFLED,
    View(kind="blocks", block_size_px=2, seed=1),
    View(kind="pixels_and_channels", seed=1),
]


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Everything is too large for memory, and worked on in pieces of a few images; the shapes that were spooled."""
    made: list[tuple[int, ...]] = []
    original = np.memmap

    class Watched(original):  # type: ignore[misc, valid-type]
        def __new__(cls, *arguments: Any, **options: Any) -> Any:
            made.append(options["shape"])
            return super().__new__(cls, *arguments, **options)

    monkeypatch.setattr(spool, "limit_bytes", lambda: 0)
    monkeypatch.setattr(spool, "PIECE_BYTES", 2000)
    monkeypatch.setattr(np, "memmap", Watched)
    return made


def split(n: int, channels: int = 3) -> ImageSplit:
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(256, (n, channels, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSplit(images=images, labels=torch.arange(n) % 2, ids=tuple(f"{n}/{i}" for i in range(n)))


def seen(folder: Path, channels: int, view: View, how: Normalization) -> list[torch.Tensor]:
    """What a training and a measurement get to see of stored data."""
    data = read_data(folder, view)
    parts = hold_out(data.train, 0.25)
    cell = StoredCellData(folder, view, how, torch.device("cpu"), 0.25)
    return [*(part.images for part in parts), data.test.images, cell.train.inputs, cell.test.inputs]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("how", ["per_image", "unit"])
def test_what_is_seen_is_the_same_to_the_bit(
    channels: int, view: View, how: Normalization, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    about = Description(class_names=("a", "b"), image_size_px=8, channels=channels)
    write_data(tmp_path, ImageData(train=split(61, channels), test=split(17, channels)), about)
    expected = seen(tmp_path, channels, view, how)
    spooled = request.getfixturevalue("large")
    found = seen(tmp_path, channels, view, how)
    assert len(spooled) >= 4
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride(), "the same kernels are chosen"


def test_nothing_of_a_large_array_is_in_memory_or_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 MiB are written to disk and read through maps, and what the process owns doesn't grow by a third of it."""
    if not Path("/proc/self/status").exists():
        pytest.skip("memory is told apart on Linux only")
    monkeypatch.setattr(spool, "limit_bytes", lambda: 2**20)
    monkeypatch.setattr(spool, "PIECE_BYTES", 2**20)
    data = tmp_path / "data"
    data.mkdir()
    before = own_bytes()
    with spool.spooling_in(tmp_path / "spool"):
        train = ImageSplit(
            images=torch.from_numpy(spool.new_array((4096, 3, 64, 64))),
            labels=torch.arange(4096) % 2,
            ids=tuple(map(str, range(4096))),
        )
        train.images.fill_(7)
        train.images[:, 0, 0, 0], train.images[:, 0, 0, 1] = train.labels, torch.arange(4096) // 16
        train.images[:, 0, 0, 2] = torch.arange(4096) % 16
        write_data(
            data, ImageData(train=train, test=split(4)), Description(class_names=("a", "b"), image_size_px=64)
        )
        shuffled = read_data(data, View(kind="blocks", block_size_px=4, seed=0)).train
        parts = hold_out(shuffled, 0.25)
        # NumPy's sum, as PyTorch's makes eight times as many bytes of it first
        assert sum(map(total, parts)) == total(train)
        assert own_bytes() - before < 16 * 2**20
        assert list((tmp_path / "spool").iterdir()) == [], "the files have no names"


def total(split: ImageSplit) -> int:
    return int(split.images.numpy().sum(dtype=np.int64))


def own_bytes() -> int:
    """Memory of this process that no file stands behind."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in line)
    return 1024 * int(line.split()[1])


@pytest.mark.parametrize("num_bad", [0, 1, 9])
def test_files_are_decoded_into_a_map(num_bad: int, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Also where some, or most of them, can't be decoded and the rest moves together."""
    number = itertools.count()
    for part, kind in itertools.product(("train", "test"), ("cats", "dogs")):
        (tmp_path / part / kind).mkdir(parents=True)
        for name in range(6):
            noise = np.random.Generator(np.random.PCG64(next(number))).integers(
                0, 256, (9, 9, 3), dtype=np.uint8
            )
            Image.fromarray(noise).save(tmp_path / part / kind / f"{name}.png")
    bad = [path for path in sorted(tmp_path.glob("train/*/*.png")) if path.stem != "0"][:num_bad]
    for path in bad:
        path.write_bytes(b"no image")
    options = Options(root=tmp_path, image_size_px=8, on_bad="skip")
    expected = load(options)
    spooled = request.getfixturevalue("large")
    found = load(options)
    assert spooled == [(12, 3, 8, 8)] * 2
    for one, other in ((found.train, expected.train), (found.test, expected.test)):
        assert torch.equal(one.images, other.images)
        assert one.ids == other.ids
    assert len(found.train) == 12 - num_bad


def test_a_study_gives_the_same_tables(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    study = tiny.searching("feature_reuse", "feature_similarity", "learning_rates")
    study["seeds"] = [0, 1]
    study["targets"] = {"scans": study["targets"]["scans"]}
    file = tiny.write(tmp_path / "study.yaml", study)
    tables: list[dict[str, pl.DataFrame]] = []
    for name in ("small", "large"):
        if name == "large":
            request.getfixturevalue("large")
        assert tiny.run(file, tmp_path / name).exit_code == 0
        tables.append(
            {
                path.stem: pl.read_parquet(path)
                for path in sorted((tmp_path / name / "tables").glob("*.parquet"))
            }
        )
    assert tables[0].keys() == tables[1].keys()
    for name, table in tables[0].items():
        assert table.equals(tables[1][name]), name


def test_the_limit_is_a_part_of_the_memory_or_of_the_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: Callable[[], int] = spool.limit_bytes.__wrapped__
    monkeypatch.setattr(spool, "CGROUP_LIMITS", (tmp_path / "none", tmp_path / "memory.max"))
    whole = counted()
    assert whole > 2**26
    (tmp_path / "memory.max").write_text("max\n")
    assert counted() == whole
    (tmp_path / "memory.max").write_text("1600\n")
    assert counted() == 100
