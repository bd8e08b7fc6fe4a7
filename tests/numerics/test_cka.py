"""CKA against its definition over 4-tuples, feature-space formulas, and literal resampling."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from transferscope.errors import BadInput
from transferscope.metrics import cka_sums
from transferscope.metrics.cka import cka, linear_cka
from transferscope.metrics.hsic import centred, gram

TOLERANCE = 1e-10
few = settings(deadline=None, max_examples=15)
seeds = st.integers(0, 2**31)


def features(seed, n, p, q, dtype=torch.float64):
    """Two sets of features that share a part."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    x = torch.randn(n, p, generator=generator, dtype=torch.float64)
    y = torch.randn(n, q, generator=generator, dtype=torch.float64)
    x[:, :2] += shared[:, : min(2, p)]
    y[:, :2] += shared[:, : min(2, q)]
    return x.to(dtype), y.to(dtype)


def hsic_over_tuples(k, el):
    """Song et al. 2012: the mean of k_ij l_ij + k_ij l_qr - 2 k_ij l_iq over distinct i, j, q, r."""
    tuples = list(itertools.permutations(range(len(k)), 4))
    return math.fsum(k[i, j] * (el[i, j] + el[q, r] - 2 * el[i, q]) for i, j, q, r in tuples) / len(tuples)


def literal_over_tuples(x, y):
    k, el = x @ x.T, y @ y.T
    return hsic_over_tuples(k, el) / math.sqrt(hsic_over_tuples(k, k) * hsic_over_tuples(el, el))


def unbiased_hsic(x, y):
    """Song et al. 2012, equation 5, in feature space: no Gram is formed."""
    n = len(x)
    x, y = x - x.mean(0), y - y.mean(0)
    d, e = (x**2).sum(1), (y**2).sum(1)
    trace = ((x.T @ y) ** 2).sum() - (d * e).sum()
    return (trace + d.sum() * e.sum() / ((n - 1) * (n - 2)) - 2 * (d * e).sum() / (n - 2)) / (n * (n - 3))


def biased_hsic(x, y):
    h = np.eye(len(x)) - 1 / len(x)
    return np.trace(x @ x.T @ h @ y @ y.T @ h) / (len(x) - 1) ** 2


def in_feature_space(x, y, hsic=unbiased_hsic):
    x, y = (z.double().flatten(1).numpy() for z in (x, y))
    return hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))


@few
@given(seed=seeds, n=st.integers(4, 6), p=st.integers(2, 9))
def test_debiased_is_the_mean_over_tuples(seed, n, p):
    x, y = features(seed, n, p, 3)
    expected = literal_over_tuples(x.numpy(), y.numpy())
    assert linear_cka(x, y) == pytest.approx(expected, abs=TOLERANCE)


@few
@given(seed=seeds, n=st.integers(4, 80), p=st.integers(2, 200))
def test_against_feature_space(seed, n, p):
    x, y = features(seed, n, p, 5)
    assert linear_cka(x, y) == pytest.approx(in_feature_space(x, y), abs=TOLERANCE)
    assert linear_cka(x, y, debiased=False) == pytest.approx(
        in_feature_space(x, y, biased_hsic), abs=TOLERANCE
    )


@few
@given(seed=seeds, scale=st.sampled_from([1e-5, 1.0, 1e5]), offset=st.sampled_from([0.0, 100.0, -1e4]))
def test_offset_and_scale_do_not_hurt(seed, scale, offset):
    """float32 features far from zero: as the oracle in float64 on those very numbers, shifted back."""
    x, y = features(seed, 40, 30, 20, torch.float32)
    x = scale * (x + offset * torch.linspace(0.5, 1, 30))
    expected = in_feature_space((x.double() - x[:1].double()) / scale, y)
    assert linear_cka(x, y) == pytest.approx(expected, abs=TOLERANCE)


def test_centred_grams_are_those_of_centred_features(monkeypatch):
    """In blocks of features, and with a first sample, their origin, far off."""
    monkeypatch.setattr("transferscope.metrics.hsic.WIDENED_AT_ONCE", {"cpu": 50})
    x, _ = features(0, 20, 33, 3)
    x[0] += 1e3
    centre = (x - x.mean(0)).numpy()
    found = centred(gram(x.reshape(20, 3, 11))[None], debiased=False)[0]
    np.testing.assert_allclose(found, centre @ centre.T, rtol=1e-9, atol=1e-6)


