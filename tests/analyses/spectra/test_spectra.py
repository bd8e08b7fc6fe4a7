"""The analysis of spectra: convolutions that start at 0, and a claim that compares like with like."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import torch
from torch import nn

from transferscope.analyses.contract import Split
from transferscope.analyses.spectra import analysis as spectra
from transferscope.metrics.landscape.spectrum import conv_singular_values


def network(seed: int, *, zero: bool) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1))
        if zero:
            nn.init.zeros_(net[2].weight)
    return net.eval()


def measure(**networks: nn.Module) -> dict[str, pl.DataFrame]:
    subjects: Any = {
        name.replace("_", "-", 1).replace("_", " "): SimpleNamespace(model=lambda net=net: net)
        for name, net in networks.items()
    }
    test = Split(inputs=torch.zeros(2, 3, 5, 5), labels=torch.zeros(2), ids=("0", "1"))
    data: Any = SimpleNamespace(test=test)
    found = spectra.measure(subjects, data, spectra.Settings(), torch.Generator())
    return {name: pl.DataFrame(rows, infer_schema_length=None) for name, rows in found.items()}


def test_a_convolution_of_zeros_has_no_shape() -> None:
    table = measure(RI=network(0, zero=True), RI_T=network(1, zero=False))
    assert "RI" in table["spectra"]["instance"].to_list()
    zero = table["spectra"].row(by_predicate=(pl.col("kind") == "RI") & (pl.col("depth") == 1), named=True)
    assert zero["largest"] == zero["mean"] == 0
    assert math.isnan(zero["mean_relative"])
    assert table["spectra"]["starts_at_zero"].to_list() == [False, True, False, True]
    quantiles = table["spectra_quantiles"].filter((pl.col("kind") == "RI") & (pl.col("depth") == 1))
    assert quantiles["value"].unique().to_list() == [0]
    assert quantiles["relative"].is_nan().all()


def test_quantiles_are_the_spectrum() -> None:
    tables = measure(RI_T=network(1, zero=False))
    for (_depth,), part in tables["spectra_quantiles"].group_by(["depth"]):
        row = tables["spectra"].row(by_predicate=pl.col("depth") == part["depth"][0], named=True)
        assert part["value"][0] == row["largest"]
        assert part["value"].is_sorted(descending=True)
        assert part["relative"].to_list() == pytest.approx((part["value"] / row["largest"]).to_list())


class Backwards(nn.Module):
    """Two convolutions that are called in the other order than they are defined, and one that is not called."""

    def __init__(self, wrap: Any) -> None:
        super().__init__()
        self.second = wrap(nn.Conv2d(4, 6, 3, stride=2, padding=2, dilation=2, groups=2))
        self.first = wrap(nn.Conv2d(3, 4, 3, padding=1))
        self.unused = nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def drawn(wrap: Any, seed: int) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Backwards(wrap).eval()


def test_the_order_is_that_of_the_pass_and_the_operator_is_the_networks_own() -> None:
    net = drawn(lambda conv: conv, 0)
    table = measure(RI=net)["spectra"]
    assert table.select("convolution", "depth").rows() == [("first", 0), ("second", 1)]
    # 5 px and stride 2: the operator on 6 px, with 3 x 3 outputs of 6 channels
    expected = conv_singular_values(net.second.weight, 6, stride=2, dilation=2, groups=2)
    row = table.row(1, named=True)
    assert (row["input_height"], row["num_values"]) == (5, 54)
    assert row["largest"] == float(expected[0])
    assert row["mean"] == float(expected.mean())


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("normalize", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_weights_that_hooks_compute_are_those_of_the_loaded_state(normalize: Any) -> None:
    """The hooks keep the weight of the last pass: the state is loaded into a network that has another one."""
    trained, other = drawn(normalize, 1), drawn(normalize, 2)
    image = torch.zeros(1, 3, 5, 5)
    trained(image)
    other(image)
    other.load_state_dict(trained.state_dict())
    table = measure(RI=other)["spectra"]
    assert table["largest"][0] == pytest.approx(
        float(conv_singular_values(trained.first.weight, 5)[0]), rel=1e-6
    )


def rows(p_t: list[float], ri_t: list[float]) -> pl.DataFrame:
    """One number a convolution, the same for three seeds up to a little in P-T."""
    found = [
        {
            "target": "t",
            "kind": kind,
            "seed": seed,
            "convolution": f"conv{depth}",
            "starts_at_zero": depth == 1,
            "mean": value * (1 + 0.001 * (seed - 1) * (kind == "P-T")),
            "mean_relative": value,
        }
        for kind, values in (("P-T", p_t), ("RI-T", ri_t))
        for seed in range(3)
        for depth, value in enumerate(values)
    ]
    return pl.DataFrame(found)


def finding(table: pl.DataFrame) -> Any:
    return spectra.findings({"spectra": table}, None)[0]  # type: ignore[arg-type]


def test_the_claim_is_about_the_singular_values_themselves() -> None:
    found = finding(rows(p_t=[0.5, 0.8, 0.3], ri_t=[0.25, 0.1, 0.3]))
    assert found.effect == pytest.approx(2 ** ((1 + 3 + 0) / 3), rel=1e-4)
    assert found.verdict == "holds"
    assert "over the largest one of their convolution: 2.52x" in found.note


def test_a_convolution_without_a_spectrum_in_one_kind_counts_for_neither() -> None:
    found = finding(rows(p_t=[0.5, 0.9, 0.3], ri_t=[0.25, 0.0, 0.3]))
    assert found.effect == pytest.approx(2**0.5, rel=1e-4)
