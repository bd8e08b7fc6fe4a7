"""Counts and kappas of mistakes against scikit-learn, literal loops, and a literal bootstrap over images."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.mistakes import mistakes, mistakes_by_difficulty

TOLERANCE = 1e-12
few = settings(deadline=None, max_examples=25)
seeds = st.integers(0, 2**31)
COLUMNS = [
    *("a", "b", "scope", "n", "both_wrong", "only_a", "only_b", "expected_both_wrong", "expected_uncommon"),
    *("kappa", "kappa_low", "kappa_high", "kappa_min", "kappa_max", "kappa_stratified", "same_wrong_label"),
    "churn",
]


def predicted(seed, names="xyz", n=60, k=4, accuracy=0.6):
    """Models that share difficult images."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(k, size=n)
    ease = rng.normal(size=n)
    guesses = {}
    for name in names:
        right = ease + rng.normal(size=n) < accuracy
        guesses[name] = torch.from_numpy(np.where(right, truth, rng.integers(k, size=n)))
    return guesses, torch.from_numpy(truth)


def rows_of(table, scope):
    return table.filter(scope=scope).iter_rows(named=True)


@few
@given(seed=seeds, accuracy=st.sampled_from([-2.0, 0.6, 2.0]))
def test_counts_and_kappa_single_label(seed, accuracy):
    guesses, truth = predicted(seed, accuracy=accuracy)
    table = mistakes(guesses, truth, bootstrap=0)
    assert table.columns == COLUMNS
    assert [tuple(row) for row in table.select("a", "b").unique(maintain_order=True).rows()] == [
        ("x", "y"),
        ("x", "z"),
        ("y", "z"),
    ]
    for row in table.iter_rows(named=True):
        inside = np.ones(len(truth), bool) if row["scope"] == "all" else truth.numpy() == int(row["scope"])
        wrong_a = (guesses[row["a"]] != truth).numpy()[inside]
        wrong_b = (guesses[row["b"]] != truth).numpy()[inside]
        (_, only_b), (only_a, both) = confusion_matrix(wrong_a, wrong_b, labels=[False, True])
        assert (row["n"], row["both_wrong"], row["only_a"], row["only_b"]) == (
            inside.sum(),
            both,
            only_a,
            only_b,
        )
        p_a, p_b = wrong_a.mean(), wrong_b.mean()
        assert row["expected_both_wrong"] == pytest.approx(inside.sum() * p_a * p_b)
        uncommon = inside.sum() * (p_a * (1 - p_b) + p_b * (1 - p_a))
        assert row["expected_uncommon"] == pytest.approx(uncommon)
        if {wrong_a.all(), wrong_b.all()} == {True} or not (wrong_a.any() or wrong_b.any()):
            assert math.isnan(row["kappa"])
        else:
            expected = cohen_kappa_score(wrong_a, wrong_b)
            assert row["kappa"] == pytest.approx(expected, abs=TOLERANCE)
            assert row["kappa_min"] - TOLERANCE <= row["kappa"] <= row["kappa_max"] + TOLERANCE
        same = (guesses[row["a"]] == guesses[row["b"]]).numpy()[inside]
        assert row["churn"] == pytest.approx(1 - same.mean())
        shared = [bool(s) for s, x, y in zip(same, wrong_a, wrong_b, strict=True) if x and y]
        assert row["same_wrong_label"] == pytest.approx(np.mean(shared) if shared else math.nan, nan_ok=True)


@few
@given(seed=seeds)
def test_counts_multi_label(seed):
    rng = np.random.default_rng(seed)
    truth, x, y = (torch.from_numpy((rng.random((30, 3)) < p).astype(np.float32)) for p in (0.3, 0.4, 0.4))
    table = mistakes({"x": x, "y": y}, truth, bootstrap=0)
    assert table["scope"].to_list() == ["all", "0", "1", "2"]
    assert table["same_wrong_label"].is_null().all()
    for row in table.iter_rows(named=True):
        inside = slice(None) if row["scope"] == "all" else slice(int(row["scope"]), int(row["scope"]) + 1)
        wrong_x, wrong_y = (((guess != truth)[:, inside]).flatten().numpy() for guess in (x, y))
        assert row["n"] == len(wrong_x)
        assert row["both_wrong"] == (wrong_x & wrong_y).sum()
        assert row["only_a"] == (wrong_x & ~wrong_y).sum()
        assert row["churn"] == pytest.approx((wrong_x != wrong_y).mean())
        assert row["kappa"] == pytest.approx(cohen_kappa_score(wrong_x, wrong_y), abs=TOLERANCE)


