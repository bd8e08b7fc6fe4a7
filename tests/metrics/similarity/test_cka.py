"""CKA of networks in batches against that of their features; influence, neighbours, and what goes wrong."""

from __future__ import annotations

import copy
import math
from collections import Counter

import numpy as np
import pytest
import torch
from literal_cka import biased_hsic, features, in_feature_space, unbiased_hsic
from polars.testing import assert_frame_equal
from torch import nn

from transferscope.core.errors import BadInput
from transferscope.metrics.similarity import cka_sums
from transferscope.metrics.similarity.cka import cka, linear_cka

TOLERANCE = 1e-10


class Stages(nn.Module):
    """A stem and two stages; an in-place ReLU and += follow outputs that are read."""

    def __init__(self, seed, width=4):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.stem = nn.Conv2d(3, width, 3, padding=1)
            self.stage1 = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width))
            self.relu = nn.ReLU(inplace=True)
            self.head = nn.Linear(width, 2)

    def forward(self, x):
        x = self.stem(x)
        self.relu(x)
        y = self.stage1(x)
        y += x
        return self.head(self.relu(y).mean((2, 3)))

    def outputs(self, x):
        with torch.no_grad():
            stem = self.stem(x)
            return {"stem": stem, "stage1": self.stage1(stem.relu())}


LAYERS = ["stem", "stage1"]


@pytest.fixture
def stages():
    """In float64: `cka` deals images to batches, and float32 convolutions depend on the batch in their last digits."""
    return {
        name: Stages(seed, width).eval().double()
        for name, seed, width in (("a", 0, 4), ("b", 1, 4), ("c", 2, 6))
    }


@pytest.fixture
def images():
    return torch.randn(48, 3, 6, 6, generator=torch.Generator().manual_seed(0)).double()


@pytest.mark.parametrize("debiased", [True, False])
def test_one_batch_is_linear_cka(stages, images, debiased):
    table = cka(stages, images, layers=LAYERS, batch_size=48, permutations=0, debiased=debiased)
    assert table.columns == [
        *("model_x", "layer_x", "model_y", "layer_y", "linear_cka", "low", "high", "null", "null_max"),
        *("influence", "influence_place", "mutual_knn", "n", "smallest_batch", "status"),
    ]
    assert table.select("model_x", "model_y").unique(maintain_order=True).rows() == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    assert len(table) == 12
    outputs = {name: model.outputs(images) for name, model in stages.items()}
    for row in table.iter_rows(named=True):
        x, y = outputs[row["model_x"]][row["layer_x"]], outputs[row["model_y"]][row["layer_y"]]
        hsic = unbiased_hsic if debiased else biased_hsic
        assert row["linear_cka"] == pytest.approx(in_feature_space(x, y, hsic), abs=TOLERANCE)
        assert row["n"] == 48
        assert row["status"] == "ok"
        assert math.isnan(row["null"])


def test_batches_add_up(stages, images):
    """Means of HSIC over batches, weighted by samples; one CKA of the sums."""
    batches = [images[:10], (images[10:30], torch.zeros(20)), images[30:]]
    table = cka(stages, batches, layers=LAYERS, permutations=0)
    for row in table.iter_rows(named=True):
        sums = np.zeros(3)
        for part in (images[:10], images[10:30], images[30:]):
            x = stages[row["model_x"]].outputs(part)[row["layer_x"]].double().flatten(1).numpy()
            y = stages[row["model_y"]].outputs(part)[row["layer_y"]].double().flatten(1).numpy()
            sums += len(part) * np.array([unbiased_hsic(x, y), unbiased_hsic(x, x), unbiased_hsic(y, y)])
        assert row["linear_cka"] == pytest.approx(sums[0] / math.sqrt(sums[1] * sums[2]), abs=TOLERANCE)


def test_each_model_runs_once_a_batch_and_twice_over_four_samples(stages, images):
    calls = []
    for name, model in stages.items():
        model.register_forward_pre_hook(lambda module, args, name=name: calls.append(name))
    cka(stages, images, layers=LAYERS, batch_size=16)
    assert Counter(calls) == dict.fromkeys(stages, 5)


