"""What every data set must do; a new one joins by being there.

One that is not drawn by the project is given something small to read in `WRITERS`.
"""

from __future__ import annotations

import gzip
import hashlib
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from transferscope.core import datasets as base
from transferscope.core.datasets import PACKAGE, ImageData, ImageSplit, dataset_module
from transferscope.core.errors import BadInput
from transferscope.core.options import DatasetOptions, FileOptions, plugin_names

NAMES = plugin_names(PACKAGE)
SMALL = {"train_size": 80, "test_size": 60}


def write_folder(folder: Path) -> dict[str, object]:
    """Three classes of noise, of several sizes and formats, of which more than are asked for."""
    rng = np.random.Generator(np.random.PCG64(0))
    for split in ("train", "test"):
        for name in ("cat", "dog", "emu"):
            for number, suffix in enumerate(("png", "jpg", "webp", "bmp", "jpeg", "PNG")):
                shape = (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3)
                path = folder / split / name / f"{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return {"root": folder, "image_size_px": 16, "max_train_size": 12, "max_test_size": 7}


def write_imagenet(folder: Path) -> dict[str, object]:
    """Three classes in the official layout."""
    rng = np.random.Generator(np.random.PCG64(0))
    for split, count in (("train", 6), ("val", 3)):
        for wnid in ("n01440764", "n01443537", "n01484850"):
            for number in range(count):
                shape = (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3)
                path = folder / split / wnid / f"{wnid}_{number}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return {"root": folder, "image_size_px": 16, "max_train_size": 12}


def write_arrays(folder: Path) -> dict[str, object]:
    rng = np.random.Generator(np.random.PCG64(0))
    np.savez(
        folder / "images.npz",
        train_images=rng.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8),
        train_labels=np.arange(20) % 4,
        test_images=rng.integers(0, 256, (10, 16, 16, 3), dtype=np.uint8),
        test_labels=np.arange(10) % 4,
    )
    return {"path": folder / "images.npz"}


def write_domainnet(folder: Path) -> dict[str, object]:
    """Three classes of one domain in the official layout."""
    rng = np.random.Generator(np.random.PCG64(0))
    for split, count in (("train", 8), ("test", 5)):
        lines = []
        for label, name in enumerate(("aircraft_carrier", "airplane", "alarm_clock")):
            for number in range(count):
                path = f"sketch/{name}/sketch_{label:03d}_{split}{number:06d}.jpg"
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                size = (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3)
                Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / path)
                lines.append(f"{path} {label}\n")
        (folder / f"sketch_{split}.txt").write_text("".join(lines))
    return {"root": folder, "domain": "sketch", "image_size_px": 16, "max_train_size": 20}


CHEXPERT_HEADER = (
    "Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,Lung Opacity,"
    "Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,Pleural Effusion,Pleural Other,"
    "Fracture,Support Devices"
)


def write_chexpert(folder: Path) -> dict[str, object]:
    """30 patients with two images each, and a valid.csv, with all kinds of values."""
    rng = np.random.Generator(np.random.PCG64(0))
    root = folder / "CheXpert-v1.0-small"
    for name, patients in (("train", range(30)), ("valid", range(100, 110))):
        lines = [CHEXPERT_HEADER]
        for patient in patients:
            for number, view in enumerate(("Frontal", "Lateral"), start=1):
                path = f"{name}/patient{patient:05d}/study1/view{number}_{view.lower()}.jpg"
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                size = (int(rng.integers(20, 60)), int(rng.integers(20, 60)))
                Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(root / path)
                values = ",".join(rng.choice(["1.0", "0.0", "-1.0", ""], size=14).tolist())
                lines.append(f"CheXpert-v1.0-small/{path},Female,60,{view},,{values}")
        (root / f"{name}.csv").write_text("\n".join(lines) + "\n")
    # An image that is listed twice is twice in the data, on purpose: not here, where that is a mistake.
    return {"root": root, "image_size_px": 16, "train_size": 30, "test_size": 24, "repeat_rare": 0}


def write_fashion_mnist(folder: Path) -> dict[str, object]:
    rng = np.random.Generator(np.random.PCG64(0))
    for name, count in (("train", 120), ("t10k", 90)):
        shape = struct.pack(">III", count, 28, 28)
        pixels = rng.integers(0, 256, count * 28 * 28, dtype=np.uint8).tobytes()
        (folder / f"{name}-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3)) + shape + pixels)
        labels = (np.arange(count) % 10).astype(np.uint8).tobytes()
        content = bytes((0, 0, 8, 1)) + struct.pack(">I", count) + labels
        (folder / f"{name}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(content))
    return {"root": folder, **SMALL}


def write_huggingface(folder: Path) -> dict[str, object]:
    """A folder of Parquet files, one a split, as the library writes them."""
    datasets = pytest.importorskip("datasets", reason="the extra `huggingface` is not installed")
    datasets.disable_progress_bars()
    rng = np.random.Generator(np.random.PCG64(0))
    types = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog", "emu"])}
    )
    (folder / "data").mkdir()
    for split, count in (("train", 14), ("test", 9)):
        shapes = [(int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3) for _ in range(count)]
        images = [Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)) for shape in shapes]
        rows = {"image": images, "label": [number % 3 for number in range(count)]}
        one = datasets.Dataset.from_dict(rows, features=types)
        one.to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))
    return {"name": str(folder), "image_size_px": 16, "max_train_size": 12, "max_test_size": 8}