def stratified_literal(wrong_a, wrong_b, others):
    """Barlow, Lai, Azen 1991 with weights n (1 - c_exp): a loop over the strata and scikit-learn's kappas."""
    total = weights = 0.0
    for stratum in np.unique(others):
        a, b = wrong_a[others == stratum], wrong_b[others == stratum]
        expected = a.mean() * b.mean() + (1 - a.mean()) * (1 - b.mean())
        weight = len(a) * (1 - expected)
        if weight > 1e-9:
            total += weight * cohen_kappa_score(a, b)
            weights += weight
    return total / weights if weights else math.nan


@few
@given(seed=seeds, accuracy=st.sampled_from([-2.0, 0.6, 2.0]))
def test_stratified_kappa(seed, accuracy):
    guesses, truth = predicted(seed, names="wxyz", accuracy=accuracy)
    wrong = {name: (own != truth).numpy() for name, own in guesses.items()}
    for row in mistakes(guesses, truth, bootstrap=0).iter_rows(named=True):
        inside = np.ones(len(truth), bool) if row["scope"] == "all" else truth.numpy() == int(row["scope"])
        others = sum(wrong[name][inside].astype(int) for name in wrong if name not in (row["a"], row["b"]))
        expected = stratified_literal(wrong[row["a"]][inside], wrong[row["b"]][inside], others)
        assert row["kappa_stratified"] == pytest.approx(expected, abs=TOLERANCE, nan_ok=True)


def test_stratified_kappa_takes_shared_difficulty_out():
    """Two models and ten judges err independently given the image, more often on the harder half."""
    rng = np.random.default_rng(0)
    hard = rng.random(40_000) < 0.5
    guesses = {
        str(name): torch.from_numpy((rng.random(40_000) < np.where(hard, 0.9, 0.1)).astype(np.int64))
        for name in range(12)
    }
    row = mistakes(guesses, torch.zeros(40_000, dtype=torch.int64), pairs=[("0", "1")], bootstrap=0).row(
        0, named=True
    )
    assert row["kappa"] == pytest.approx(0.64, abs=0.02)  # 1 - 2 * .5 * (.18 / .5), in closed form
    assert row["kappa_stratified"] == pytest.approx(0, abs=0.02)


def test_two_models_alone_have_no_strata():
    guesses, truth = predicted(0, names="xy")
    assert mistakes(guesses, truth, bootstrap=0)["kappa_stratified"].is_nan().all()


@few
@given(seed=seeds)
def test_mistakes_by_difficulty(seed):
    guesses, truth = predicted(seed, names="wxyz")
    wrong = {name: (own != truth).numpy() for name, own in guesses.items()}
    table = mistakes_by_difficulty(guesses, truth, pairs=[("w", "y"), ("z", "x")])
    assert table.select("a", "b", "others_wrong", "num_others").rows() == [
        (*pair, others, 2) for pair in (("w", "y"), ("z", "x")) for others in (0, 1, 2)
    ]
    for row in table.iter_rows(named=True):
        others = sum(wrong[name].astype(int) for name in wrong if name not in (row["a"], row["b"]))
        inside = others == row["others_wrong"]
        a, b = wrong[row["a"]][inside], wrong[row["b"]][inside]
        counts = (len(a), (a & b).sum(), (a & ~b).sum(), (b & ~a).sum())
        assert (row["n"], row["both_wrong"], row["only_a"], row["only_b"]) == counts
        if len(a):
            assert row["expected_both_wrong"] == pytest.approx(len(a) * a.mean() * b.mean())
        if len({*a, *b}) == 2:
            assert row["kappa"] == pytest.approx(cohen_kappa_score(a, b), abs=TOLERANCE)
        else:
            assert math.isnan(row["kappa"])