@pytest.mark.parametrize(
    ("batches", "sizes"), [([10, 3], [13]), ([3, 3, 3, 10, 8, 2], [9, 10, 10]), ([10, 10, 10], [10, 10, 10])]
)
@pytest.mark.parametrize("kind", [tuple, list])
def test_small_batches_are_joined(stages, images, batches, sizes, kind):
    seen = []
    stages["a"].register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    table = cka(stages, kind(images[: sum(batches)].split(batches)), layers=LAYERS, permutations=0)
    assert seen == [
        4,
        4,
        *sizes,
    ]  # a few samples first: which axis is the batch, and are the features random?
    assert table["n"].unique().to_list() == [sum(batches)]


def test_tensors_with_labels_and_a_rest(stages, images):
    labels = torch.zeros(48, dtype=torch.int64)
    table = cka(stages, (images, labels), layers=LAYERS, batch_size=20, permutations=5)
    assert table.equals(cka(stages, images, layers=LAYERS, batch_size=20, permutations=5))
    seen = []
    stages["a"].register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    cka(stages, images[:33], layers=LAYERS, batch_size=32, permutations=0)
    assert seen == [4, 4, 17, 16]


def test_modes_and_hooks_are_put_back_also_after_an_exception(stages, images):
    stages["a"].train()
    stages["a"].stem.eval()
    modes = {name: [module.training for module in model.modules()] for name, model in stages.items()}

    def no_traces():
        hooks = [len(module._forward_hooks) for model in stages.values() for module in model.modules()]
        now = {name: [module.training for module in model.modules()] for name, model in stages.items()}
        return sum(hooks) == 0 and now == modes

    statistics = stages["a"].stage1[1].running_mean.clone()
    in_training_mode = cka(stages, images, layers=LAYERS)
    assert no_traces()
    in_evaluation_mode = cka(
        {name: copy.deepcopy(model).eval() for name, model in stages.items()}, images, layers=LAYERS
    )
    assert in_training_mode.equals(in_evaluation_mode)
    assert torch.equal(stages["a"].stage1[1].running_mean, statistics)
    stages["c"].head = nn.Linear(99, 2)
    modes["c"] = [module.training for module in stages["c"].modules()]
    with pytest.raises(RuntimeError):
        cka(stages, images, layers=LAYERS)
    assert no_traces()


class Odd(nn.Module):
    """Layers of every kind that can go wrong, and a recurrent one whose output is a tuple."""

    def __init__(self):
        super().__init__()
        for name in ("dead", "nan", "count", "summed", "equidistant", "never", "fine"):
            self.add_module(name, nn.Identity())
        self.recurrent = nn.LSTM(6, 5, batch_first=True)
        self.wrapped = Wrap()

    def forward(self, x):
        self.dead(torch.full_like(x, 0.3))
        self.nan(torch.where(x > 2, math.nan, x))
        self.count(len(x))
        self.summed(x.sum(0))
        self.equidistant(torch.eye(len(x)))
        self.recurrent(x[:, 0])
        self.wrapped(x)
        return self.fine(x)


class Wrap(nn.Module):
    def forward(self, x):
        return {"aux": None, "features": [x.flatten(1), 0]}


def test_a_layer_without_cka_says_why(images):
    torch.manual_seed(0)
    models = {"odd": Odd().double(), "same": Odd().double()}
    names = [name for name, _ in models["odd"].named_children()]
    table = cka(models, images, layers={"odd": names, "same": ["fine"]}, batch_size=16)
    status = dict(zip(table["layer_x"], table["status"], strict=True))
    assert status == {
        "dead": "constant",
        "nan": "non-finite",
        "count": "no tensor",
        "summed": "other batch size",
        "equidistant": "degenerate",
        "never": "not called",
        "fine": "ok",
        "recurrent": "ok",
        "wrapped": "ok",
    }
    numbers = table.filter(table["status"] != "ok").select("linear_cka", "low", "high", "null")
    assert all(column.is_nan().all() for column in numbers)
    value = dict(zip(table["layer_x"], table["linear_cka"], strict=True))
    assert value["fine"] == pytest.approx(1, abs=TOLERANCE)
    assert value["wrapped"] == pytest.approx(1, abs=TOLERANCE)
    assert math.isfinite(value["recurrent"])


