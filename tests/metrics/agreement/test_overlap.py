"""Tests of overlap against resamples of the images taken one by one, and on data whose answer is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score

from transferscope.core.errors import BadInput
from transferscope.metrics.agreement.mistakes import mistakes
from transferscope.metrics.agreement.overlap import MEASURES, overlap_tests

KINDS = {
    "near": [("a", "b"), ("a", "c"), ("b", "c")],
    "mixed": [("a", "x"), ("b", "y"), ("c", "z")],
    "far": [("x", "y"), ("x", "z"), ("y", "z")],
}


def erring(seed, n=300, findings=None, shared=0.9):
    """Models a, b, c share most of what they get wrong; x, y, z share nothing but the image's difficulty."""
    rng = np.random.default_rng(seed)
    shape = (n,) if findings is None else (n, findings)
    hard, common = rng.normal(size=shape), rng.normal(size=shape)
    wrong = {}
    for name in "abcxyz":
        own = rng.normal(size=shape)
        noise = shared * common + math.sqrt(1 - shared**2) * own if name in "abc" else own
        wrong[name] = torch.from_numpy(hard + noise > 1.0)
    return wrong


def literal_values(wrong, pairs):
    """Means over the pairs, one pair at a time, through the table of mistakes."""
    n = len(next(iter(wrong.values())))
    guesses = {name: own.long() if own.ndim == 1 else own.float() for name, own in wrong.items()}
    truth = torch.zeros_like(next(iter(guesses.values())))
    rows = mistakes(guesses, truth, pairs=pairs, bootstrap=0).filter(scope="all")
    assert n
    uncommon = ((rows["only_a"] + rows["only_b"]) / rows["n"]).mean()
    return uncommon, rows["kappa"].mean(), rows["kappa_stratified"].mean()


@pytest.mark.parametrize("findings", [None, 3])
def test_values_are_means_over_the_pairs(findings):
    wrong = erring(0, findings=findings)
    table = overlap_tests(wrong, KINDS, reference="near", draws=10)
    assert table.select("other", "measure").rows() == list(itertools.product(("mixed", "far"), MEASURES))
    near = dict(zip(MEASURES, literal_values(wrong, KINDS["near"]), strict=True))
    for row in table.iter_rows(named=True):
        measure = row["measure"]
        other = dict(zip(MEASURES, literal_values(wrong, KINDS[row["other"]]), strict=True))
        assert row["value"] == pytest.approx(near[measure], abs=1e-12)
        assert row["value_other"] == pytest.approx(other[measure], abs=1e-12)
        sign = -1 if measure == "uncommon_share" else 1
        assert row["effect"] == pytest.approx(sign * (near[measure] - other[measure]), abs=1e-12)
        assert row["n"] == 300


@pytest.mark.parametrize("findings", [None, 2])
def test_intervals_are_those_of_resampled_images(findings):
    wrong = erring(1, n=120, findings=findings)
    table = overlap_tests(wrong, KINDS, reference="near", draws=4000)
    rng = np.random.default_rng(0)
    effects = []
    for _ in range(500):
        index = torch.from_numpy(rng.integers(120, size=120))
        drawn = {name: own[index] for name, own in wrong.items()}
        near, far = (np.array(literal_values(drawn, KINDS[kind])) for kind in ("near", "far"))
        effects.append((near - far) * [-1, 1, 1])
    ends = np.quantile(effects, [0.025, 0.975], axis=0)
    for place, row in enumerate(table.filter(other="far").iter_rows(named=True)):
        width = ends[1, place] - ends[0, place]
        assert row["low"] == pytest.approx(ends[0, place], abs=0.15 * width)
        assert row["high"] == pytest.approx(ends[1, place], abs=0.15 * width)


def test_sign_flips_are_those_of_single_images():
    """All 2^10 ways to flip the signs on ten images, one by one, against random ones of images in groups."""
    wrong = {
        "a": torch.tensor([1, 1, 1, 0, 0, 0, 0, 0, 0, 0]).bool(),
        "b": torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 0]).bool(),
        "x": torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 0, 1]).bool(),
        "y": torch.tensor([0, 0, 0, 0, 0, 0, 1, 0, 0, 0]).bool(),
    }
    kinds = {"near": [("a", "b")], "far": [("x", "y"), ("a", "y")]}
    difference = (
        ((wrong["x"] ^ wrong["y"]).double() + (wrong["a"] ^ wrong["y"]).double()) / 2
        - (wrong["a"] ^ wrong["b"]).double()
    ).numpy()
    flipped = [np.dot(signs, difference) for signs in itertools.product((-1, 1), repeat=10)]
    exact = np.mean(np.array(flipped) >= difference.sum() - 1e-9)
    row = overlap_tests(wrong, kinds, reference="near", draws=20_000).row(0, named=True)
    assert row["test"] == "sign flips"
    assert row["p"] == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))


def test_p_of_kappa_is_the_share_of_resamples_without_an_effect():
    wrong = erring(2, n=60, shared=0.4)
    row = overlap_tests(wrong, KINDS, reference="near", draws=4000).row(1, named=True)
    assert (row["measure"], row["test"]) == ("kappa", "bootstrap")
    rng = np.random.default_rng(0)
    none = 0
    for _ in range(300):
        index = rng.integers(60, size=60)
        drawn = {name: own.numpy()[index] for name, own in wrong.items()}
        near, mixed = (
            np.mean([cohen_kappa_score(drawn[a], drawn[b]) for a, b in KINDS[kind]])
            for kind in ("near", "mixed")
        )
        none += near <= mixed
    assert 0.02 < none / 300 < 0.98
    assert row["p"] == pytest.approx(none / 300, abs=0.1)