def write_archive(folder: Path) -> dict[str, object]:
    """A zip file with folders of classes."""
    write_folder(folder / "images")
    with zipfile.ZipFile(folder / "images.zip", "w") as opened:
        for path in sorted((folder / "images").rglob("*.*")):
            opened.write(path, path.relative_to(folder))
    return {"path": str(folder / "images.zip"), "image_size_px": 16, "max_train_size": 12, "max_test_size": 7}


def write_table(folder: Path) -> dict[str, object]:
    """A table with several labels an image, of which more than are asked for, and patients."""
    rng = np.random.Generator(np.random.PCG64(0))
    lines = ["file,edema,effusion,patient_id"]
    for number in range(24):
        shape = (int(rng.integers(20, 60)), int(rng.integers(20, 60)), 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{number % 2},{number // 2 % 2},{number // 2}")
    (folder / "labels.csv").write_text("\n".join(lines))
    return {
        "path": folder / "labels.csv",
        "label_columns": ["edema", "effusion"],
        "test_share": 0.4,
        "image_size_px": 16,
        "max_train_size": 12,
        "max_test_size": 8,
    }


MODULE = """
import numpy as np

class Noise:
    classes = ["cat", "dog", "emu"]

    def __init__(self, count, seed):
        self.images = np.random.Generator(np.random.PCG64(seed)).integers(0, 256, (count, 20, 16, 3), dtype=np.uint8)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        return self.images[number], number % 3

def noise(split):
    return Noise(14, 0) if split == "train" else Noise(9, 1)
"""


def write_python(folder: Path) -> dict[str, object]:
    (folder / "noise_images.py").write_text(MODULE)
    return {
        "factory": "noise_images:noise",
        "folder": folder,
        "image_size_px": 16,
        "max_train_size": 12,
        "max_test_size": 8,
    }


WRITERS: dict[str, Callable[[Path], dict[str, object]]] = {
    "imagefolder": write_folder,
    "imagenet": write_imagenet,
    "arrays": write_arrays,
    "domainnet": write_domainnet,
    "chexpert": write_chexpert,
    "fashion_mnist": write_fashion_mnist,
    "huggingface": write_huggingface,
    "python": write_python,
    "table": write_table,
    "archive": write_archive,
}


@pytest.fixture(scope="module", params=NAMES)
def options(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DatasetOptions:
    writer = WRITERS.get(request.param)
    small = SMALL if writer is None else writer(tmp_path_factory.mktemp(request.param))
    return dataset_module(request.param).Options(**small)


@pytest.fixture(scope="module")
def data(options: DatasetOptions) -> ImageData:
    return base.load(options)


def contents(split: ImageSplit) -> set[bytes]:
    return {image.numpy().tobytes() for image in split.images}


def test_load_gives_what_describe_says(options: DatasetOptions, data: ImageData) -> None:
    described = base.describe(options)
    size = described.image_size_px
    for split in (data.train, data.test):
        assert split.images.dtype == torch.uint8
        assert split.images.shape == (len(split), described.channels, size, size)
        assert split.images.is_contiguous()
        if described.multi_label:
            assert split.labels.dtype == torch.float32
            assert split.labels.shape == (len(split), described.num_classes)
            assert set(split.labels.unique().tolist()) <= {0.0, 1.0}
        else:
            assert split.labels.dtype == torch.int64
            assert split.labels.shape == (len(split),)
            assert 0 <= split.labels.min() <= split.labels.max() < described.num_classes
    assert len(set(described.class_names)) == described.num_classes


def test_every_class_is_in_train(options: DatasetOptions, data: ImageData) -> None:
    described = base.describe(options)
    if described.multi_label:
        share = data.train.labels.mean(dim=0)
        assert ((share > 0) & (share < 1)).all()
    else:
        assert set(data.train.labels.tolist()) == set(range(described.num_classes))


def test_splits_come_in_random_order(data: ImageData) -> None:
    """Analyses take the first images of a split for all of them: classes must not come one after the other."""
    for split in (data.train, data.test):
        labels = split.labels.tolist()
        assert labels not in (sorted(labels), sorted(labels, reverse=True))


def test_ids_are_unique(data: ImageData) -> None:
    ids = data.train.ids + data.test.ids
    assert len(set(ids)) == len(ids)


def test_no_image_twice(data: ImageData) -> None:
    train, test = contents(data.train), contents(data.test)
    assert len(train) == len(data.train)
    assert len(test) == len(data.test)
    assert not train & test


def test_images_are_not_flat(data: ImageData) -> None:
    assert (data.train.images.float().flatten(1).std(dim=1) > 2).all()


def test_a_second_load_is_the_same_to_the_bit(options: DatasetOptions, data: ImageData) -> None:
    again = base.load(options)
    for first, second in ((data.train, again.train), (data.test, again.test)):
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.labels, second.labels)
        assert first.ids == second.ids


def test_another_seed_gives_other_images(options: DatasetOptions, data: ImageData) -> None:
    if "seed" not in type(options).model_fields:
        pytest.skip("the user's own images are not drawn from a seed")
    other = base.load(options.model_copy(update={"seed": 1}))
    assert not torch.equal(data.train.images, other.train.images)
    assert not torch.equal(data.test.images, other.test.images)


def test_options_are_frozen_and_strict(options: DatasetOptions) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        options.dataset = "other"
    with pytest.raises(ValidationError, match="Extra inputs"):
        type(options).model_validate({**options.model_dump(), "trian_size": 3})
    with pytest.raises(ValidationError):
        type(options).model_validate({**options.model_dump(), "dataset": "other"})
    assert type(options).model_validate_json(options.model_dump_json()) == options


def test_every_option_is_described(options: DatasetOptions) -> None:
    undescribed = [name for name, field in type(options).model_fields.items() if not field.description]
    assert undescribed == []
    assert isinstance(dataset_module(options.dataset).VERSION, int)


def test_describe_needs_no_torch(tmp_path: Path) -> None:
    """The planner describes data sets; loading torch for it would take seconds."""
    fields = {}
    for name in NAMES:
        if name == "huggingface":
            continue  # the library that it is for brings its own
        (tmp_path / name).mkdir()
        written = WRITERS[name](tmp_path / name) if name in WRITERS else {}
        fields[name] = {key: str(one) if isinstance(one, Path) else one for key, one in written.items()}
    code = (
        "import sys\n"
        "from transferscope.core.datasets import dataset_module, describe\n"
        f"for name, options in {fields!r}.items():\n"
        "    describe(dataset_module(name).Options(**options))\n"
        "heavy = {'torch', 'PIL', 'matplotlib', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_docs_list_every_option(name: str) -> None:
    """docs/data.md has a row for each data set that reads files, with all of its own options."""
    options = dataset_module(name).Options
    if not issubclass(options, FileOptions):
        pytest.skip("its images are drawn, or it has the options of drawn images")
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    section = text.partition("## Options of data sets that read files")[2]
    row = next(line for line in section.splitlines() if line.startswith("|") and f"`{name}`" in line)
    listed = {word.strip() for word in row.split("|")[2].split(",")}
    without_effect = (
        {"missing_labels"} if name == "huggingface" else set()
    )  # its lists of labels have no gaps
    own = set(options.model_fields) - set(FileOptions.model_fields) - {"dataset"}
    assert listed == own - without_effect


def test_another_process_draws_the_same_to_the_bit() -> None:
    module = dataset_module("rendered_digits")
    code = (
        "import hashlib, torch\n"
        "torch.set_num_threads(1)\n"
        "from transferscope.data.sets import rendered_digits as module\n"
        f"data = module.load(module.Options(**{SMALL}))\n"
        "print(hashlib.sha256(data.test.images.numpy().tobytes()).hexdigest())\n"
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    here = hashlib.sha256(module.load(module.Options(**SMALL)).test.images.numpy().tobytes()).hexdigest()
    torch.set_num_threads(threads)
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_the_two_sets_of_digits_have_the_same_classes() -> None:
    modules = [dataset_module(name) for name in ("rendered_digits", "handwritten_digits")]
    rendered, handwritten = (module.describe(module.Options()).class_names for module in modules)
    assert rendered == handwritten


def test_handwritten_digits_are_stratified_rows_of_the_original() -> None:
    from sklearn.datasets import load_digits

    module = dataset_module("handwritten_digits")
    data = module.load(module.Options(train_size=600, test_size=1000))
    _, original = load_digits(return_X_y=True)
    for split in (data.train, data.test):
        assert split.labels.tolist() == original[[int(row) for row in split.ids]].tolist()
        expected = np.bincount(original) / len(original) * len(split)
        assert (np.abs(np.bincount(split.labels) - expected) < 2).all()


def test_more_handwritten_digits_than_there_are_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"there are 1797\. Lower one of them by 203"):
        dataset_module("handwritten_digits").Options(train_size=1000, test_size=1000)


def test_prevalences_of_the_findings() -> None:
    module = dataset_module("radiographs")
    labels = module.load(module.Options(train_size=1000, test_size=50, image_size_px=16)).train.labels
    assert torch.allclose(labels.mean(dim=0), torch.tensor(module.PREVALENCES), atol=0.05)
    correlation = torch.corrcoef(labels.T)
    assert correlation[0, 1] > 0.1  # Cardiomegaly and Edema share a cause
    assert (labels.sum(dim=1) > 1).any()


@pytest.mark.parametrize(
    "name", ["letters", "rendered_digits", "symbols", "radiographs", "handwritten_digits"]
)
def test_other_image_sizes(name: str) -> None:
    module = dataset_module(name)
    data = module.load(module.Options(train_size=50, test_size=50, image_size_px=19))
    assert data.train.images.shape == (50, 3, 19, 19)


def test_an_unknown_data_set_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'letters'"):
        base.describe(DatasetOptions(dataset="leters"))
