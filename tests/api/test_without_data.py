"""Plans for data that aren't at hand: their official sizes, and that nothing comes of it but a plan."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from transferscope.api.run import RunOptions, run_study
from transferscope.cli.plan import show_plan
from transferscope.core.datasets import ASSUMED, assuming_official_data, describe
from transferscope.core.errors import BadInput
from transferscope.data.sets import chexpert, domainnet, imagefolder, imagenet
from transferscope.study.file import load_study, template_study
from transferscope.study.plan import plan

NOWHERE = Path("no/such/folder")


@pytest.mark.parametrize(
    ("domain", "sizes"),
    [
        ("clipart", (33_525, 14_604)),
        ("infograph", (36_023, 15_582)),
        ("painting", (50_000, 21_850)),
        ("quickdraw", (50_000, 50_000)),
        ("real", (50_000, 50_000)),
        ("sketch", (48_212, 20_916)),
    ],
)
def test_domainnet(domain: str, sizes: tuple[int, int]) -> None:
    about = domainnet.assumed(domainnet.Options(root=NOWHERE, domain=domain))
    assert (about.num_train, about.num_test) == sizes
    assert about.num_classes == 345


def test_the_domains_sum_to_what_is_published() -> None:
    """586,575 images: Peng et al. 2019 give 0.6 million, and the lists' lines sum to this."""
    assert sum(map(sum, domainnet.OFFICIAL_SIZES.values())) == 586_575


def test_domainnet_whole() -> None:
    options = domainnet.Options(root=NOWHERE, domain="real", max_train_size=None, max_test_size=None)
    about = domainnet.assumed(options)
    assert (about.num_train, about.num_test) == (120_906, 52_041)


def test_imagenet() -> None:
    about = imagenet.assumed(imagenet.Options(root=NOWHERE))
    assert (about.num_train, about.num_test, about.num_classes) == (1_281_167, 50_000, 1000)


def test_chexpert() -> None:
    about = chexpert.assumed(chexpert.Options(root=NOWHERE))
    assert (about.num_train, about.num_test, about.metric) == (50_000, 50_000, "mean_auc")
    assert chexpert.assumed(chexpert.Options(root=NOWHERE, test_from="valid")).num_test == 234
    assert chexpert.OFFICIAL_SIZES["both"] == 223_414 == sum(chexpert.OFFICIAL_SIZES.values()) / 2


def test_more_than_chexpert_holds_is_refused() -> None:
    with pytest.raises(BadInput, match=r"lists 223,414 images; train_size 200,000 and test_size 50,000"):
        chexpert.assumed(chexpert.Options(root=NOWHERE, train_size=200_000))


def test_nothing_is_assumed_unasked_or_afterwards() -> None:
    options = imagenet.Options(root=NOWHERE)
    for _ in range(2):
        with pytest.raises(BadInput, match="does not exist"):
            describe(options)
        with assuming_official_data():
            assert describe(options).fingerprint == ASSUMED


def test_what_is_there_is_read(tmp_path: Path) -> None:
    with assuming_official_data(), pytest.raises(BadInput, match="no folder named train and none named val"):
        describe(imagenet.Options(root=tmp_path))


def test_data_that_nothing_is_known_of_are_an_error() -> None:
    with assuming_official_data(), pytest.raises(BadInput, match="does not exist"):
        describe(imagefolder.Options(root=NOWHERE))


def test_such_a_plan_is_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(template_study("paper-chexpert"))
    with assuming_official_data():
        study = load_study("study.yaml")
        assert plan(study).assumed == ("chexpert", "imagenet")
        with pytest.raises(BadInput, match="chexpert, imagenet: the data aren't at hand"):
            run_study(study, RunOptions(out=tmp_path / "out", workers=1, device="cpu"), Console())
    assert not (tmp_path / "out").exists()
    with pytest.raises(BadInput, match=r"train\.csv can't be read"):
        plan(study)


def test_plan_names_what_is_assumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(template_study("paper-chexpert"))
    printed = io.StringIO()
    with assuming_official_data():
        show_plan(load_study("study.yaml"), None, console=Console(file=printed, width=160))
    assert "with their official sizes and classes: chexpert, imagenet" in printed.getvalue()
    assert "pre-train on ImageNet: 1 task" in printed.getvalue()
    assert "search the rate of RI-T on chexpert: 2 tasks" in printed.getvalue()