def test_an_effect_is_found_and_none_is_not():
    found = overlap_tests(erring(0), KINDS, reference="near")
    assert found.filter(measure="kappa_stratified")["low"].min() > 0
    assert found["p"].max() < 0.01
    assert found["low"].min() > 0
    turned = overlap_tests(erring(0), KINDS, reference="far").filter(other="near")
    assert turned["p"].min() > 0.99
    assert turned["high"].max() < 0


def test_p_is_level_where_there_is_nothing_to_find():
    """Of 200 data sets of models that are all alike, about one in twenty has p below .05."""
    hits = dict.fromkeys(MEASURES, 0)
    for seed in range(200):
        table = overlap_tests(erring(seed, n=150, shared=0.0), KINDS, reference="near", draws=200)
        for row in table.filter(other="far").iter_rows(named=True):
            hits[row["measure"]] += row["p"] < 0.05
    assert all(2 <= count <= 22 for count in hits.values()), hits


def test_sign_flips_are_level_where_differences_are_not_symmetric():
    """Equal shares of uncommon mistakes, of which one kind has them on more images, but on fewer pairs at a time:
    differences on an image are 1, 1/3 and -2/3. Of 400 data sets 5 % have p below .05, give or take three standard
    deviations."""
    rng = np.random.default_rng(0)
    kinds = {"near": [("a", "b"), ("a", "c"), ("b", "c")], "far": [("x", "y")]}
    hits = 0
    for _ in range(400):
        wrong = {name: torch.zeros(150, dtype=torch.bool) for name in "abcxy"}
        wrong["a"] = torch.from_numpy(rng.random(150) < 0.3)  # on 2 of 3 pairs: a share of .2
        wrong["x"] = torch.from_numpy(rng.random(150) < 0.2)
        hits += overlap_tests(wrong, kinds, reference="near", draws=200)["p"][0] < 0.05
    assert 7 <= hits <= 33, hits


def stratified_by_kind(noise, shared, seed=0, n=40_000):
    """Kappa stratified by the others' errors, of two P, a P and an R, two R: mean over pairs; about 16 % err."""
    rng = np.random.default_rng(seed)
    hard, common = rng.normal(size=(2, n))
    wrong = {}
    for name in ("P0", "P1", "P2", "R0", "R1", "R2"):
        own = noise[name[0]] * rng.normal(size=n) + hard + shared * common * (name[0] == "P")
        wrong[name] = torch.from_numpy(own > np.quantile(own, 0.84))
    truth = torch.zeros(n, dtype=torch.int64)
    rows = mistakes({name: own.long() for name, own in wrong.items()}, truth, bootstrap=0).filter(scope="all")
    found = {}
    for a, b, kappa in rows.select("a", "b", "kappa_stratified").iter_rows():
        found.setdefault(a[0] + b[0], []).append(kappa)
    return {kinds: np.mean(values) for kinds, values in found.items()}


def test_what_stratifying_by_difficulty_leaves():
    """Four judges say too little of the difficulty to take all of it out; docs/numerics.md quotes these."""
    alike = stratified_by_kind({"P": 1, "R": 1}, shared=0)
    assert 0.1 < alike["PP"] < 0.16  # 0, were the difficulty itself known
    assert max(alike.values()) - min(alike.values()) < 0.02  # but no kind of pair is favoured
    steadier = stratified_by_kind({"P": 0.5, "R": 1}, shared=0)
    assert (
        0.1 < steadier["PP"] - steadier["PR"] < 0.2
    )  # P vary less: they keep more, without sharing anything
    sharing = stratified_by_kind({"P": 1, "R": 1}, shared=0.8)
    assert sharing["PP"] - sharing["PR"] > 0.12  # what P alone share is found
    assert sharing["RR"] - sharing["PR"] > 0.07  # and R seem to share, judged by P that err on other images


def test_models_without_mistakes_have_no_kappa_to_test():
    wrong = {name: torch.zeros(20, dtype=torch.bool) for name in "abcxyz"}
    table = overlap_tests(wrong, KINDS, reference="near")
    kappas = table.filter(table["measure"] != "uncommon_share")
    assert all(kappas[name].is_nan().all() for name in ("value", "effect", "low", "high", "p"))
    assert table.filter(measure="uncommon_share")["p"].to_list() == [1.0, 1.0]


def test_runs_repeat():
    first, second = (overlap_tests(erring(0), KINDS, reference="near") for _ in range(2))
    assert first.equals(second)
    other = torch.Generator().manual_seed(5)
    assert not first.equals(overlap_tests(erring(0), KINDS, reference="near", generator=other))


def test_bad_input():
    wrong = erring(0, n=10)
    with pytest.raises(BadInput) as caught:
        overlap_tests({**wrong, "a": wrong["a"][:5]}, {"near": [("a", "v")], "far": []}, reference="neer")
    text = str(caught.value)
    for part in ("no kind 'neer'", "'far' has no pairs", "no model 'v'", "same decisions"):
        assert part in text
    with pytest.raises(BadInput, match="bool"):
        overlap_tests({name: own.long() for name, own in wrong.items()}, KINDS, reference="near")
    with pytest.raises(BadInput, match="at least 1 draw"):
        overlap_tests(wrong, KINDS, reference="near", draws=0)