def test_bounds_and_invariance():
    x, y = features(0, 30, 6, 6)
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    assert linear_cka(x, 3 * x @ rotation - 5) == pytest.approx(1, abs=TOLERANCE)
    assert linear_cka(x, y) == linear_cka(y, x)
    assert linear_cka(x.reshape(30, 2, 3), y) == linear_cka(x, y)


def test_negative_values_are_kept_and_average_out():
    generator = torch.Generator().manual_seed(0)
    values = []
    for _ in range(200):
        x, y = torch.randn(2, 20, 50, generator=generator)
        values.append(linear_cka(x, y))
    assert min(values) < -0.02
    assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / math.sqrt(200))
    assert linear_cka(x, y, debiased=False) > 0.5


@pytest.mark.parametrize("debiased", [True, False])
def test_what_has_no_cka_is_nan(debiased):
    x, y = features(0, 10, 4, 4, torch.float32)
    constant = torch.full((10, 4), 0.1) * torch.tensor([1.0, 3.0, 1e6, 0.7])
    assert math.isnan(linear_cka(constant, y, debiased=debiased))
    x[3, 2] = math.inf
    assert math.isnan(linear_cka(x, y, debiased=debiased))
    # All pairs equally far apart: with the diagonal left out nothing varies.
    assert math.isnan(linear_cka(torch.eye(10), y)) == debiased or not debiased


def test_too_few_samples():
    with pytest.raises(BadInput, match=">= 4"):
        linear_cka(torch.randn(3, 2), torch.randn(3, 2))
    with pytest.raises(BadInput, match="same samples"):
        linear_cka(torch.randn(5, 2), torch.randn(6, 2))
    assert math.isfinite(linear_cka(torch.randn(3, 2), torch.randn(3, 2), debiased=False))


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
        self.calls = 0

    def forward(self, x):
        self.calls += 1
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
    return {name: Stages(seed, width).eval() for name, seed, width in (("a", 0, 4), ("b", 1, 4), ("c", 2, 6))}


@pytest.fixture
def images():
    return torch.randn(48, 3, 6, 6, generator=torch.Generator().manual_seed(0))


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


def test_each_model_runs_once_a_batch(stages, images):
    cka(stages, images, layers=LAYERS, batch_size=16)
    assert [model.calls for model in stages.values()] == [3, 3, 3]


@pytest.mark.parametrize(
    ("batches", "sizes"), [([10, 3], [13]), ([3, 3, 3, 10, 8, 2], [9, 10, 10]), ([10, 10], [10, 10])]
)
@pytest.mark.parametrize("kind", [tuple, list])
def test_small_batches_are_joined(stages, images, batches, sizes, kind):
    seen = []
    stages["a"].register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    table = cka(stages, kind(images[: sum(batches)].split(batches)), layers=LAYERS, permutations=0)
    assert seen == sizes
    assert table["n"].unique().to_list() == [sum(batches)]


def test_tensors_with_labels_and_a_rest(stages, images):
    labels = torch.zeros(48, dtype=torch.int64)
    table = cka(stages, (images, labels), layers=LAYERS, batch_size=20, permutations=5)
    assert table.equals(cka(stages, images, layers=LAYERS, batch_size=20, permutations=5))
    seen = []
    stages["a"].register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    cka(stages, images[:33], layers=LAYERS, batch_size=32, permutations=0)
    assert seen == [17, 16]


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
    models = {"odd": Odd(), "same": Odd()}
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


class Columns(nn.Module):
    """Features that are some columns of the input."""

    def __init__(self, *columns):
        super().__init__()
        self.columns = list(columns)
        self.out = nn.Identity()

    def forward(self, x):
        return self.out(x[:, self.columns])


def test_coverage_of_the_interval():
    """Columns 0..3 and 2..5 of white noise have CKA 1/2; of 200 intervals at 0.95 about 190 hold it."""
    models = {"x": Columns(0, 1, 2, 3), "y": Columns(2, 3, 4, 5)}
    generator = torch.Generator().manual_seed(0)
    hits, widths = 0, []
    for _ in range(200):
        x = torch.randn(160, 6, generator=generator)
        row = cka(models, x, batch_size=80, permutations=0, generator=generator).row(0, named=True)
        hits += row["low"] <= 0.5 <= row["high"]
        widths.append(row["high"] - row["low"])
    assert 180 <= hits <= 199
    assert np.mean(widths) < 0.4


