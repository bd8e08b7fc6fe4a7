"""A study file: each mistake at its place in plain words, all at once; what wins over what; the way back."""

# ruff: noqa: E501  a message is easier to compare on one line

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_plugins import STUDY, RulerConfig, SquaresOptions, plugins  # noqa: F401  a fixture
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transferscope.core.config import LearningRates, Study
from transferscope.core.errors import BadInput
from transferscope.study.file import load_study, resolved_yaml
from transferscope.study.yaml_positions import MAX_BYTES

pytestmark = pytest.mark.usefixtures("plugins")

Load = Callable[..., Study]


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str | bytes = STUDY, **options: Any) -> Study:
    Path("study.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_study("study.yaml", **options)


def problems(text: str | bytes = STUDY, **options: Any) -> Sequence[str]:
    with pytest.raises(BadInput) as caught:
        load(text, **options)
    return caught.value.problems


def changed(old: str, new: str) -> str:
    assert STUDY.count(old) == 1, f"{old!r} must stand in the study once"
    return STUDY.replace(old, new)


def test_a_study_is_read_with_its_plug_ins_own_options() -> None:
    study = load()
    assert study.targets["near"].data == SquaresOptions(root=Path("pictures"))
    assert study.analyses["ruler"] == RulerConfig(targets=("near",))
    assert study.training.weight_decay == 1e-4
    assert study.training.learning_rate == LearningRates(p_t=0.01, ri_t=0.1)
    assert study.variant is None


def test_an_analysis_without_options_takes_the_defaults() -> None:
    assert load(changed("  ruler:\n    targets: [near]\n", "  ruler:\n")).analyses["ruler"] == RulerConfig()


ONE_PROBLEM = [
    # what the models refuse
    ("epochs: 3", "epoch: 3", [
        "17:1: training.epochs: missing key. Passes over the training data.",
        "18:3: training.epoch: unknown key. Did you mean 'epochs'?",
    ]),
    ("epochs: 3", "epochs: 0", ["18:3: training.epochs: expected at least 1, got 0"]),
    ("epochs: 3", "epochs: 3.0", ["18:3: training.epochs: expected a whole number, got 3.0"]),
    ("epochs: 3", "epochs: true", ["18:3: training.epochs: expected a whole number, got true"]),
    ("epochs: 3", "epochs: '3'", ["18:3: training.epochs: expected a whole number, got '3'"]),
    ("epochs: 3", "epochs:", ["18:3: training.epochs: expected a whole number, got nothing"]),
    ("epochs: 3", "epochs: [3]", ["18:3: training.epochs: expected a whole number, got a list"]),
    ("1e-4", ".nan", ["19:3: training.weight_decay: expected a finite number, got nan"]),
    ("1e-4", "1e999", ["19:3: training.weight_decay: expected a finite number, got inf"]),
    ("1e-4", "x" * 99, [f"19:3: training.weight_decay: expected a number, got '{'x' * 59}..."]),
    ("p_t: 0.01,", "p_t: 0, zzz: 1,", [
        "20:19: training.learning_rate.p_t: expected more than 0, got 0",
        "20:27: training.learning_rate.zzz: unknown key. Valid: layer_statistics, p_t, permuted_weights, ri_t.",
    ]),
    ("{p_t: 0.01, ri_t: 0.1}", "0.1", ["20:3: training.learning_rate: expected a mapping, got 0.1"]),
    ("epochs: 3", "epochs: 3\n  schedule: cosin", [
        "19:3: training.schedule: expected 'multistep', 'cosine' or 'constant', got 'cosin'. Did you mean 'cosine'?",
    ]),
    ("epochs: 3", "epochs: 3\n  keep_epochs: 2", ["19:3: training.keep_epochs: expected 'all' or a list, got 2"]),
    ("epochs: 3", "epochs: 3\n  keep_epochs: [1, two]", [
        "19:20: training.keep_epochs[1]: expected a whole number, got 'two'",
    ]),
    ("epochs: 3", "epochs: 3\n  keep_epochs: [4]", [
        "19:3: training.keep_epochs: keep_epochs [4] lie beyond the last epoch, 3",
    ]),
    ("epochs: 3", "epochs: 3\n  milestones: [0.5, 1]", [
        "19:21: training.milestones[1]: expected less than 1, got 1",
    ]),
    ("seeds: [0, 1]", "seeds: [0, -1]", ["21:12: seeds[1]: expected at least 0, got -1"]),
    ("seeds: [0, 1]", "seeds: [0, 0]", ["21:1: seeds: seeds [0, 0] must differ from each other"]),
    ("seeds: [0, 1]", "seeds: []", ["1:1: a study needs source, training and seeds, or instances that are trained already; missing: seeds"]),
    ("seeds: [0, 1]", "seeds: 0", ["21:1: seeds: expected a list, got 0"]),
    ("seeds: [0, 1]\n", "", ["1:1: a study needs source, training and seeds, or instances that are trained already; missing: seeds"]),
    ("name: a study", "name: [a]", ["1:1: name: expected text, got a list"]),
    ("name: a study", "name: no\nnam: x", ["2:1: nam: unknown key. Did you mean 'name'?"]),
    # plug-ins: networks
    ("  name: fixup_resnet", "  name: fixup_resne", [
        "3:3: network.name: unknown network 'fixup_resne'. Did you mean 'fixup_resnet'?",
    ]),
    ("  name: fixup_resnet", "  name: fixup_resnet\n  depth: [1]", [
        "4:3: network.depth: unknown key. Did you mean 'depths'?",
    ]),
    ("  name: fixup_resnet", "  name: fixup_resnet\n  depths: [1]", [
        "4:3: network.depths: depths has 1 stages and widths 4: must be as many",
    ]),
    ("  name: fixup_resnet", "  name: 3", ["3:3: network.name: expected text, got 3"]),
    ("network:\n  name: fixup_resnet", "network: fixup_resnet", [
        "2:1: network: expected a mapping with the key 'name', got 'fixup_resnet'",
    ]),
    # data sets
    ("  data: {dataset: squares}\n  pre", "  data: {dataset: triangles}\n  pre", [
        "5:10: source.data.dataset: unknown data set 'triangles'. Valid: squares.",
    ]),
    ("  data: {dataset: squares}\n  pre", "  data: {root: x}\n  pre", [
        "5:3: source.data.dataset: missing key. Valid: squares.",
    ]),
    ("  data: {dataset: squares}\n  pre", "  data: squares\n  pre", [
        "5:3: source.data: expected a mapping with the key 'dataset', got 'squares'",
    ]),
    ("  data: {dataset: squares}\n  pre", "  pre", ["4:1: source: data missing: give data and "
     "pretraining to pre-train here, or weights that there are already"]),
    ("root: pictures", "root: 3", ["13:7: targets.near.data.root: expected a path, got 3"]),
    ("root: pictures", "rooot: x", ["13:7: targets.near.data.rooot: unknown key. Did you mean 'root'?"]),
    ("likeness_rank: 2", "likeness_rank: 0", ["16:5: targets.far.likeness_rank: expected at least 1, got 0"]),
    # analyses
    ("  ruler:", "  rular:", ["23:3: analyses.rular: unknown analysis 'rular'. Did you mean 'ruler'?"]),
    ("  ruler:\n    targets: [near]", "  ruler: near", [
        "23:3: analyses.ruler: expected a mapping of options, or nothing for the defaults, got 'near'",
    ]),
    ("  ruler:\n    targets: [near]", "  - ruler", ["22:1: analyses: expected a mapping, got a list"]),
    ("  ruler:\n    targets: [near]", "  {}", ["22:1: analyses: expected 1 or more entries, got an empty mapping"]),
    ("targets: [near]", "unit: pxx", [
        "24:5: analyses.ruler.unit: expected 'px' or 'mm', got 'pxx'. Did you mean 'px'?",
    ]),
    ("targets: [near]", "sizes_px: [1, hole, 2.5]", [
        "24:19: analyses.ruler.sizes_px[1]: expected a whole number or 'whole', got 'hole'. Did you mean 'whole'?",
        "24:25: analyses.ruler.sizes_px[2]: expected a whole number or 'whole', got 2.5",
    ]),
    ("targets: [near]", "sizes_px: 3", ["24:5: analyses.ruler.sizes_px: expected a list, got 3"]),
    # what the parts are to each other
    ("targets: [near]", "targets: [nea, far]", [
        "24:15: analyses.ruler.targets[0]: the study has no target 'nea'. Did you mean 'near'?",
    ]),
    ("targets: [near]", "targets: [far, far]", ["24:20: analyses.ruler.targets[1]: far stands here twice"]),
    ("targets: [near]", "targets: []", [
        "24:5: analyses.ruler.targets: nothing is chosen; leave the key out for all targets",
    ]),
    ("targets: [near]", "seeds: [1, 2]", ["24:16: analyses.ruler.seeds[1]: the study has no seed 2. Valid: 0, 1."]),
    ("likeness_rank: 2", "seeds: [2]", ["16:13: targets.far.seeds[0]: the study has no seed 2. Valid: 0, 1."]),
    ("targets: [near]", "seeds: 0", ["24:5: analyses.ruler.seeds: expected at least 1 or a list, got 0"]),
    ("targets: [near]", "sizes_px: [99]", ["24:5: analyses.ruler.sizes_px: 99 is too long for a ruler"]),
    ("targets: [near]", "sizes_px: [98]", ["23:3: analyses.ruler: 98 broke the ruler"]),
    ("root: pictures", "root: absent", [
        "11:5: targets.near.data: root: absent is no folder",
        "11:5: targets.near.data: and nothing else is either",
    ]),
    ("root: pictures", "root: locked", [
        "11:5: targets.near.data: cannot be read: [Errno 13] Permission denied: 'locked'",
    ]),
    ("root: pictures", "num_classes: 1", ["11:5: targets.near.data: expected at least 2 classes, found 1 (class 0)"]),
    ("root: pictures", "size_px: 16", [
        "11:5: targets.near.data: images must be of one size in source and target: 16 px here, 8 px in the source",
    ]),
    ("root: pictures", "channels: 1", [
        "11:5: targets.near.data: images must have as many channels in source and target: 1 here, 3 in the source",
    ]),
    # variants
    ("variants:\n  quick:", "variants: fast\n#", ["25:1: variants: expected a mapping of names to overrides, got 'fast'"]),
    ("variants:\n", "variants:\n  slow: 3\n", [
        "26:3: variants.slow: expected a mapping of dotted keys to values, got 3",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), ONE_PROBLEM)
def test_a_mistake_is_told_at_its_place(old: str, new: str, expected: list[str]) -> None:
    text = changed(old, new)
    if new.endswith("#"):
        text = text[: text.index("#")]
    assert list(problems(text)) == [f"study.yaml:{problem}" for problem in expected]


def test_one_finding_is_enough_where_an_image_may_have_several() -> None:
    one = "root: pictures\n      num_classes: 1\n      multi_label: true"
    assert load(changed("root: pictures", one)).targets["near"].data.model_dump()["num_classes"] == 1


def test_all_mistakes_are_told_at_once_from_top_to_bottom() -> None:
    text = STUDY.replace("near:", "near: 3\n  neither:").replace("squares}", "squares, size_px: x}")
    text = text.replace("epochs: 3", "epochs: 3\n  learning_rat: 1").replace(
        "ruler:\n", "ruler:\n    unitt: 3\n", 1
    )
    assert list(problems(text, overrides=["seeds=x", "name.x=1", "foo"])) == [
        "study.yaml:5:28: source.data.size_px: expected a whole number, got 'x'",
        "study.yaml:10:3: targets.near: expected a mapping, got 3",
        "study.yaml:16:30: targets.far.data.size_px: expected a whole number, got 'x'",
        "study.yaml:20:3: training.learning_rat: unknown key. Did you mean 'learning_rate'?",
        "study.yaml:26:5: analyses.ruler.unitt: unknown key. Did you mean 'unit'?",
        "--set seeds=x: seeds: expected a list, got 'x'",
        "--set name.x=1: name: is 'a study', not a mapping; set it as a whole",
        "--set foo: expected key=value with a dotted key, such as training.epochs=3",
    ]


def test_mistakes_between_the_parts_are_told_at_once_too() -> None:
    text = STUDY.replace("root: pictures", "root: absent").replace("likeness_rank: 2", "likeness_rank: 2 # x")
    text = text.replace("targets: [near]", "targets: [nowhere]\n    seeds: [7]")
    assert [re.sub(r": .*", "", problem) for problem in problems(text)] == [
        "study.yaml:11:5",
        "study.yaml:11:5",
        "study.yaml:24:15",
        "study.yaml:25:13",
    ]


def test_a_variant_wins_over_the_file_and_set_over_the_variant() -> None:
    assert load().training.epochs == 3
    quick = load(variant="quick")
    assert (quick.variant, quick.training.epochs) == ("quick", 1)
    assert quick.analyses["ruler"].model_dump()["sizes_px"] == (1, 2)
    both = load(variant="quick", overrides=["training.epochs=7", "training.epochs=8"])
    assert (both.variant, both.training.epochs) == ("quick", 8)


def test_set_reads_yaml_and_makes_keys_where_the_models_have_them() -> None:
    study = load(
        overrides=[
            "targets.far.learning_rate.p_t=1e-3",
            "targets.far.learning_rate.ri_t=1",
            "targets.third={data: {dataset: squares, root: a=b}}",
            "analyses.ruler.targets=",
            "description='x: y'",
        ]
    )
    assert study.targets["far"].learning_rate == LearningRates(p_t=0.001, ri_t=1.0)
    assert study.targets["third"].data == SquaresOptions(root=Path("a=b"))
    assert study.analyses["ruler"].targets is None
    assert study.description == "x: y"


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("training.epochs=x", "training.epochs: expected a whole number, got 'x'"),
        ("training.epoch=1", "training.epoch: unknown key. Did you mean 'epochs'?"),
        ("trainin.epochs=1", "trainin: unknown key. Did you mean 'training'?"),
        ("training={epochs: 1}", "training: expected either learning_rate or rate_search, neither came. learning_rate: "
         "{p_t: 0.02, ri_t: 0.1} gives the base rate of each kind; rate_search: {rates: [0.02, 0.05, 0.1]} searches "
         "them"),
        ("seeds=[0, x]", "seeds[1]: expected a whole number, got 'x'"),
        ("seeds.0=3", "seeds: is a list, not a mapping; set it as a whole"),
        ("network.name=x", "network.name: unknown network 'x'. Valid: fixup_resnet, fixup_resnet101, "
         "fixup_resnet18, fixup_resnet34, fixup_resnet50, module, timm, torchvision."),
        ("analyses.ruler.targets=[x]", "analyses.ruler.targets[0]: the study has no target 'x'. Valid: far, near."),
        ("targets.near.data.root=absent", "targets.near.data: root: absent is no folder"),
        ("name=[", "--set name:1:2: not YAML: while parsing a flow node, expected the node content, but found "
         "'<stream end>'"),
        ("name=!!python/none x", "--set name:1:1: the tag '!!python/none' does not fit or is not allowed; leave tags out"),
        ("=3", "expected key=value with a dotted key, such as training.epochs=3"),
        ("a..b=3", "expected key=value with a dotted key, such as training.epochs=3"),
        ("variant=quick", "variant: cannot be set here; choose a variant with --variant"),
        ("variants.quick.x=3", "variants.quick.x: cannot be set here; choose a variant with --variant"),
    ],
)  # fmt: skip
def test_a_mistake_on_the_command_line_names_the_override(override: str, problem: str) -> None:
    found = problems(overrides=[override])
    place = "study.yaml:11:5" if "absent" in override else f"--set {override}"
    assert found[0] == f"{place}: {problem}"


