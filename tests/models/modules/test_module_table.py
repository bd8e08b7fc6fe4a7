"""The table of a network's modules."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

import transferscope as ts
from transferscope.core.errors import BadInput
from transferscope.metrics.evaluation import passes
from transferscope.models.modules import table as module_table


class Tokens(nn.Module):
    """A transformer with the tokens first, whose block is called twice, and an auxiliary classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16, 0.0)])
        self.head, self.aux = nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patch(x).flatten(2).permute(2, 0, 1)
        for block in (*self.blocks, *self.blocks):
            tokens = block(tokens)
        return self.head(tokens.mean(0))


@pytest.mark.parametrize("num_samples", [1, 2, 16])
def test_each_module_has_a_row(num_samples: int) -> None:
    table = ts.modules(Tokens(), torch.randn(num_samples, 3, 16, 16))
    columns = ["module", "prefixes", "order", "calls", "output_shape", "batch_axis", "is_head"]
    assert table.select(columns).rows() == [
        ("stem", ["patch"], 0, 1, [-1, 8, 4, 4], 0, False),
        ("blocks.0", ["blocks.0"], 1, 2, [16, -1, 8], 1, False),
        ("head", ["head"], 2, 1, [-1, 5], 0, True),
        ("aux", ["aux"], None, 0, None, None, False),
    ]
    assert table["num_parameters"].to_list() == [8 * 49, 600, 45, 45]
    assert table["note"].to_list() == [
        "",
        "called 2 times: its output is that of the last call; the batch is not the first axis",
        "",
        "not called in evaluation mode; in no module",
    ]


def test_prefixes_are_what_the_other_functions_take() -> None:
    a, b = Tokens(), Tokens()
    table = ts.modules(a, torch.randn(2, 3, 16, 16))
    modules = dict(table.select("module", "prefixes").iter_rows())
    distances = ts.l2_distance(a, b, by_module=True, modules=modules)
    assert distances["num_parameters"].to_list() == table["num_parameters"].to_list()


def test_the_users_own_names_and_stages() -> None:
    image = torch.randn(1, 3, 16, 16)
    named = ts.modules(Tokens(), image, choice={"below": ["patch", "blocks"]})
    assert named["module"].to_list() == ["below", "head", "aux"]
    assert ts.modules(Tokens(), image, choice="stages")["module"].to_list() == [
        "stem",
        "blocks.0",
        "head",
        "aux",
    ]


@pytest.mark.parametrize("module", [module_table, passes])
def test_the_examples_of_the_docstrings(module: ModuleType) -> None:
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="is a network"):
        ts.modules({}, torch.zeros(2, 3))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"an example batch, a tensor \(n, ...\) with n >= 1, got \(0, 3\)"):
        ts.modules(nn.Linear(3, 2), torch.zeros(0, 3))