class Tokens(nn.Module):
    """Sixteen tokens of an image through a transformer and a recurrent layer, with the batch first or second."""

    def __init__(self, *, batch_first):
        super().__init__()
        self.batch_first = batch_first
        self.patch = nn.Conv2d(3, 8, 2, 2)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=batch_first)
        self.recurrent = nn.LSTM(8, 5, batch_first=batch_first)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        if not self.batch_first:
            tokens = tokens.transpose(0, 1)
        tokens, _ = self.recurrent(self.block(tokens))
        return self.head(tokens.mean(1 if self.batch_first else 0))


@pytest.mark.parametrize("batch_size", [12, 16])
def test_tokens_first_gives_the_numbers_of_batch_first(batch_size):
    """Also where there are as many tokens as samples in a batch, 16."""
    torch.manual_seed(0)
    first = {name: Tokens(batch_first=True) for name in "ab"}
    second = {name: Tokens(batch_first=False) for name in "ab"}
    for name in "ab":
        second[name].load_state_dict(first[name].state_dict())
    images = torch.randn(48, 3, 8, 8) + torch.randn(48, 3, 1, 1)
    layers = ["patch", "block", "recurrent", "head"]
    tables = [
        cka(models, images, layers=layers, batch_size=batch_size, permutations=0)
        for models in (first, second)
    ]
    assert set(tables[1]["status"]) == {"ok"}
    # float32 forward passes that add up in another order
    np.testing.assert_allclose(tables[1]["linear_cka"], tables[0]["linear_cka"], rtol=0, atol=1e-4)


class NeedsMany(nn.Module):
    """Can't take the four samples of the first passes."""

    def __init__(self):
        super().__init__()
        self.second, self.square = nn.Identity(), nn.Identity()
        self.fine = nn.Identity()

    def forward(self, x):
        if len(x) < 5:
            raise RuntimeError("too few")
        self.second(x.flatten(1).T)
        self.square(x[:, 0, 0, :1] * torch.ones(len(x)))
        return self.fine(x)


def test_the_batch_is_known_by_its_size_where_two_samples_are_too_few(images):
    models = {"a": NeedsMany(), "b": NeedsMany()}
    torch.manual_seed(0)
    table = cka(models, images, layers=["second", "square", "fine"], batch_size=16, permutations=0)
    status = dict(zip(table["layer_x"], table["status"], strict=True))
    assert status == {"second": "ok", "square": "batch axis unknown", "fine": "ok"}


class Draws(nn.Module):
    """Draws numbers in evaluation."""

    def __init__(self, note):
        super().__init__()
        self.layer = nn.Identity()
        self.note = note

    def forward(self, x):
        self.note(torch.rand(1).item())
        return self.layer(x)


def test_the_passes_over_few_samples_take_no_random_numbers(images):
    drawn = []
    model = Draws(drawn.append)
    torch.manual_seed(0)
    expected = torch.rand(3).tolist()
    torch.manual_seed(0)
    cka({"a": model, "b": nn.Sequential(nn.Identity())}, images, batch_size=16)
    assert drawn[2:] == expected  # of three batches


def test_dead_layers_have_no_say_in_the_maximum(images):
    models = {name: Odd().double() for name in "pq"}
    table = cka(models, images, layers=["dead", "nan", "fine"], batch_size=48)
    assert table.filter(status="ok")["null_max"].is_finite().all()
    assert table.filter(table["status"] != "ok")["null_max"].is_nan().all()
    nothing = cka(models, images, layers=["dead"], batch_size=48)
    assert nothing["status"].unique().to_list() == ["constant"]
    assert nothing["influence_place"].is_null().all()


def test_influence_names_the_place_in_the_data(stages, images):
    """The data are dealt at random; the place is the one before."""
    images[31] += 50
    table = cka(stages, images, layers=["stem"], batch_size=48, permutations=0)
    assert table["influence_place"].unique().to_list() == [31]
    row = table.row(0, named=True)
    kept = torch.arange(48) != 31
    x, y = (stages[name].outputs(images)["stem"] for name in (row["model_x"], row["model_y"]))
    left = in_feature_space(x[kept], y[kept]) - in_feature_space(x, y)
    assert row["influence"] == pytest.approx(left, abs=1e-9)


def nearest(stages, row, side, images, k):
    """Places of each image's nearest neighbours among these images."""
    features = stages[row[f"model_{side}"]].outputs(images)[row[f"layer_{side}"]].double().flatten(1)
    return torch.cdist(features, features).fill_diagonal_(math.inf).argsort(1)[:, :k].tolist()