def test_multi_label_by_difficulty_counts_decisions():
    rng = np.random.default_rng(0)
    guesses = {name: torch.from_numpy((rng.random((30, 3)) < 0.4).astype(np.float32)) for name in "xyz"}
    truth = torch.from_numpy((rng.random((30, 3)) < 0.4).astype(np.float32))
    table = mistakes_by_difficulty(guesses, truth, pairs=[("x", "y")])
    wrong_z = (guesses["z"] != truth).sum().item()
    assert table["n"].to_list() == [90 - wrong_z, wrong_z]
    whole = mistakes(guesses, truth, bootstrap=0).row(0, named=True)
    assert [table[name].sum() for name in ("both_wrong", "only_a", "only_b")] == [
        whole[name] for name in ("both_wrong", "only_a", "only_b")
    ]


def test_only_the_pairs_asked_for():
    guesses, truth = predicted(0, names="wxyz")
    whole = mistakes(guesses, truth, bootstrap=0)
    some = mistakes(guesses, truth, bootstrap=0, pairs=[("x", "z")])
    assert some.equals(whole.filter(a="x", b="z"), null_equal=True)
    swapped = mistakes(guesses, truth, bootstrap=0, pairs=[("z", "x")])
    assert swapped["only_a"].to_list() == some["only_b"].to_list()
    with pytest.raises(BadInput, match=r"no model 'v'"):
        mistakes(guesses, truth, pairs=[("v", "x")])
    with pytest.raises(BadInput, match="No pair"):
        mistakes(guesses, truth, pairs=[])


def test_bounds_are_the_extremes_over_all_overlaps():
    """Slide the second model's mistakes over the first's: no overlap gives a kappa beyond the bounds."""
    n, num_a, num_b = 20, 8, 15
    kappas, bounds = [], set()
    truth = torch.zeros(n, dtype=torch.int64)
    a = (torch.arange(n) < num_a).long()
    for shift in range(n - num_b + 1):
        b = ((torch.arange(n) >= shift) & (torch.arange(n) < shift + num_b)).long()
        row = mistakes({"a": a, "b": b}, truth, bootstrap=0).row(0, named=True)
        kappas.append(row["kappa"])
        bounds.add((round(row["kappa_min"], 12), round(row["kappa_max"], 12)))
    ((lowest, highest),) = bounds
    assert (min(kappas), max(kappas)) == pytest.approx((lowest, highest), abs=1e-9)


def bootstrap_literal(wrong_a, wrong_b, draws, rng):
    """Images are resampled, with all their decisions."""
    kappas = []
    for _ in range(draws):
        index = rng.integers(len(wrong_a), size=len(wrong_a))
        a, b = wrong_a[index].ravel(), wrong_b[index].ravel()
        if a.any() or b.any():
            kappas.append(cohen_kappa_score(a, b))
    return np.quantile(kappas, [0.025, 0.975])


def test_bootstrap_is_one_over_images():
    guesses, truth = predicted(3, names="xy", n=300)
    row = next(rows_of(mistakes(guesses, truth, bootstrap=4000), "all"))
    wrong = [(guesses[name] != truth).numpy() for name in "xy"]
    low, high = bootstrap_literal(*wrong, 1000, np.random.default_rng(0))
    assert row["kappa_low"] == pytest.approx(low, abs=0.1 * (high - low))
    assert row["kappa_high"] == pytest.approx(high, abs=0.1 * (high - low))
    assert row["kappa_low"] < row["kappa"] < row["kappa_high"]


def test_multi_label_bootstrap_keeps_an_images_findings_together():
    """All findings of an image go right or wrong together: the interval is that of images."""
    rng = np.random.default_rng(0)
    ease = rng.normal(size=200)
    wrong = [np.repeat((ease + rng.normal(size=200) > 0.5)[:, None], 5, axis=1) for _ in "xy"]
    guesses = {name: torch.from_numpy(w.astype(np.float32)) for name, w in zip("xy", wrong, strict=True)}
    table = mistakes(guesses, torch.zeros(200, 5), bootstrap=4000)
    low, high = bootstrap_literal(*wrong, 1000, np.random.default_rng(1))
    row = next(rows_of(table, "all"))
    assert row["kappa_low"] == pytest.approx(low, abs=0.1 * (high - low))
    assert row["kappa_high"] == pytest.approx(high, abs=0.1 * (high - low))
    one = next(rows_of(table, "3"))
    assert one["kappa_high"] - one["kappa_low"] == pytest.approx(high - low, rel=0.1)


def test_bootstrap_is_deterministic():
    guesses, truth = predicted(0)
    first, second = mistakes(guesses, truth), mistakes(guesses, truth)
    assert first.equals(second, null_equal=True)
    other = mistakes(guesses, truth, generator=torch.Generator().manual_seed(9))
    assert not first.equals(other, null_equal=True)


