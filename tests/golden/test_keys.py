"""Keys of results, as literals: a change here means that every user's results are computed anew.

Where that is meant, raise the version of what gives other numbers, and put the new keys here.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from transferscope.analyses.mistakes import analysis as mistakes
from transferscope.core.config import Study, Training
from transferscope.core.runs import UNSHUFFLED, shuffled_view
from transferscope.data.sets import letters, rendered_digits
from transferscope.models.build import FixupResNetOptions
from transferscope.study import plan as plan_module
from transferscope.study import task as task_module
from transferscope.study.file import load_study
from transferscope.study.plan import plan

STUDY: dict[str, Any] = {
    "name": "golden",
    "network": {"name": "fixup_resnet"},
    "source": {"data": {"dataset": "letters"}, "pretraining": {"epochs": 2, "learning_rate": 0.3}},
    "targets": {"digits": {"data": {"dataset": "rendered_digits"}}},
    "training": {"epochs": 3, "learning_rate": {"p_t": 0.1, "ri_t": 0.2}},
    "seeds": [0],
    "analyses": {
        "mistakes": None,
        "feature_reuse": {"block_sizes_px": [8]},
    },
}
KEYS = {
    "data letters": "80150fe7ee412f548942bb71f0e91f766a80b277a1aac47fba794fcd5eaa8d08",
    "data digits": "0c85947ca95fd91e5f678add85abe5931482119fa80ea8d41c60c27f3f3fb3e9",
    "pre-train on letters": "5248f64d897c231773aa2f0968a2316360a511ec948d6ab672e6d595fc793cc9",
    "train P-T digits seed 0": "446aa9739542ccee286fc94917fa9929e10d3f2a9cf1e9b01fd0c0dfc61948f3",
    "train RI-T digits seed 0": "6b904ab3741b7098592dc96e424a532f070b6119808879e838c5aeb5c4fcaa5c",
    "train RI-T digits blocks 8 px seed 0": "c093d3212149b2719a45cc400b21305d9f294e5d03780e2e28cc6d898c3a4d03",
    "train RI-T digits pixels and channels shuffled seed 0": (
        "2d49fa19978231a86b1cc3226020b13d3a2ab7d118308ea41de1a3f41325c7cf"
    ),
    "mistakes digits": "12d30bddd45cec4312716194a2aba213bb2fef3daf233c413cae2e98702def61",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def study(folder: Path, data: dict[str, Any] = STUDY, **options: Any) -> Study:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return load_study(path, **options)


def keys(made: Study) -> dict[str, str]:
    return {task.title: task.key for task in plan(made).graph}


def changed(folder: Path, before: dict[str, str], **options: Any) -> set[str]:
    """Titles of the tasks whose key is another one than before."""
    after = keys(study(folder, **options))
    assert before.keys() == after.keys()
    return {title for title in before if before[title] != after[title]}


def test_keys_are_what_they_were(folder: Path) -> None:
    found = keys(study(folder))
    assert {title: found[title] for title in KEYS} == KEYS


def test_a_default_that_is_spelt_out_is_the_same(folder: Path) -> None:
    data = copy.deepcopy(STUDY)
    data["network"] |= {"widths": [8, 16, 32, 64], "zero_head": False}
    data["training"] |= {"momentum": 0.9, "schedule": "multistep", "keep_epochs": [3]}
    data["source"]["data"]["seed"] = 0
    data["source"]["pretraining"]["keep_epochs"] = [0]
    data["analyses"]["mistakes"] = {"bootstrap_draws": 1000}
    assert keys(study(folder, data)) == keys(study(folder))


def test_names_for_people_are_not_in_a_key(folder: Path) -> None:
    data = copy.deepcopy(STUDY)
    data |= {"name": "another", "description": "Quite another study.", "variants": {"v": {"name": "other"}}}
    data["targets"] = {"numbers": {**data["targets"]["digits"], "likeness_rank": 3}}
    data["training"]["rates_chosen_by"] = "A coin."
    assert set(keys(study(folder, data, variant="v")).values()) == set(keys(study(folder)).values())


def test_the_order_of_the_file_is_not_in_a_key(folder: Path) -> None:
    def reversed_(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: reversed_(value[key]) for key in reversed(value)}
        return value

    assert keys(study(folder, reversed_(STUDY))) == keys(study(folder))


def test_a_block_as_large_as_the_image_is_the_unshuffled_run(folder: Path) -> None:
    data = copy.deepcopy(STUDY)
    data["analyses"]["feature_reuse"]["block_sizes_px"] = [8, 32]
    assert keys(study(folder, data)) == keys(study(folder))
    made = study(folder)
    assert shuffled_view(made, "digits", 32, seed=5) == UNSHUFFLED
    assert shuffled_view(made, "digits", 16, seed=5).seed == 1239


def test_a_second_target_has_seeds_of_its_own_and_the_first_keeps_its_results(folder: Path) -> None:
    data = copy.deepcopy(STUDY)
    data["targets"]["symbols"] = {"data": {"dataset": "symbols"}}
    found = keys(study(folder, data))
    assert {title: found[title] for title in KEYS} == KEYS
    assert found["train P-T symbols seed 0"] == (
        "a2af6c70eb39ff508dc43866c96cc9435cf8887e8f346fdbd8443b75ac3ba383"
    )


def test_other_rows_of_the_same_study_do_not_change_a_key(folder: Path) -> None:
    more = keys(study(folder, overrides=["seeds=[0,1]", "analyses.parameter_distance={}"]))
    before = keys(study(folder))
    titles = set(before) - {"mistakes digits"}  # it has more instances now
    assert {title: more[title] for title in titles} == {title: before[title] for title in titles}


@pytest.mark.parametrize(
    ("override", "also_changed"),
    [
        ("source.data.seed=1", {"data letters", "pre-train on letters"}),
        ("source.pretraining.seed=1", {"pre-train on letters"}),
        ("source.pretraining.learning_rate=0.2", {"pre-train on letters"}),
    ],
)
def test_what_the_pre_training_is_goes_on_to_all_that_rests_on_it(
    folder: Path, override: str, also_changed: set[str]
) -> None:
    before = keys(study(folder))
    found = changed(folder, before, overrides=[override])
    on_p = {title for title in before if " P-T " in title or title.startswith(("mistakes", "feature_reuse"))}
    assert found == also_changed | on_p


@pytest.mark.parametrize(
    "override",
    ["training.momentum=0.8", "training.clip_norm=1", "training.keep_epochs=[1]", "training.warmup_steps=1"],
)
def test_the_recipe_is_in_the_key(folder: Path, override: str) -> None:
    found = changed(folder, keys(study(folder)), overrides=[override])
    assert {"train P-T digits seed 0", "train RI-T digits seed 0"} <= found
    assert not found & {"data letters", "data digits", "pre-train on letters"}


def test_each_kind_has_its_own_rate_in_its_key(folder: Path) -> None:
    found = changed(folder, keys(study(folder)), overrides=["training.learning_rate.ri_t=0.3"])
    assert "train RI-T digits seed 0" in found
    assert "train P-T digits seed 0" not in found


@pytest.fixture
def default(request: pytest.FixtureRequest) -> Iterator[tuple[type[BaseModel], ...]]:
    """Gives the fields of some models another default, and puts the old one back."""
    models, field, value = request.param
    old = models[0].model_fields[field].default
    for model in models:
        model.model_fields[field].default = value
        model.model_rebuild(force=True)
    yield models
    for model in models:
        model.model_fields[field].default = old
        model.model_rebuild(force=True)


@pytest.fixture
def before(folder: Path) -> dict[str, str]:
    return keys(study(folder))


@pytest.mark.parametrize(
    ("default", "title"),
    [
        (((mistakes.Settings, mistakes.Config), "bootstrap_draws", 500), "mistakes digits"),
        (((letters.Options,), "seed", 7), "data letters"),
        (((rendered_digits.Options,), "train_size", 599), "data digits"),
        (((FixupResNetOptions,), "zero_head", True), "pre-train on letters"),
    ],
    indirect=["default"],
)
def test_a_changed_default_changes_the_key(
    before: dict[str, str], default: object, title: str, folder: Path
) -> None:
    assert title in changed(folder, before)


@pytest.mark.parametrize(
    "default", [((Training,), "momentum", 0.8), ((Training,), "drop_factor", 0.2)], indirect=True
)
def test_a_changed_default_of_the_recipe_changes_the_key(
    before: dict[str, str], default: object, folder: Path
) -> None:
    old = study(folder)
    training = Training.model_validate(STUDY["training"])
    after = keys(old.model_copy(update={"training": training}))
    assert after["train RI-T digits seed 0"] != before["train RI-T digits seed 0"]


@pytest.mark.parametrize(
    ("module", "name", "title", "unchanged"),
    [
        (plan_module, "TRAIN_VERSION", "train RI-T digits seed 0", "data digits"),
        (letters, "VERSION", "data letters", "data digits"),
        (mistakes, "VERSION", "mistakes digits", "train RI-T digits seed 0"),
        (task_module, "KEY_FORMAT", "data letters", None),
    ],
)
def test_a_raised_version_changes_the_keys_of_what_it_computes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, title: str, unchanged: str | None
) -> None:
    before = keys(study(folder))
    monkeypatch.setattr(module, name, getattr(module, name) + 1)
    found = changed(folder, before)
    assert title in found
    assert unchanged not in found


def test_files_of_the_users_that_change_are_other_data(folder: Path) -> None:
    import numpy as np

    path = folder / "images.npz"

    def save(shade: int) -> None:
        images = np.full((6, 32, 32, 3), shade, np.uint8)
        labels = np.arange(6) % 2
        np.savez(
            path,
            train_images=images,
            train_labels=labels,
            test_images=images,
            test_labels=labels,
            extra=np.zeros(shade),
        )

    data = copy.deepcopy(STUDY)
    data["targets"] = {"digits": {"data": {"dataset": "arrays", "path": str(path)}}}
    save(1)
    one = keys(study(folder, data))
    assert keys(study(folder, data)) == one
    save(2)
    other = keys(study(folder, data))
    assert other["data digits"] != one["data digits"]
    assert other["data letters"] == one["data letters"]