def test_a_mistake_in_a_variant_is_told_in_the_variant() -> None:
    text = changed("training.epochs: 1", "training.epochs: x\n    training.learning_rate: {p_t: 1, ri_t: y}")
    assert list(problems(text, variant="quick")) == [
        "study.yaml:27:5: training.epochs: expected a whole number, got 'x'",
        "study.yaml:28:38: training.learning_rate.ri_t: expected a number, got 'y'",
    ]
    assert load(text).training.epochs == 3


def test_an_unknown_variant_is_answered_with_those_there_are() -> None:
    assert problems(variant="quik") == (
        "study.yaml:25:1: variants: unknown variant 'quik'. Did you mean 'quick'?",
    )
    assert problems(variant="big") == ("study.yaml:25:1: variants: unknown variant 'big'. Valid: quick.",)
    without = STUDY[: STUDY.index("variants")]
    assert problems(without, variant="quick") == (
        "study.yaml:1:1: variants: unknown variant 'quick'. The file has no variants.",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "study.yaml: the file is empty; `transferscope init FILE` writes one to start from"),
        ("# nothing", "study.yaml: the file is empty; `transferscope init FILE` writes one to start from"),
        ("- a", "study.yaml:1:1: expected a mapping with the keys of a study, got a list"),
        ("\n\nword", "study.yaml:3:1: expected a mapping with the keys of a study, got 'word'"),
        (b"name: \xe9", "study.yaml:1:7: not UTF-8 text; save the file as UTF-8"),
        (b"name: \x00", "study.yaml:1:7: not YAML: the character U+0000 is not allowed"),
        ("name: [", "study.yaml:1:8: not YAML: while parsing a flow node, expected the node content, but found "
         "'<stream end>'"),
        ("name: a\nname: b", "study.yaml:2:1: name: the key stands here again; first at 1:1"),
        (b"x" * 10_000_000, "study.yaml: larger than 256 KiB, which no study file is"),
        (b"x" * (MAX_BYTES + 1), "study.yaml: larger than 256 KiB, which no study file is"),
        ("[" * 10_000, "study.yaml:1:25: not YAML: nested more than 24 levels deep"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_study_is_refused(content: str | bytes, problem: str) -> None:
    assert problems(content) == (problem,)


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("absent.yaml", "absent.yaml: no such file; `transferscope init FILE` writes one to start from"),
        (".", ".: a directory; expected a study file"),
        ("a\0b", "'a\\x00b': cannot be read: "),
        ("x" * 300, f"'{'x' * 300}': cannot be read: "),
    ],
)
def test_a_path_that_is_no_file_is_refused(path: str, problem: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_study(path)
    (found,) = caught.value.problems
    assert found.startswith(problem)


@pytest.mark.parametrize("overrides", [[], ["description='é\u2028 no: 1e-4'", "name='012'"]])
@pytest.mark.parametrize("variant", [None, "quick"])
def test_the_resolved_study_is_read_back_to_the_same(variant: str | None, overrides: list[str]) -> None:
    study = load(variant=variant, overrides=overrides)
    assert load(resolved_yaml(study)) == study


def test_the_resolved_study_says_its_defaults() -> None:
    resolved = yaml.safe_load(resolved_yaml(load()))
    assert resolved["training"]["momentum"] == 0.9
    assert resolved["targets"]["far"]["data"]["root"] == "here"
    assert resolved["analyses"]["ruler"]["unit"] == "px"
    assert "variants" not in resolved


WORDS = st.sampled_from(
    [
        "squares",
        "ruler",
        "near",
        "far",
        "fixup_resnet",
        "all",
        "px",
        "whole",
        "dataset",
        "data",
        "epochs",
        "p_t",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def _places(data: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in nested data."""
    if isinstance(data, dict):
        return [place for key, value in data.items() for place in [(data, key), *_places(value)]]
    if isinstance(data, list):
        return [place for key, value in enumerate(data) for place in [(data, key), *_places(value)]]
    return []


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    data = copy.deepcopy(yaml.safe_load(STUDY))
    for _ in range(draw(st.integers(1, 3))):
        places = _places(data)
        if not places:
            break
        container, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["replace", "delete", "rename"]))
        if how == "replace" or isinstance(container, list):
            container[key] = draw(VALUES)
        else:
            value = container.pop(key)
            if how == "rename":
                container[draw(WORDS)] = value
    return yaml.safe_dump(data)


@st.composite
def _damaged(draw: st.DrawFn) -> str:
    start = draw(st.integers(0, len(STUDY)))
    end = draw(st.integers(start, min(len(STUDY), start + 40)))
    return STUDY[:start] + draw(st.text("ab0-:{}[]*&!\"'#|> \n\t.", max_size=8)) + STUDY[end:]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    text=_mutated() | _damaged(),
    variant=st.none() | st.just("quick"),
    overrides=st.lists(
        st.builds("{}={}".format, st.lists(WORDS, min_size=1, max_size=4).map(".".join), WORDS)
        | st.text(max_size=12),
        max_size=2,
    ),
)
def test_any_change_gives_a_study_or_bad_input(text: str, variant: str | None, overrides: list[str]) -> None:
    try:
        study = load(text.encode("utf-8", "replace"), variant=variant, overrides=overrides)
    except BadInput as error:
        places = [re.match(r"study\.yaml|--set ", problem) for problem in error.problems]
        if not places or not all(places):
            raise AssertionError(f"without a place: {error.problems}") from error
    else:
        assert load(resolved_yaml(study)) == study