def test_perfect_models_have_no_kappa():
    truth = torch.tensor([0, 1, 2])
    table = mistakes({"x": truth, "y": truth}, truth)
    for column in ("kappa", "kappa_low", "kappa_high", "kappa_min", "kappa_max", "same_wrong_label"):
        assert table[column].is_nan().all()


def test_ids_must_be_the_same():
    guesses, truth = predicted(0, names="xy", n=3)
    ids = ["i", "j", "k"]
    mistakes(guesses, truth, ids={"x": ids, "y": list(ids)}, bootstrap=0)
    with pytest.raises(BadInput, match=r"another order.*place 1 is 'k', but 'j'"):
        mistakes(guesses, truth, ids={"x": ids, "y": ["i", "k", "j"]})
    with pytest.raises(BadInput, match="other samples"):
        mistakes(guesses, truth, ids={"x": ids, "y": ["i", "j", "other"]})
    with pytest.raises(BadInput, match="2 ids for 3 samples"):
        mistakes(guesses, truth, ids={"x": ids, "y": ["i", "j"]})
    with pytest.raises(BadInput, match="lack the model 'y'"):
        mistakes(guesses, truth, ids={"x": ids})
    with pytest.raises(BadInput, match="the id 'i' twice"):
        mistakes(guesses, truth, ids={"x": ["i", "j", "i"], "y": ["i", "j", "i"]})


@pytest.mark.parametrize(
    ("predictions", "labels", "says"),
    [
        ({"x": torch.zeros(3).long()}, torch.zeros(3).long(), "two models"),
        ({"x": torch.zeros(3, 2), "y": torch.zeros(3).long()}, torch.zeros(3).long(), "argmax"),
        ({"x": torch.zeros(3), "y": torch.zeros(3).long()}, torch.zeros(3).long(), "class indices"),
        ({"x": torch.full((3, 2), 0.4), "y": torch.zeros(3, 2)}, torch.zeros(3, 2), "0 and 1"),
        ({"x": torch.zeros(0).long(), "y": torch.zeros(0).long()}, torch.zeros(0).long(), "n > 0"),
    ],
)
def test_bad_input(predictions, labels, says):
    with pytest.raises(BadInput, match=says):
        mistakes(predictions, labels)


def test_many_images_are_no_loop():
    guesses, truth = predicted(0, names="uvwxyz", n=10_000, k=100)
    mistakes(guesses, truth, bootstrap=0)
    start = time.process_time()
    table = mistakes(guesses, truth, bootstrap=0)
    assert time.process_time() - start < 0.5
    assert len(table) == len(list(itertools.combinations("uvwxyz", 2))) * 101


def test_resamples_without_a_kappa_are_left_out():
    """One mistake each on ten images: a third of the resamples of the pair hold none."""
    truth = torch.zeros(10, dtype=torch.int64)
    wrong = torch.zeros(10, dtype=torch.int64)
    wrong[0] = 1
    row = mistakes({"x": wrong, "y": wrong}, truth).row(0, named=True)
    assert row["kappa_low"] == pytest.approx(1.0)
    assert row["kappa_high"] == pytest.approx(1.0)


def test_a_model_paired_with_itself():
    """All of its mistakes are shared, and the strata are those of the other models."""
    y = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    a = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    table = mistakes({"a": a, "b": y, "c": 1 - y}, y, pairs=[("a", "a")], bootstrap=0)
    assert table["n"].to_list() == [8, 4, 4]
    assert table["both_wrong"].to_list() == [2, 0, 2]
    assert (table["only_a"].sum(), table["only_b"].sum(), table["churn"].sum()) == (0, 0, 0)
    assert table["kappa"][0] == 1.0


def test_the_place_of_a_double_id_is_found_in_linear_time():
    n = 30_000
    y, ids = torch.zeros(n, dtype=torch.int64), [f"image {i}" for i in range(n)]
    ids[-1] = ids[-2]
    start = time.process_time()
    with pytest.raises(BadInput, match=f"image {n - 2}' twice"):
        mistakes({"a": y, "b": y}, y, ids={"a": ids, "b": ids})
    assert time.process_time() - start < 2  # it took 14 s, and grew with the square
