"""Networks that were trained elsewhere: the numbers of the study that trained them."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import networks
import polars as pl
import pytest
import tiny
import torch
from command_line import Call
from polars.testing import assert_frame_equal
from rich.console import Console
from safetensors.torch import load_file, save_file
from tiny import TinyRun

from transferscope import compare, compare_studies
from transferscope.analyses.criticality import analysis as criticality
from transferscope.api.compare import comparison_study
from transferscope.api.run import RunOptions, run_study
from transferscope.core.config import AnalysisConfig
from transferscope.core.errors import BadInput
from transferscope.core.runs import Run
from transferscope.study.file import load_study

DATA = "rendered_digits"
SETTINGS = [
    "data.image_size_px=16",
    "data.train_size=50",
    "data.test_size=60",
    "network.depths=[1,1]",
    "network.widths=[4,4]",
    "analyses.barriers.alphas=[0,0.5,1]",
    "analyses.barriers.bootstrap_draws=100",
    "analyses.barriers.basin_points=2",
    "analyses.barriers.basin_draws=2",
    "analyses.barriers.plane_size=2",
    "analyses.criticality.alphas=[0,1]",
    "analyses.criticality.sigmas=[0,0.1]",
    "analyses.criticality.relative_sigmas=[0,1]",
    "analyses.criticality.draws=1",
    "analyses.criticality.num_images=16",
    "analyses.criticality.bootstrap_draws=100",
    "analyses.feature_similarity.num_images=16",
    "analyses.feature_similarity.permutations=2",
    "analyses.mistakes.bootstrap_draws=100",
]
ONLY_DISTANCE = [text for text in SETTINGS if not text.startswith("analyses.")]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The tiny study's instances, trained here."""
    folder = tmp_path_factory.mktemp("trained")
    document = tiny.document("parameter_distance", "barriers", "mistakes")
    document["targets"] = {"digits": document["targets"]["digits"]}
    return tiny.run(tiny.write(folder / "tiny.yaml", document), folder / "out")