@pytest.mark.parametrize("sizes", [(48,), (16, 32), (12, 12, 24)])
def test_streaming_gives_influence_and_neighbours_as_well(stages, images, sizes):
    """The influence on the sum over batches, one sample left out at a time, and neighbours in a batch."""
    parts = list(images.split(sizes))
    options = {"layers": ["stem"], "pairs": [("a", "b")], "permutations": 0, "neighbours": 5}
    (row,) = cka(stages, parts, **options).iter_rows(named=True)
    assert row["smallest_batch"] == min(sizes)
    left = []
    for i in range(48):
        kept = [images[own[own != i]] for own in torch.arange(48).split(sizes)]
        left.append(cka(stages, kept, **options)["linear_cka"][0] - row["linear_cka"])
    most = int(np.abs(left).argmax())
    assert row["influence_place"] == most
    assert row["influence"] == pytest.approx(left[most], abs=1e-9)
    shared = []
    for part in parts:
        pairs = zip(*(nearest(stages, row, side, part, 5) for side in "xy"), strict=True)
        shared += [len(set(a) & set(b)) / 5 for a, b in pairs]
    assert row["mutual_knn"] == pytest.approx(np.mean(shared), abs=1e-12)


def test_influence_that_would_fill_the_memory_is_missing(stages, images, monkeypatch):
    monkeypatch.setattr(cka_sums, "MOST_TERMS", 48 * 6 - 1)
    few = cka(stages, images, layers=["stem"], batch_size=16)
    assert few["influence"].is_nan().all()
    assert few["influence_place"].is_null().all()
    assert few["linear_cka"].is_finite().all()
    assert few["mutual_knn"].is_finite().all()


def test_neighbours_need_a_batch_of_more(stages, images):
    table = cka(stages, [images[:8], images[8:]], layers=["stem"], permutations=0, neighbours=8)
    assert table["mutual_knn"].is_nan().all()
    assert table["influence"].is_finite().all()


def test_mutual_knn_stands_beside(stages, images):
    table = cka(stages, images, layers=LAYERS, batch_size=48, permutations=0, neighbours=5)
    outputs = {name: model.outputs(images) for name, model in stages.items()}
    for row in table.iter_rows(named=True):
        near = []
        for side in "xy":
            flat = outputs[row[f"model_{side}"]][row[f"layer_{side}"]].double().flatten(1)
            near.append(torch.cdist(flat, flat).fill_diagonal_(math.inf).argsort(1)[:, :5].tolist())
        shared = [len(set(a) & set(b)) / 5 for a, b in zip(*near, strict=True)]
        assert row["mutual_knn"] == pytest.approx(np.mean(shared), abs=1e-6)


def test_only_the_pairs_asked_for(stages, images):
    whole = cka(stages, images, layers=LAYERS)
    some = cka(stages, images, layers=LAYERS, pairs=[("a", "c")])
    # permutations are in float32, and products of fewer layers may add up in another order
    assert_frame_equal(some, whole.filter(model_x="a", model_y="c"), rel_tol=1e-5, abs_tol=1e-6)
    turned = cka(stages, images, layers=LAYERS, pairs=[("c", "a")], permutations=0)
    assert turned["layer_x"].to_list() == ["stem", "stem", "stage1", "stage1"]
    values = dict(zip(turned.select("layer_y", "layer_x").rows(), turned["linear_cka"], strict=True))
    for row in some.iter_rows(named=True):
        assert values[row["layer_x"], row["layer_y"]] == pytest.approx(row["linear_cka"], abs=TOLERANCE)


class InPlace(nn.Module):
    """Weighs the pixels of its input in place before anything else."""

    def __init__(self):
        super().__init__()
        self.weights = torch.linspace(-1, 3, 108).reshape(3, 6, 6)
        self.features = nn.Flatten()

    def forward(self, x):
        x.mul_(self.weights)
        return self.features(x)


def test_a_network_that_changes_its_input_shows_the_next_one_the_same_samples(images):
    models = {"greedy": InPlace(), "plain": nn.Sequential(nn.Flatten())}
    kept = images.clone()
    (row,) = cka(models, images, batch_size=48, permutations=0).iter_rows(named=True)
    assert torch.equal(images, kept)
    changed = kept * models["greedy"].weights
    assert row["linear_cka"] == pytest.approx(in_feature_space(changed, kept), abs=TOLERANCE)


