"""Images of a batch come out as an index gives them, whatever their memory format."""

from __future__ import annotations

import pytest
import torch

from transferscope.train.step import _taken


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_rows_of_an_index_in_the_same_memory_format(
    memory_format: torch.memory_format, dtype: torch.dtype
) -> None:
    images = torch.arange(7 * 3 * 5 * 4).reshape(7, 3, 5, 4).to(dtype).contiguous(memory_format=memory_format)
    rows = torch.tensor([6, 0, 3, 3])
    found = _taken(images, rows)
    assert torch.equal(found, images[rows])
    assert found.is_contiguous(memory_format=memory_format)
    assert found.data_ptr() != images.data_ptr()