def test_jackknife_is_the_literal_one(images):
    """Delete each group's samples from the features, and compute CKA anew."""
    models = {"x": Columns(0, 1, 2), "y": Columns(1, 2, 3)}
    x = images.flatten(1)[:, :6]
    row = cka(models, [x], permutations=0, generator=torch.Generator().manual_seed(3)).row(0, named=True)
    groups = torch.randperm(48, generator=torch.Generator().manual_seed(3)) % 20
    left_out = [in_feature_space(x[groups != g][:, :3], x[groups != g][:, 1:4]) for g in range(20)]
    error = math.sqrt(19 / 20 * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    assert row["high"] - row["linear_cka"] == pytest.approx(2.093024054408263 * error, abs=TOLERANCE)
    assert row["linear_cka"] - row["low"] == pytest.approx(2.093024054408263 * error, abs=TOLERANCE)


@pytest.mark.parametrize("debiased", [True, False])
def test_null_is_that_of_permuted_samples(debiased):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 8, generator=generator) * torch.tensor([3.0, 1, 1, 1, 1, 1, 1, 1])
    models = {"x": Columns(0, 1, 2, 3, 4), "y": Columns(0, 5, 6, 7)}
    row = cka(models, x, batch_size=60, permutations=1000, debiased=debiased).row(0, named=True)
    rng = np.random.default_rng(0)
    permuted = [
        linear_cka(x[:, :5], x[rng.permutation(60)][:, [0, 5, 6, 7]], debiased=debiased) for _ in range(1000)
    ]
    spread = np.std(permuted)
    assert row["null"] == pytest.approx(np.quantile(permuted, 0.95), abs=0.3 * spread)
    assert row["linear_cka"] > row["null"]


def test_unrelated_features_exceed_the_null_one_time_in_twenty():
    models = {"x": Columns(0, 1, 2), "y": Columns(3, 4, 5)}
    generator = torch.Generator().manual_seed(1)
    above = 0
    for _ in range(200):
        row = cka(models, torch.randn(40, 6, generator=generator), batch_size=20, generator=generator).row(0)
        above += row[4] > row[7]
    assert 2 <= above <= 22


class Maximum(nn.Module):
    """Two layers that each give some columns of the input."""

    def __init__(self, first, second):
        super().__init__()
        self.first, self.second = Columns(*first), Columns(*second)

    def forward(self, x):
        return self.first(x), self.second(x)


def test_null_of_the_maximum_is_that_of_permuted_samples():
    """In each round all layers of a network move together."""
    x = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    models = {"x": Maximum([0, 1], [2]), "y": Maximum([3, 4], [5, 6, 7])}
    table = cka(models, x, batch_size=50, permutations=2000)
    assert table["null_max"].n_unique() == 1
    rng = np.random.default_rng(0)
    largest = []
    for _ in range(1000):
        moved = x[rng.permutation(50)]
        largest.append(
            max(
                linear_cka(x[:, own], moved[:, other])
                for own, other in itertools.product(([0, 1], [2]), ([3, 4], [5, 6, 7]))
            )
        )
    found = table["null_max"][0]
    assert found == pytest.approx(np.quantile(largest, 0.95), abs=0.3 * np.std(largest))
    assert found > table["null"].max()


def test_maximum_over_unrelated_layers_exceeds_its_null_one_time_in_twenty():
    """The largest of four exceeds the null of a single one far more often."""
    models = {"x": Maximum([0, 1], [2]), "y": Maximum([3, 4], [5, 6, 7])}
    generator = torch.Generator().manual_seed(1)
    above_max = above = 0
    for _ in range(200):
        table = cka(models, torch.randn(40, 8, generator=generator), generator=generator)
        largest = table.sort("linear_cka").row(-1, named=True)
        above_max += largest["linear_cka"] > largest["null_max"]
        above += largest["linear_cka"] > largest["null"]
    assert 2 <= above_max <= 22
    assert above > above_max


def test_dead_layers_have_no_say_in_the_maximum(images):
    models = {name: Odd() for name in "pq"}
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
    """In float64: the influence on the sum over batches, one sample left out at a time, and neighbours in a batch."""
    stages = {name: model.double() for name, model in stages.items()}
    images = images.double()
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
    assert some.equals(whole.filter(model_x="a", model_y="c"))
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
    (row,) = cka(models, images, batch_size=24, permutations=20).iter_rows(named=True)
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
