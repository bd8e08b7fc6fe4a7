"""Wrong arguments of every public function: BadInput that names them, and never a bare error or a wrong number."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import transferscope as ts
from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.confident_mistakes import confident_mistakes
from transferscope.metrics.agreement.error_consistency import error_consistency
from transferscope.metrics.agreement.mistakes import mistakes_by_difficulty
from transferscope.metrics.criticality.freezing import freezable
from transferscope.metrics.evaluation.repeated_passes import RepeatedPasses
from transferscope.metrics.landscape.averaging import averaged_logits, compared_with_mean, ensemble_logits
from transferscope.metrics.landscape.distance import mean_distance, update_cosine
from transferscope.metrics.landscape.path import path_losses, paths
from transferscope.metrics.landscape.plane import plane
from transferscope.metrics.similarity.mutual_knn import mutual_knn

SOURCE = torch.Generator().manual_seed(0)
X, Y = torch.rand(32, 4, generator=SOURCE), torch.arange(32) % 3
LOGITS = torch.rand(32, 3, generator=SOURCE)
HELD_OUT = torch.arange(32) % 4 == 0
LIST = "is a list of"


def net(seed: int = 0, **options: Any) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 5, **options), nn.Linear(5, 3, **options))


A, B, C = net(0), net(1), net(2)
GUESSES = {"a": Y, "b": (Y + 1) % 3}
IMAGES = torch.rand(2, 3, 4, 4, generator=SOURCE)
PASSES = RepeatedPasses(A, (X, Y))
GRAMS = torch.stack([X @ X.T, LOGITS @ LOGITS.T])

# each function with arguments that it takes
CALLS: dict[str, tuple[Any, dict[str, Any]]] = {
    "averaged_logits": (averaged_logits, {"model": A, "states": [A, B], "inputs": X}),
    "barrier": (ts.barrier, {"curve": pl.DataFrame({"alpha": [0.0, 1], "loss": [1.0, 1], "metric": [1, 1]})}),
    "basin": (ts.basin, {"model": A, "states": [A, B], "data": (X, Y), "delta": 1, "draws": 2, "points": 2}),
    "block_shuffle": (ts.block_shuffle, {"images": IMAGES, "block_size": 2, "seed": 0}),
    "cka": (ts.cka, {"models": {"a": A, "b": B}, "data": X, "permutations": 2}),
    "compared_with_mean": (
        compared_with_mean,
        {"candidates": [LOGITS], "singles": [LOGITS], "labels": Y, "draws": 2},
    ),
    "confident_mistakes": (
        confident_mistakes,
        {"first": [LOGITS], "second": [LOGITS], "labels": Y, "count": 2},
    ),
    "conv_singular_values": (
        ts.conv_singular_values,
        {"weight": torch.ones(1, 1, 3, 3), "input_size": 4},
    ),
    "ensemble_logits": (ensemble_logits, {"logits": [LOGITS, LOGITS], "multi_label": False}),
    "error_consistency": (error_consistency, {"predictions": GUESSES, "labels": Y}),
    "freezable": (freezable, {"train": PASSES, "test": PASSES, "init": B, "final": A, "draws": 2}),
    "h_score": (ts.h_score, {"features": X, "labels": Y}),
    "knn_probe": (ts.knn_probe, {"train": (X, Y), "test": (X, Y), "held_out": HELD_OUT, "neighbours": [1]}),
    "leep": (ts.leep, {"probabilities": LOGITS.softmax(1), "labels": Y}),
    "linear_probe": (ts.linear_probe, {"train": (X, Y), "test": (X, Y), "held_out": HELD_OUT}),
    "log_maximum_evidence": (ts.log_maximum_evidence, {"features": X, "labels": Y}),
    "interpolate": (ts.interpolate, {"model": A, "a": A, "b": B, "data": (X, Y), "alphas": [0, 1]}),
    "l2_distance": (ts.l2_distance, {"a": A, "b": B}),
    "linear_cka": (ts.linear_cka, {"x": X, "y": LOGITS}),
    "mean_distance": (mean_distance, {"states": [A, B]}),
    "mistakes": (ts.mistakes, {"predictions": GUESSES, "labels": Y, "bootstrap": 2}),
    "mistakes_by_difficulty": (mistakes_by_difficulty, {"predictions": GUESSES, "labels": Y}),
    "module_criticality": (
        ts.module_criticality,
        {"model": A, "init": B, "final": A, "data": (X, Y), "alphas": [0, 1], "sigmas": [0.1], "draws": 1},
    ),
    "mutual_knn": (mutual_knn, {"grams": GRAMS, "k": 3}),
    "path_losses": (path_losses, {"model": A, "a": A, "b": B, "data": (X, Y), "alphas": [0, 1]}),
    "paths": (paths, {"model": A, "states": {"a": A, "b": B}, "data": (X, Y), "alphas": [0, 1]}),
    "pixel_channel_shuffle": (ts.pixel_channel_shuffle, {"images": IMAGES, "seed": 0}),
    "plane": (plane, {"model": A, "anchors": [A, B, C], "data": (X, Y), "size": 2}),
    "rewind": (ts.rewind, {"model": A, "init": B, "final": A, "data": (X, Y), "draws": 2}),
    "update_cosine": (update_cosine, {"a": A, "a_init": B, "b": C, "b_init": B}),
}

UNLABELLED = torch.where(torch.arange(32) < 5, -100, Y)
META = net(device="meta")
WRONG_STATES = ["a.pt", None, META, nn.LazyLinear(3), {"accuracy": 0.5}, [A]]
WRONG_MODELS = [A.state_dict(), None, META, nn.Sequential(nn.LazyLinear(3)), "resnet18"]
WRONG_DATA = [
    X,
    None,
    TensorDataset(X, Y),
    [(X, Y)],
    (X.numpy(), Y),
    (X, UNLABELLED),
    (X, Y[:9]),
    (X, X.long() - 1),
]
WRONG_DATA += [
    (X, LOGITS - 9),
    (X.double(), Y),
    (X.to("meta"), Y),
    (X.to_sparse(), Y),
    (X[:16], X[16:]),
    (X, Y[0]),
]
WRONG_NUMBERS = [1.5, 16.0, "2", None, -1, True, [3], torch.tensor([1, 2])]
WRONG_GENERATORS = [0, np.random.default_rng(0)]
WRONG_GRIDS = [0.5, "0.5", None, [None], [[0.0, 1.0]], torch.zeros(2, 2), {"a": 1}, [float("nan")], ["x"], []]
WRONG_LISTS_OF_STATES = [A, A.state_dict(), {"a": A, "b": B}, "ab", None, [A], [A, None], [A, META]]
WRONG_DECISIONS = [[GUESSES["a"]], {"a": Y}, GUESSES | {"b": LOGITS[:, 0]}, GUESSES | {"b": Y.tolist()}]
WRONG_DECISIONS += [GUESSES | {"b": LOGITS}, GUESSES | {"b": UNLABELLED}, GUESSES | {"b": Y[:9]}, None]
WRONG_LABELS = [
    UNLABELLED,
    Y.tolist(),
    Y.numpy(),
    LOGITS[:, 0],
    Y[:9],
    Y[0],
    None,
    Y.to("meta"),
    Y.to(torch.cfloat),
]
WRONG_PAIRS = ["ab", ("a", "b"), [("a", "z")], [], [("a",)], [("a", "b", "a")], 3, [(0, 1)]]
WRONG_NAMES = [3, None, [3], [0.5], ["0", "0"], {"a": 1}, torch.zeros(2)]
WRONG_MODULES = ["0", ["0"], {"0": 3}, {"0": [3]}, {"z": ["z"]}, {"0": ["0", "0"]}]
WRONG_IDS = [
    list(range(32)),
    {"a": range(32)},
    {"a": "x" * 32, "b": "x" * 32},
    {"a": [[0]] * 32, "b": [[0]] * 32},
]
WRONG_IDS += [{"a": [0] * 32, "b": [0] * 32}, {"a": range(32), "b": range(1, 33)}, 3]
WRONG_TENSORS = [X.numpy(), X.tolist(), None, X.to("meta"), X.to_sparse(), torch.tensor(1.0)]
WRONG_IMAGES = [IMAGES.numpy(), IMAGES.tolist(), None, torch.zeros(4, 4), IMAGES.to_sparse()]

WRONG: dict[str, dict[str, list[Any]]] = {
    "h_score": {"features": WRONG_TENSORS, "labels": WRONG_LABELS},
    "knn_probe": {
        "train": [X, None, (X, Y[:9]), (X.numpy(), Y)],
        "test": [X, None, (X[:, :2], Y), (X, Y[:9])],
        "held_out": [None, Y, HELD_OUT[:9], torch.zeros(32, dtype=torch.bool)],
        "neighbours": [[], [0], ["1"]],
    },
    "leep": {"probabilities": [*WRONG_TENSORS, LOGITS - 9], "labels": WRONG_LABELS},
    "linear_probe": {
        "train": [X, None, (X, Y[:9]), (X.numpy(), Y)],
        "test": [X, None, (X[:, :2], Y), (X, Y[:9])],
        "held_out": [None, Y, HELD_OUT[:9], torch.zeros(32, dtype=torch.bool)],
        "penalties": [[], [0], [-1.0], ["1"]],
    },
    "log_maximum_evidence": {"features": WRONG_TENSORS, "labels": WRONG_LABELS},
    "averaged_logits": {
        "model": WRONG_MODELS,
        "states": [*WRONG_LISTS_OF_STATES[:5], [], *WRONG_LISTS_OF_STATES[6:]],
        "inputs": [X.numpy(), None, X.double(), X.to("meta")],
        "batch_size": WRONG_NUMBERS,
        "batch_norm": ["keep", None],
        "calibration": ["x", X.numpy()],
    },
    "barrier": {
        "curve": [
            {"alpha": [0, 1]},
            None,
            pl.DataFrame({"alpha": [0.0, 1.0]}),
            pl.DataFrame({"alpha": ["0"]}),
        ],
        "definition": ["max", None],
    },
    "basin": {
        "model": WRONG_MODELS,
        "states": WRONG_LISTS_OF_STATES,
        "data": WRONG_DATA,
        "delta": [0, -1, "1", None, [1.0], float("nan")],
        "epsilon": [-1, "1", [1.0]],
        "draws": WRONG_NUMBERS,
        "points": WRONG_NUMBERS,
        "batch_size": WRONG_NUMBERS,
        "generator": WRONG_GENERATORS,
    },
    "block_shuffle": {
        "images": WRONG_IMAGES,
        "block_size": [3, 0, -1, "2", None, 2.0],
        "seed": [None, -1, 0.5, "0", True, 2**32],
    },
    "cka": {
        "models": [[A, B], {"a": A}, {"a": A, "b": A.state_dict()}, {"a": META, "b": B}, None, A, {}],
        "data": [
            None,
            3,
            "x",
            X.numpy(),
            X.tolist(),
            X[:5],
            (X[:16], X[16:]),
            [X, 2 * X],
            X.double(),
            {"x": X},
        ],
        "layers": [*WRONG_NAMES[:1], *WRONG_NAMES[2:], {"a": 3}, {"z": ["0"]}, {"a": ["0", "0"], "b": ["0"]}],
        "pairs": WRONG_PAIRS,
        "batch_size": [*WRONG_NUMBERS, 4],
        "permutations": WRONG_NUMBERS,
        "neighbours": WRONG_NUMBERS,
        "generator": WRONG_GENERATORS,
    },
    "compared_with_mean": {
        "candidates": [LOGITS, [LOGITS.numpy()], [LOGITS[:9]]],
        "singles": [LOGITS, [], [LOGITS.numpy()], [None]],
        "labels": [*WRONG_LABELS[:7], Y.to("meta")],
        "draws": [*WRONG_NUMBERS, 0],
        "level": [0, 1, 95, "x", None],
        "generator": WRONG_GENERATORS,
    },
    "confident_mistakes": {
        "first": [LOGITS, [], None, [LOGITS.numpy()], [LOGITS[:9]]],
        "second": [LOGITS, [], None, [LOGITS / 0]],
        "labels": WRONG_LABELS,
        "count": WRONG_NUMBERS,
    },
    "conv_singular_values": {
        "weight": [nn.Conv2d(1, 1, 3), torch.ones(3, 3), np.ones((1, 1, 3, 3)), None],
        "input_size": [0, -1, 4.5, "4", None, (4, 4, 4)],
        "groups": [0, 1.0, "1", None, 2],
    },
    "ensemble_logits": {"logits": [LOGITS, [], [LOGITS.numpy()], [LOGITS, LOGITS[:9]], [LOGITS[0]]]},
    "error_consistency": {"predictions": WRONG_DECISIONS, "labels": WRONG_LABELS},
    "freezable": {
        "train": [(X, Y), None],
        "test": [(X, Y), RepeatedPasses(B, (X, Y))],
        "init": WRONG_STATES,
        "final": WRONG_STATES,
        "candidates": [3, [3], ["z"], ["0", "0"]],
        "acceptable_drop": ["x", None, [0.1]],
        "modules": WRONG_MODULES,
        "draws": [1.5, "2", -1],
    },
    "interpolate": {
        "model": WRONG_MODELS,
        "a": WRONG_STATES,
        "b": WRONG_STATES,
        "data": WRONG_DATA,
        "alphas": WRONG_GRIDS,
        "batch_norm": ["best", None, "re-estimate"],
        "calibration": ["x", X.numpy(), (X, Y)],
        "batch_size": WRONG_NUMBERS,
    },
    "l2_distance": {
        "a": WRONG_STATES,
        "b": WRONG_STATES,
        "exclude": [3, None, [3], {"a": 1}, ["0", "1"]],
        "modules": [{"0": ["0"]}],
    },
    "linear_cka": {
        "x": WRONG_TENSORS,
        "y": [*WRONG_TENSORS, LOGITS[:9]],
        "ids": ["xy", 3, (range(32),), (range(32), range(1, 33)), (range(32), "x")],
    },
    "mean_distance": {"states": WRONG_LISTS_OF_STATES},
    "mistakes": {
        "predictions": WRONG_DECISIONS,
        "labels": WRONG_LABELS,
        "ids": WRONG_IDS,
        "pairs": WRONG_PAIRS,
        "bootstrap": WRONG_NUMBERS,
        "generator": WRONG_GENERATORS,
    },
    "mistakes_by_difficulty": {"predictions": WRONG_DECISIONS, "labels": WRONG_LABELS, "pairs": WRONG_PAIRS},
    "module_criticality": {
        "model": WRONG_MODELS,
        "init": WRONG_STATES,
        "final": WRONG_STATES,
        "data": WRONG_DATA,
        "test": WRONG_DATA[:1] + WRONG_DATA[2:],
        "alphas": [*WRONG_GRIDS, [2.0]],
        "sigmas": [*WRONG_GRIDS, [-1.0], [0.0]],
        "draws": [*WRONG_NUMBERS, 0],
        "epsilon": ["x", [1.0]],
        "tolerance": ["x", None, [1.0]],
        "modules": WRONG_MODULES,
        "batch_size": WRONG_NUMBERS,
        "generator": WRONG_GENERATORS,
    },
    "mutual_knn": {"grams": [X, X.numpy(), None, GRAMS.to(torch.cfloat)], "k": WRONG_NUMBERS},
    "path_losses": {"model": WRONG_MODELS, "a": WRONG_STATES, "data": WRONG_DATA, "alphas": WRONG_GRIDS},
    "paths": {"model": WRONG_MODELS, "states": [[A, B], {"a": A}, None], "pairs": WRONG_PAIRS},
    "pixel_channel_shuffle": {"images": WRONG_IMAGES, "seed": [None, -1, 0.5, "0", True, 2**32]},
    "plane": {
        "model": WRONG_MODELS,
        "anchors": [*WRONG_LISTS_OF_STATES, [A, A, A], [A, B]],
        "others": [A, A.state_dict(), "a", None],
        "data": WRONG_DATA,
        "size": WRONG_NUMBERS,
        "margin": [-1, "x", None, [1.0]],
        "batch_size": WRONG_NUMBERS,
    },
    "rewind": {
        "model": WRONG_MODELS,
        "init": WRONG_STATES,
        "final": WRONG_STATES,
        "data": WRONG_DATA,
        "modules": WRONG_MODULES,
        "draws": [1.5, "2", -1],
        "level": [0, 1, 95, "x", None],
        "batch_size": WRONG_NUMBERS,
        "generator": WRONG_GENERATORS,
    },
    "update_cosine": {
        "a": WRONG_STATES,
        "b_init": WRONG_STATES,
        "exclude": [3, None],
        "modules": WRONG_MODULES,
    },
}

# what messages may say in place of the argument's name: its parts, or the field's word for it
WORDS = {
    "alphas": ("alpha",),
    "anchors": ("networks",),
    "batch_norm": ("BatchNorm",),
    "block_size": ("blocks of",),
    "candidates": ("modules", "logits"),
    "count": ("image",),
    "curve": ("column", "table"),
    "data": ("inputs", "labels", "batches", "samples", "tensors"),
    "definition": ("defined",),
    "draws": ("draw",),
    "exclude": ("excluding",),
    "first": ("groups", "Logits"),
    "second": ("groups", "Logits"),
    "grams": ("Grams",),
    "ids": ("samples",),
    "labels": ("Class indices",),
    "logits": ("An ensemble", "Logits"),
    "models": ("networks", "Model '"),
    "modules": ("Module '",),
    "pairs": ("There is no", "pair"),
    "predictions": ("Predictions of '", "'a'", "'b'"),
    "sigmas": ("noise scales",),
    "singles": ("single network", "logits"),
    "size": ("A grid",),
    "states": ("networks", "at least one network", "state 0", "state 1", "of b", "for b"),
    "test": ("inputs", "labels", "networks"),
    "x": ("features",),
    "y": ("features",),
}


def test_the_table_holds_every_function_of_the_library() -> None:
    studies = {"compare", "compare_studies", "load_study", "open_run", "run", "modules"}
    assert set(ts.__all__) - studies <= set(CALLS)
    assert set(CALLS) == set(WRONG)


@pytest.mark.parametrize("function", CALLS)
def test_a_wrong_argument_is_refused(function: str) -> None:
    call, right = CALLS[function]
    call(**right)
    failed = []
    for argument, values in WRONG[function].items():
        for place, value in enumerate(values):
            try:
                call(**right | {argument: value})
            except BadInput as error:
                # lazy networks are refused by their class, before any argument is read
                words = (argument, "lazy layers", *WORDS.get(argument, ()))
                if not any(word in str(error) for word in words):
                    failed.append(f"{argument}, {place}: not named in {str(error)[:90]}")
            except Exception as error:
                failed.append(f"{argument}, {place}: {type(error).__name__} {str(error)[:90]}")
            else:
                failed.append(f"{argument}, {place}: accepted {str(value)[:60]}")
    assert not failed, "\n".join(failed)


@pytest.mark.parametrize("numbers", [list, tuple, np.array, torch.tensor], ids=lambda n: n.__name__)
def test_grids_of_numpy_and_torch_are_taken(numbers: Any) -> None:
    data = (X, Y)
    grid = numbers([0.0, 0.5, 1.0])
    expected = ts.interpolate(A, A, B, data, alphas=[0, 0.5, 1])
    assert ts.interpolate(A, A, B, data, alphas=grid, batch_size=np.int64(256)).equals(expected)
    options = {"draws": 2, "generator": None}
    expected = ts.module_criticality(A, B, A, data, alphas=[0, 0.5, 1], sigmas=[0, 0.5, 1], **options)
    options["draws"] = np.int64(2)
    assert ts.module_criticality(A, B, A, data, alphas=grid, sigmas=grid, **options).cells.equals(
        expected.cells
    )


def test_one_name_is_a_list_of_one_name() -> None:
    assert ts.l2_distance(A, B, exclude="1") == ts.l2_distance(A, B, exclude=["1"])
    models = {"a": A, "b": B}
    assert ts.cka(models, X, layers="1").equals(ts.cka(models, X, layers=["1"]))


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        [X, LOGITS],
        TensorDataset(X, Y),
        TensorDataset(X),
        TensorDataset(X, X),
        next(iter(DataLoader(TensorDataset(X, Y), batch_size=32))),
    ],
)
def test_forms_of_the_same_inputs(data: Any) -> None:
    models = {"a": A, "b": B}
    assert ts.cka(models, data).equals(ts.cka(models, X))


def test_decisions_of_other_dtypes_and_with_gradients() -> None:
    findings = (LOGITS > 0.5).float()
    guesses = {"a": findings, "b": 1 - findings}
    expected = ts.mistakes(guesses, findings)
    others = {"a": findings.bfloat16(), "b": (1 - findings).requires_grad_()}
    assert ts.mistakes(others, findings.bool()).equals(expected)
