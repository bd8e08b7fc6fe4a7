"""What every data set must do; a new one joins by being there (its small options, if any, in `SMALL`)."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from transferscope.data import base
from transferscope.data.base import PACKAGE, ImageData, ImageSplit, dataset_module
from transferscope.errors import BadInput
from transferscope.options import DatasetOptions, plugin_names

NAMES = plugin_names(PACKAGE)
SMALL = {"train_size": 80, "test_size": 60}


@pytest.fixture(scope="module", params=NAMES)
def options(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DatasetOptions:
    return dataset_module(request.param).Options(**SMALL)


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


def test_an_unknown_data_set_is_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="Did you mean 'letters'"):
        base.describe(DatasetOptions(dataset="leters"))
