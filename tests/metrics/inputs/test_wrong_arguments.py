"""What a public function says of an argument of another kind than it takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import transferscope as ts
from transferscope.core.errors import BadInput

INPUTS, LABELS = torch.rand(16, 4, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 2
NET = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
STATE = NET.state_dict()
ALPHAS = [0.0, 1.0]
IMAGES = INPUTS.repeat(1, 12).reshape(16, 3, 4, 4)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch.jit is deprecated, and users have its files
    SCRIPTED = torch.jit.script(NET)
EXPORTED = torch.fx.symbolic_trace(NET)
EXPORTED.eval = lambda: None  # as torch.export does, which takes seconds  # pyright: ignore


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ts.cka([NET, NET], INPUTS), "Expected networks by name, .* got a list"),
        (lambda: ts.cka({"a": NET, "b": STATE}, INPUTS), "Model 'b' is a OrderedDict, not a torch.nn.Module"),
        (lambda: ts.cka({"a": NET, "b": NET}, INPUTS.numpy()), r"batch with ndarray.* torch.from_numpy"),
        (lambda: ts.cka({"a": NET, "b": NET}, INPUTS.tolist()), "batch with float"),
        (
            lambda: ts.cka({"a": NET, "b": NET}, list(IMAGES)),
            r"look like single samples, .*\(3, 4, 4\).*stack",
        ),
        (lambda: ts.cka({"a": NET, "b": NET}, list(zip(IMAGES, LABELS, strict=True))), "like single samples"),
        (
            lambda: ts.cka({"a": NET, "b": NET}, list(zip(INPUTS, LABELS.tolist(), strict=True))),
            "single samples",
        ),
        (lambda: ts.cka({"a": NET, "b": NET}, list(INPUTS)), r"single samples, of the shape \(4,\)"),
        (
            lambda: ts.cka({"a": NET, "b": NET}, DataLoader(TensorDataset(INPUTS), batch_size=None)),
            "batch_size=None, which gives single samples",
        ),
        (
            lambda: ts.cka({"a": NET, "b": NET}, iter([INPUTS, INPUTS[:, :3]])),
            r"one shape and dtype, got samples of \(3,\) in torch.float32 and \(4,\) in .*Pad or resize",
        ),
        (lambda: ts.linear_cka(list(INPUTS), INPUTS), r"'x' is a list.*torch.stack\(x\)"),
        (lambda: ts.linear_cka(INPUTS, [INPUTS[:9], INPUTS[9:]]), r"'y' is a list.*torch.cat\(y\)"),
        (lambda: ts.modules(SCRIPTED, INPUTS), "TorchScript program .*Give the network in Python"),
        (
            lambda: ts.modules(nn.Sequential(SCRIPTED, nn.Linear(2, 2)), INPUTS),
            r"TorchScript program \(layer '0' of the network",
        ),
        (
            lambda: ts.cka(
                {"a": NET, "b": nn.Sequential(NET, SCRIPTED)}, INPUTS, layers={"a": "0", "b": "1.0"}
            ),
            r"TorchScript program \(layer '1\.0' of model 'b'",
        ),
        (lambda: ts.modules(EXPORTED, INPUTS), "program of torch.export.*Give the network in Python"),
        (lambda: ts.cka({"a": EXPORTED, "b": NET}, INPUTS), "program of torch.export"),
        (lambda: ts.rewind(EXPORTED, STATE, STATE, (INPUTS, LABELS)), "program of torch.export"),
        (lambda: ts.l2_distance(Path("a.pt"), NET), r"got a \w*Path\. Read a file first: .*load_file"),
        (
            lambda: ts.interpolate(NET, "a.pt", STATE, (INPUTS, LABELS), alphas=ALPHAS),
            "got a str. Read a file",
        ),
        (lambda: ts.interpolate(NET, STATE, STATE, INPUTS, alphas=ALPHAS), "two tensors, got a Tensor"),
        (lambda: ts.rewind(NET, STATE, STATE, [(INPUTS, LABELS)]), "two tensors, got list of tuple"),
        (
            lambda: ts.rewind(NET, STATE, STATE, (INPUTS, LABELS.tolist())),
            "two tensors, got tuple of Tensor, list",
        ),
        (lambda: ts.rewind(NET, STATE, STATE, None), "two tensors, got a NoneType"),
        (lambda: ts.mistakes([LABELS, LABELS], LABELS), "by the name of a model, got a list"),
        (
            lambda: ts.mistakes({"a": [1], "b": np.ones(1)}, LABELS),
            "'a' is a list.*\n'b' is a ndarray, not a tensor",
        ),
        (lambda: ts.block_shuffle(np.zeros((1, 4, 4)), 2, seed=0), "must be a tensor, got a ndarray"),
        (lambda: ts.pixel_channel_shuffle([[1]], seed=0), "must be a tensor, got a list"),
        (lambda: ts.block_shuffle(torch.zeros(1, 4, 4), 2.0, seed=0), r"blocks of 2\.0 px .* Valid: 1, 2, 4"),
    ],
)
def test_it_is_said_what_was_expected_and_what_came(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        call()