class Scaled(nn.Module):
    """A layer far from zero, followed by operations in place."""

    def __init__(self, scale, offset):
        super().__init__()
        self.scale, self.offset = scale, offset
        self.out = nn.Identity()

    def forward(self, x):
        x = self.out(self.scale * (x.flatten(1) + self.offset))
        return x.add_(7).relu_().mul_(0)


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e5])
@pytest.mark.parametrize("offset", [0.0, 100.0, -100.0])
def test_hooks_survive_scales_offsets_and_operations_in_place(images, scale, offset):
    models = {"far": Scaled(scale, offset), "near": Scaled(1.0, 0.0)}
    (row,) = cka(models, images.float(), batch_size=24, permutations=20).iter_rows(named=True)
    assert row["status"] == "ok"
    # float32 rounds at 1e-7 of the offset
    assert row["linear_cka"] == pytest.approx(1, abs=1e-8)
    assert row["null"] < 0.5


def test_features_of_other_samples_are_refused():
    x, y = features(0, 6, 3, 3)
    ids = list("abcdef")
    assert linear_cka(x, y, ids=(ids, list(ids))) == linear_cka(x, y)
    with pytest.raises(BadInput, match=r"'y' was run on the same samples in another order.*place 0 is 'b'"):
        linear_cka(x, y, ids=(ids, list("bacdef")))
    with pytest.raises(BadInput, match="5 ids for 6"):
        linear_cka(x, y, ids=(ids, ids[:5]))


def test_default_layers_are_the_children_and_runs_repeat(stages, images):
    table = cka(stages, images, permutations=10)
    assert table["layer_x"].unique(maintain_order=True).to_list() == ["stem", "stage1", "relu", "head"]
    assert table.equals(cka(stages, images, permutations=10))


def test_bad_input(stages, images):
    with pytest.raises(BadInput, match="two models"):
        cka({"a": stages["a"]}, images)
    with pytest.raises(BadInput, match="no model 'z'"):
        cka(stages, images, pairs=[("a", "z")])
    with pytest.raises(BadInput, match="No pair"):
        cka(stages, images, pairs=[])
    with pytest.raises(BadInput) as caught:
        cka(stages, images, layers=["stem", "stag1"])
    assert len(caught.value.problems) == 3
    assert "Did you mean 'stage1'?" in str(caught.value)
    with pytest.raises(BadInput, match="names the model 'z'"):
        cka(stages, images, layers={"a": ["stem"], "b": ["stem"], "c": ["stem"], "z": ["stem"]})
    with pytest.raises(BadInput, match="at least 8"):
        cka(stages, images[:5])
    with pytest.raises(BadInput, match="at least 8"):
        cka(stages, [images[:5]])


class AlwaysDrops(nn.Module):
    """Dropout that ignores the mode, as in Monte Carlo dropout."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.1, training=True)


class KeptInTraining(nn.BatchNorm2d):
    """Stays in training mode, as a train() that is overridden makes it."""

    def train(self, mode=True):
        return super().train(True)


class AmongTheBatch(nn.Module):
    """Scales each sample by the largest number of its batch."""

    def forward(self, x):
        return x / x.abs().amax()


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            AlwaysDrops(),
            "random in evaluation mode.* of layer '1' of model 'b'.*Make dropout follow the mode",
        ),
        (KeptInTraining(4), "depend on the other inputs in its batch.* of layer '1' of model 'b'"),
        (nn.BatchNorm2d(4, track_running_stats=False), "depend on the other inputs in its batch"),
        (AmongTheBatch(), "depend on the other inputs in its batch"),
    ],
)
def test_random_features_and_those_of_a_batch_are_refused(images, layer, message):
    """Their CKA would be a number, and another one in each pass or for another batch size."""
    models = {
        "a": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()),
        "b": nn.Sequential(nn.Conv2d(3, 4, 3), layer, nn.Flatten()),
    }
    models = {name: model.double() for name, model in models.items()}
    with pytest.raises(BadInput, match=message):
        cka(models, images, batch_size=48, permutations=0)
    # what comes before them is neither
    assert cka(models, images, layers=["0"], batch_size=48, permutations=0)["status"].to_list() == ["ok"]
