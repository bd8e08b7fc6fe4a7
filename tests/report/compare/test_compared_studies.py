"""Two studies side by side: equal axes, what differs, and what stands against a comparison."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import polars as pl
import pytest
from made_findings import made_finding

from transferscope.analyses.claims import not_measured
from transferscope.analyses.contract import all_claims
from transferscope.analyses.theme import draw_specification, themed
from transferscope.report.compare.differences import ReadStudy, claim_pairs, differences, warnings
from transferscope.report.compare.side_by_side import claims_table
from transferscope.report.page.equal_axes import with_equal_axes

CLAIMS = all_claims()
BY_ID = {claim.id: claim for claim in CLAIMS}

CLAIM = BY_ID["p_t_are_close"]


def chart(*values: float, **scale: Any) -> alt.LayerChart:
    rows = pl.DataFrame({"x": range(len(values)), "y": list(values), "high": [2 * value for value in values]})
    y = alt.Y("y:Q", scale=alt.Scale(**scale)) if scale else alt.Y("y:Q")
    base = alt.Chart(rows).encode(x="x:Q")
    return base.mark_line().encode(y=y) + base.mark_rule().encode(y=y, y2="high:Q")


def labels(spec: dict[str, Any]) -> list[str]:
    return re.findall(r">([−\d.]+)</text>", draw_specification(spec))


def y_scales(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [layer["encoding"]["y"].get("scale", {}) for layer in spec["layer"]]


def test_both_axes_hold_the_numbers_of_both() -> None:
    specs = themed(chart(1.0, 2.0)), themed(chart(5.0, 7.0, 6.0))
    before = copy.deepcopy(specs)
    assert labels(specs[0]) != labels(specs[1])
    a, b = with_equal_axes(*specs)
    assert specs == before, "left as they are"
    assert labels(a) == labels(b)
    for scale in (*y_scales(a), *y_scales(b)):
        assert scale["domain"] == [0.0, 14.0], "0 to the highest upper end"


def test_an_axis_without_zero_stays_without() -> None:
    a, b = with_equal_axes(themed(chart(1.0, 2.0, zero=False)), themed(chart(5.0, 7.0, zero=False)))
    assert [scale["domain"] for scale in (*y_scales(a), *y_scales(b))] == [[1.0, 14.0]] * 4


def test_ranges_that_the_charts_ask_for_are_joined() -> None:
    a, b = with_equal_axes(themed(chart(1.0, 2.0, domain=[0, 3])), themed(chart(9.0, 7.0, domain=[1, 5])))
    assert [scale["domain"] for scale in (*y_scales(a), *y_scales(b))] == [[0.0, 5.0]] * 4


def test_a_logarithmic_axis_has_no_zero() -> None:
    a, _ = with_equal_axes(themed(chart(0.0, 0.1, 2.0, type="log")), themed(chart(0.01, 7.0, type="log")))
    assert y_scales(a)[0]["domain"] == [0.01, 14.0]
    assert y_scales(a)[0]["type"] == "log"


def test_colours_mean_the_same_in_both_heat_maps() -> None:
    def heat_map(high: float) -> alt.Chart:
        rows = pl.DataFrame({"x": ["a", "b"], "v": [0.5, high]})
        return alt.Chart(rows).mark_rect().encode(x="x:N", color="v:Q")

    both = with_equal_axes(themed(heat_map(1.0)), themed(heat_map(9.0)))
    assert [spec["encoding"]["color"]["scale"]["domain"] for spec in both] == [[0.5, 9.0]] * 2
    assert all("scale" not in spec["encoding"]["x"] for spec in both), "names stay each study's own"


def test_what_has_no_counterpart_is_left_alone() -> None:
    one, two = themed(chart(1.0, 2.0)), themed(alt.vconcat(chart(1.0, 3.0), chart(2.0, 4.0)))
    assert with_equal_axes(one, two) == (one, two)
    parts = with_equal_axes(two, themed(alt.vconcat(chart(8.0, 9.0), chart(math.nan, math.nan))))[0][
        "vconcat"
    ]
    assert [y_scales(part)[0].get("domain") for part in parts] == [[0.0, 18.0], [0.0, 8.0]]


def study(label: str, over: str = "seed", **replaced: Any) -> ReadStudy:
    document = {
        "name": f"Study {label}",
        "variant": None,
        "seeds": [0, 1, 2],
        "network": {"name": "fixup_resnet"},
        "source": {"data": {"dataset": "letters"}},
        "targets": {"near": {"data": {"dataset": "digits", "seed": 0}}},
        "training": {"epochs": 16},
        "analyses": {"parameter_distance": {}, "barriers": {"num_images": 200}},
    } | replaced
    finding = made_finding(
        claim=CLAIM, verdict="holds", effect=0.3, low=0.2, high=0.4, num_seeds=3, num_images=50
    )
    return ReadStudy(
        label=label,
        folder=Path("runs") / label,
        document=document,
        findings={CLAIM.id: finding},
        tables={},
        provenance={},
        over=over,
    )


def test_studies_that_differ_in_their_names_alone() -> None:
    assert differences(study("A"), study("B")) == []
    assert warnings(study("A"), study("B")) == []
    assert warnings(study("A"), study("A")) == ["A and B are the same folder."]


@pytest.mark.parametrize(
    ("replaced", "key", "values", "warning"),
    [
        ({"seeds": [0, 1]}, "seeds", ("[0, 1, 2]", "[0, 1]"), "Other n: 3 seeds in A, 2 in B"),
        ({"seeds": [3, 4, 5]}, "seeds", ("[0, 1, 2]", "[3, 4, 5]"), "Other seeds."),
        (
            {"targets": {"near": {"data": {"dataset": "digits", "seed": 1}}}},
            "targets.near.data.seed",
            ("0", "1"),
            "Other data under the same name: near.",
        ),
        (
            {"targets": {"far": {"data": {"dataset": "digits", "seed": 0}}}},
            "targets.near.data.dataset",
            ("digits", "none"),
            "Other targets: only A has near; only B has far.",
        ),
        ({"source": None}, "source.data.dataset", ("letters", "none"), "Other pre-training"),
        ({"training": {"epochs": 3}}, "training.epochs", ("16", "3"), "Another training recipe"),
        (
            {"analyses": {"parameter_distance": {}, "barriers": {"num_images": 9}}},
            "analyses.barriers.num_images",
            ("200", "9"),
            "Other settings of barriers.",
        ),
        (
            {"analyses": {"parameter_distance": {}}},
            "analyses.barriers.num_images",
            ("200", "none"),
            "Only A runs barriers.",
        ),
    ],
)
def test_what_differs_is_named_and_warned_of(
    replaced: dict[str, Any], key: str, values: tuple[str, str], warning: str
) -> None:
    a, b = study("A"), study("B", **replaced)
    found = {one.key: (one.a, one.b) for one in differences(a, b)}
    assert found[key] == values
    assert any(line.startswith(warning) for line in warnings(a, b))


def test_a_reduced_variant_is_warned_of() -> None:
    assert warnings(study("A"), study("B", variant="quick"))[0].startswith("B ran a reduced variant")


def test_networks_that_were_given_are_counted_as_such() -> None:
    def given(label: str, *names: str) -> ReadStudy:
        return study(label, "network", seeds=[0], instances={name: {"kind": "p_t"} for name in names})

    two, three = given("A", "x", "y"), given("B", "x", "y", "z")
    said = warnings(two, three)
    assert "Other n: 2 networks in A, 3 in B. More networks give narrower intervals." in said
    assert not any("seed" in line for line in [*said, *warnings(two, given("B", "x", "other"))])
    mixed = "Other n: 2 networks in A, 3 seeds in B. More of them give narrower intervals."
    assert mixed in warnings(two, study("B"))
    more = replace(three.findings[CLAIM.id], num_seeds=5)
    three = replace(three, findings={CLAIM.id: more})
    remarks = {pair.claim.id: pair.remark for pair in claim_pairs(two, three)}
    assert remarks[CLAIM.id] == "3 and 5 networks"
    remarks = {pair.claim.id: pair.remark for pair in claim_pairs(study("A"), three)}
    assert remarks[CLAIM.id] == "3 seeds and 5 networks"


def test_claims_of_both() -> None:
    a, b = study("A"), study("B")
    own = replace(b.findings[CLAIM.id], p_value=0.3, num_seeds=5, low=math.nan)
    other, third = CLAIMS[:2]
    a = replace(
        a, findings={**a.findings, other.id: not_measured(other, "no"), third.id: not_measured(third, "no")}
    )
    b = replace(b, findings={other.id: replace(own, claim=other), CLAIM.id: own})
    pairs = {pair.claim.id: pair for pair in claim_pairs(a, b)}
    assert list(pairs) == [CLAIM.id, other.id, third.id]
    assert (pairs[CLAIM.id].change, pairs[CLAIM.id].remark) == ("changed", "3 and 5 seeds")
    assert pairs[other.id].change == "only in B"
    assert pairs[third.id].change == "in neither"
    rows = {row["claim"]: row for row in claims_table(list(pairs.values())).iter_rows(named=True)}
    assert rows[CLAIM.id]["effect_a"] == 0.3
    assert (rows[other.id]["verdict_a"], rows[other.id]["verdict_b"]) == ("not measured", "undecided")
    assert rows[CLAIM.id]["num_seeds_b"] == 5
    assert math.isnan(rows[CLAIM.id]["low_b"])
    same = claim_pairs(study("A"), study("B"))
    assert [pair.change for pair in same if pair.a is not None] == ["same"]
