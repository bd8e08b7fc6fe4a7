"""`normalization: pretrained` is what the weights' own configuration states, or an error that says what to give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networks
import pytest
import torch
from torch import nn

from transferscope.core.config import Study
from transferscope.core.errors import BadInput
from transferscope.study.file import load_study, resolved_yaml, study_of
from transferscope.study.plan import plan

RESNET = {"name": "torchvision", "model": "resnet18"}


def read(network: dict[str, Any], hub: dict[str, Any] | None, how: Any = "pretrained", **data: Any) -> Study:
    options = {"dataset": "rendered_digits", "image_size_px": 32, **data}
    source: dict[str, Any] = {"weights": hub}
    if hub is None:
        source = {"data": options, "pretraining": {"epochs": 1, "learning_rate": 0.1}}
    document = {
        "name": "small",
        "network": network,
        "normalization": how,
        "source": source,
        "targets": {"digits": {"data": options}},
        "training": {"epochs": 1, "learning_rate": {"p_t": 0.01, "ri_t": 0.01}},
        "seeds": [0, 1],
        "analyses": {"mistakes": None},
    }
    return study_of(document, "study.yaml")


def timm_network(model: str) -> dict[str, Any]:
    return {"name": "timm", "model": model}


@networks.needs_timm
@pytest.mark.parametrize(
    ("network", "hub", "expected"),
    [
        (timm_network("resnet18.a1_in1k"), "default", "imagenet"),
        (timm_network("resnet18"), "a1_in1k", "imagenet"),
        (timm_network("tf_efficientnet_lite0"), "default", "unit"),
        (timm_network("vit_base_patch16_clip_224"), "openai", (0.48145466, 0.4578275, 0.40821073)),
        (RESNET, "IMAGENET1K_V1", "imagenet"),
        (RESNET, "default", "imagenet"),
    ],
)
def test_what_timm_and_torchvision_state(network: dict[str, Any], hub: str, expected: Any) -> None:
    how = read(network, {"hub": hub}).normalization
    assert (how if isinstance(how, str) else how.mean) == expected


@networks.needs_timm
def test_a_file_states_what_its_tag_does(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "p.pt")
    file = {"file": str(tmp_path / "p.pt")}
    assert read(timm_network("tf_efficientnet_lite0.in1k"), file).normalization == "unit"
    with pytest.raises(
        BadInput, match=r"study.yaml:.*normalization: nothing is known .*p\.pt expects\. Give one of"
    ):
        read(timm_network("tf_efficientnet_lite0"), file)


@networks.needs_timm
@pytest.mark.parametrize(
    ("network", "hub", "problem"),
    [
        (
            timm_network("resnet18"),
            None,
            "for weights that are given, and P is trained here. Give one of per_image",
        ),
        (timm_network("resnet18"), "a9_in1k", "timm has no weights 'a9_in1k' of resnet18"),
        (RESNET, "V1", "torchvision has no weights 'V1' of resnet18"),
        ({"name": "fixup_resnet"}, "default", "nothing is known of the normalization that default expects"),
    ],
)
def test_where_nothing_is_stated(network: dict[str, Any], hub: str | None, problem: str) -> None:
    with pytest.raises(BadInput, match=problem):
        read(network, None if hub is None else {"hub": hub})


@networks.needs_timm
def test_a_repository_that_is_not_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        BadInput, match=r"HF_HUB_OFFLINE is set.*hf download no/where config.json.* Or: Give one of"
    ):
        read(timm_network("resnet18"), {"hub": "hf-hub:no/where"})


def test_numbers_of_ones_own(tmp_path: Path) -> None:
    network = {"name": "fixup_resnet", "depths": [1], "widths": [4]}
    own = {"mean": [0.1, 0.2, 0.3], "std": [0.2, 0.3, 0.4]}
    study = read(network, None, own)
    (tmp_path / "study.yaml").write_text(resolved_yaml(study))
    assert load_study(tmp_path / "study.yaml") == study
    with pytest.raises(
        BadInput, match=r"normalization: mean and std must be of each channel: 2 here, .* have 3"
    ):
        read(network, None, {"mean": [0.1, 0.2], "std": [0.2, 0.3]})
    with pytest.raises(BadInput, match=r"normalization\.std\[1\]: expected more than 0, got 0"):
        read(network, None, {"mean": [0.1, 0.2], "std": [0.2, 0]})
    with pytest.raises(BadInput, match=r"normalization: .*'imagnet'"):
        read(network, None, "imagnet")


@networks.needs_timm
def test_the_key_is_that_of_the_numbers() -> None:
    def keys(how: Any) -> set[str]:
        study = read(timm_network("tf_efficientnet_lite0"), {"hub": "default"}, how)
        return {task.key for task in plan(study).graph}

    half = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}
    assert keys("pretrained") == keys("unit") == keys(half)
    assert keys("unit") != keys({**half, "mean": [0.5, 0.5, 0.4]})