@pytest.fixture(scope="module")
def files(trained: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Their weights as files: a and b are P-T 0 and P-T 1, c is RI-T 2, init is what a was started from."""
    folder = tmp_path_factory.mktemp("files")
    wanted = {"a": ("pretrained", 0), "b": ("pretrained", 1), "c": ("random", 2)}
    found = {}
    for task in trained.plan.graph:
        run = task.payload
        if not isinstance(run, Run) or (run.source is None and run.data.dataset == "letters"):
            continue
        for name, (initialization, seed) in wanted.items():
            if (run.initialization, run.seed, run.init_seed) == (initialization, seed, seed):
                final = trained.store.path(task.key) / f"checkpoint-{run.recipe.epochs}.safetensors"
                found[name] = Path(shutil.copy(final, folder / f"{name}.safetensors"))
                if name == "a":
                    init = trained.store.path(task.key) / "checkpoint-0.safetensors"
                    found["init"] = Path(shutil.copy(init, folder / "init.safetensors"))
    torch.save({"state_dict": {f"module.{k}": v for k, v in load_file(found["b"]).items()}}, folder / "b.pt")
    return {**found, "b": folder / "b.pt"}


GIVEN = {"P-T 0": "lr-low", "P-T 1": "seed 1", "RI-T 2": "baseline"}
"""What the user calls the instances; one name has a word in it that the report uses too."""


def same(left: pl.DataFrame, right: pl.DataFrame, columns: list[str]) -> None:
    """Equal rows for the pairs that both have, those on the left by their given names."""
    right = right.with_columns(pl.col("a", "b").replace(GIVEN))
    keys = [
        name for name in ("a", "b", "module", "definition", "checkpoint", "scope") if name in left.columns
    ]
    left, right = (table.select(*keys, *columns).sort(keys) for table in (left, right))
    assert_frame_equal(left, right.join(left.select(keys), on=keys, how="semi"), check_exact=True)


def test_given_instances_have_the_numbers_of_the_study_that_trained_them(
    trained: TinyRun, files: dict[str, Path], tmp_path: Path
) -> None:
    found = compare(
        model="fixup_resnet",
        data=DATA,
        instances=dict(zip(GIVEN.values(), (files[name] for name in "abc"), strict=True)),
        init=files["init"],
        from_scratch=["baseline"],
        overrides=SETTINGS,
        out=tmp_path,
    )
    assert found.exit_code == 0
    ours = {path.stem: pl.read_parquet(path) for path in (trained.out / "tables").glob("*.parquet")}
    pairs = [("lr-low", "baseline"), ("lr-low", "seed 1"), ("seed 1", "baseline")]
    assert found.tables["barriers"].select("a", "b").unique().sort("a", "b").rows() == pairs
    trained_pairs = found.tables["parameter_distance"].filter(pl.col("b") != "P")
    same(trained_pairs, ours["parameter_distance"], ["distance", "relative"])
    same(
        found.tables["barriers"], ours["barriers"], ["barrier_metric", "barrier_loss", "metric_a", "metric_b"]
    )
    same(found.tables["mistakes"], ours["mistakes"], ["both_wrong", "only_a", "only_b", "kappa"])
    assert set(found.tables["criticality"]["kind"]) == {"P-T"}
    assert found.tables["criticality_freezing"]["instance"].unique().sort().to_list() == ["lr-low", "seed 1"]
    # the user's names everywhere, and no other: tables, figures, captions, the chart of tasks
    written = [found.report, *(tmp_path / "figures").glob("*.svg"), *(tmp_path / "tables").glob("*.csv")]
    for path in written:
        assert re.search(r"\b(P-T|RI-T) \d", path.read_text()) is None, path
    text = re.sub("</?span[^>]*>", "", found.report.read_text())
    assert "P-T: lr-low (" in text
    known = pl.read_parquet(tmp_path / "tables" / "barriers.parquet").row(0, named=True)
    assert known["a"] in text.partition('id="networks-heading"')[2].partition("</section>")[0]
    assert found.networks.filter(network=known["a"])["value"].item() == pytest.approx(known["metric_a_raw"])
    assert "maps of seed 1" not in text  # the maps are of the first
    assert "maps of lr-low" in text
    assert "from 2 P-T and 1 RI-T" in text
    assert "2 networks; at least 3 are needed" in text
    assert list(found.study.instances or ()) == [*GIVEN.values()]  # the study file is read again
    # the count of networks is called so, on the console, in a notebook and beside another study
    printed = io.StringIO()
    console = Console(file=printed, width=200)
    assert run_study(found.study, RunOptions(out=tmp_path, workers=1, device="cpu"), console) == 0
    assert " networks " in printed.getvalue()
    assert " seeds " not in printed.getvalue()
    assert "networks" in found.findings._repr_html_()
    page = compare_studies(tmp_path, tmp_path, out=tmp_path / "beside").report.read_text()
    page = page.partition("<main")[2].partition('id="differences"')[0].replace(GIVEN["P-T 1"], "")
    assert "its own interval over networks" in page
    assert not re.search(r"[^<>]*\bseeds?\b[^<>]*", page)


@pytest.mark.usefixtures("empty_figures")
def test_without_the_init_there_is_no_criticality(files: dict[str, Path], tmp_path: Path) -> None:
    found = compare(
        model="fixup_resnet",
        data=DATA,
        instances={"a": load_file(files["a"]), "b": files["b"]},  # a state dict at hand
        analyses=["parameter_distance", "mistakes", "spectra"],
        overrides=ONLY_DISTANCE,
        out=tmp_path,
    )
    assert found.exit_code == 0
    assert set(found.tables["parameter_distance"]["pair"]) == {"P-T & P-T"}
    assert found.tables["parameter_distance"]["cosine"].is_null().all()
    assert "What they were started from was not given" in found.report.read_text()


@pytest.mark.usefixtures("empty_figures")
def test_the_command_line_compares_and_reruns_nothing(
    call: Call, files: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["compare", "--model", "fixup_resnet", "--data", DATA]
    command += [f"{name}={files[name]}" for name in ("a", "b")]
    command += ["--out", str(out), "--workers", "1", "--analysis", "parameter_distance"]
    command += [part for text in ONLY_DISTANCE for part in ("--set", text)]
    printed = []
    for expected in ("4 tasks succeeded", "0 tasks succeeded, 4 were cached"):
        done = call(*command)
        assert done.code == 0, done.err
        assert expected in done.out
        printed.append(done.out)
    first, second = printed
    assert re.search(r"about [\d,]+ image passes", first)
    assert "your networks, accuracy on 60 test images (always '" in first
    assert re.search(
        r"^  a  \d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\], \d\.\d{3} on the training images", first, re.M
    )
    assert "image passes" not in second
    again = load_study(out / "study.yaml")
    assert list(again.instances or ()) == ["a", "b"]
    report = call("report", out)
    assert report.code == 0, report.err


def refusal(**changed: object) -> str:
    arguments: dict[str, object] = {
        "model": "fixup_resnet",
        "data": DATA,
        "overrides": ONLY_DISTANCE,
        **changed,
    }
    with pytest.raises(BadInput) as caught:
        comparison_study(**arguments)  # type: ignore[arg-type]
    return str(caught.value)


def test_maps_of_criticality_are_coarse_unless_asked_otherwise(files: dict[str, Path]) -> None:
    given = {"a": files["a"], "b": files["b"]}

    def of_criticality(*overrides: str) -> AnalysisConfig:
        study = comparison_study(
            model="fixup_resnet", data=DATA, instances=given, init=files["init"], overrides=overrides
        )
        return study.analyses["criticality"]

    found = of_criticality("analyses.criticality.num_images=64")
    assert isinstance(found, criticality.Config)
    assert (found.alphas, found.sigmas, found.num_images) == ((0, 0.5, 1), (0, 0.01, 0.05), 64)
    assert len(criticality.Config().alphas) > len(found.alphas), "a study's are finer"


def test_what_is_not_there_is_said(files: dict[str, Path], tmp_path: Path) -> None:
    missing = refusal(instances={"a": "nowhere.pt", "b": files["b"]})
    assert "nowhere.pt is no file; relative paths start at the current directory, /" in missing
    # no line of a study file that nobody wrote
    assert missing.startswith("compare: instances.a.weights.file: ")
    assert "no instance has that name" in refusal(instances={"a": files["a"]}, from_scratch=["x"])
    assert "needs networks that are trained here" in refusal(
        instances={"a": files["a"], "b": files["b"]}, analyses=["feature_reuse"]
    )
    assert "needs what the instances were started from" in refusal(
        instances={"a": files["a"], "b": files["b"]}, analyses=["criticality"]
    )


def test_weights_that_do_not_fit_are_named_before_anything_is_computed(
    call: Call, files: dict[str, Path], tmp_path: Path
) -> None:
    state = load_file(files["a"])
    other_head = {
        name: tensor[:3].clone() if 10 in tensor.shape else tensor for name, tensor in state.items()
    }
    save_file(other_head, tmp_path / "other.safetensors")
    save_file(
        {f"stranger.{name}": t for name, t in list(state.items())[1:]}, tmp_path / "renamed.safetensors"
    )
    given = {
        "a": files["a"],
        "other": tmp_path / "other.safetensors",
        "renamed": tmp_path / "renamed.safetensors",
    }
    command = ["compare", "--model", "fixup_resnet", "--data", DATA]
    command += [f"{name}={place}" for name, place in given.items()]
    command += ["--out", str(tmp_path / "out"), "--workers", "1", "--analysis", "parameter_distance"]
    command += [part for text in ONLY_DISTANCE for part in ("--set", text)]
    done = call(*command)
    assert done.code == 2
    first, second = done.err.splitlines()
    assert first.startswith("error: the weights in ")
    assert "other.safetensors (other, of 10 classes) don't fit the network. 2 of another shape: " in first
    assert first.endswith("Is the network the same, and are the classes, the channels and the image size?")
    assert "renamed.safetensors (renamed, of 10 classes) don't fit the network. 1 missing: " in second
    assert "instances.renamed.weights.key_map" in second
    assert not any((tmp_path / "out" / "store").glob("objects/*/*"))


def test_weights_of_a_study_that_do_not_fit_are_said_before_any_training(
    files: dict[str, Path], tmp_path: Path
) -> None:
    state = load_file(files["a"])
    first = next(name for name in state if name.startswith("stem"))
    save_file({**state, first: torch.zeros(1, 2, 3)}, tmp_path / "p.safetensors")
    document = tiny.document("parameter_distance")
    document["source"] = {"weights": {"file": str(tmp_path / "p.safetensors")}}
    with pytest.raises(
        BadInput, match=rf"p.safetensors don't fit .* 1 of another shape: {first} \(1, 2, 3\)"
    ):
        tiny.run(tiny.write(tmp_path / "tiny.yaml", document), tmp_path / "out")
    assert not any((tmp_path / "out" / "store").glob("objects/*/*"))


@pytest.mark.usefixtures("empty_figures")
def test_weights_that_two_layers_share_are_stored_and_counted_once(tmp_path: Path) -> None:
    given = {}
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        given[name] = networks.Tied(10)
        torch.save(given[name].state_dict(), tmp_path / f"{name}.pt")
    found = compare(
        model="networks:Tied",
        data=DATA,
        instances={name: tmp_path / f"{name}.pt" for name in given},
        analyses=["parameter_distance", "spectra"],
        overrides=[text for text in ONLY_DISTANCE if text.startswith("data.")]
        + [f"instances.{name}.weights.allow_untrained=true" for name in given],
        out=tmp_path / "out",
    )
    assert found.exit_code == 0
    rows = {row["module"]: row for row in found.tables["parameter_distance"].iter_rows(named=True)}
    parameters = [
        [p.detach().double() for name, p in model.named_parameters() if not name.startswith("classifier")]
        for model in given.values()
    ]
    squares = sum(float((a - b).square().sum()) for a, b in zip(*parameters, strict=True))
    assert rows["all"]["distance"] == pytest.approx(squares**0.5, rel=1e-12)
    assert rows["all"]["num_parameters"] == sum(p.numel() for p in parameters[0])
    assert rows["second"]["num_parameters"] == 4
    assert found.tables["spectra"]["convolution"].unique().sort().to_list() == ["first", "stem"]
