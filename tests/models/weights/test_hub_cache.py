"""Published weights from the cache of the Hugging Face hub, laid out as the hub's own library does, offline."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import networks
import torch
from safetensors.torch import save_file

from transferscope.models.build import network_from_text
from transferscope.models.init import random_init

COMMITS = {"main": "1" * 40, "v2": "2" * 40}
MEAN, STD = [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
CONFIG = {
    "architecture": "test_resnet",
    "num_classes": 7,
    "pretrained_cfg": {"mean": MEAN, "std": STD, "input_size": [3, 32, 32], "classifier": "fc"},
}

# Run in a process of its own: the library reads its environment when it is imported.
LOADING = """
import json, sys
import torch
from transferscope.core.config import Weights
from transferscope.models.build import network_from_text
from transferscope.models.weights.given import given_network
from transferscope.models.networks.timm import import_timm
from transferscope.study.file import study_of

timm = import_timm()
options = network_from_text("timm:test_resnet.r160_in1k")
found = {}
for name, weights, theirs in [
    ("own repository", Weights(hub="hf-hub:an/example"), "hf-hub:an/example"),
    ("its other revision", Weights(hub="hf-hub:an/example", revision="v2"), "hf-hub:an/example@v2"),
    ("timm's tag", Weights(hub="r160_in1k"), "test_resnet.r160_in1k"),
    ("timm's default", Weights(hub="default"), "test_resnet.r160_in1k"),
]:
    ours = given_network(options, weights, 4, 3, 32)
    reference = timm.create_model(theirs, pretrained=True).state_dict()
    same = [torch.equal(ours.state[key], reference[key]) for key in reference if not key.startswith("fc.")]
    found[name] = [all(same), len(same), ours.file.parent.name]
for hub in ("hf-hub:an/example", "r160_in1k", "hf-hub:an/other"):
    document = json.loads(sys.argv[1])
    document["source"]["weights"]["hub"] = hub
    how = study_of(document, "study.yaml").normalization
    found[hub] = how if isinstance(how, str) else how.model_dump(mode="json")
print(json.dumps(found))
"""


def put_in_cache(home: Path, repository: str, revision: str, files: dict[str, Path | bytes]) -> None:
    """One revision of a repository: blobs by their content, links to them by name, and what the revision is called."""
    folder = home / "hub" / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / COMMITS[revision]
    for path in (folder / "blobs", folder / "refs", snapshot):
        path.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / revision).write_text(COMMITS[revision])
    for name, source in files.items():
        content = source if isinstance(source, bytes) else source.read_bytes()
        blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).symlink_to(Path("../../blobs") / blob.name)


def weights(path: Path, seed: int, num_classes: int) -> Path:
    """A file of weights that don't look as a new network's do."""
    model = random_init(network_from_text("timm:test_resnet"), num_classes, 3, seed, 32)
    generator = torch.Generator().manual_seed(seed)
    state = {
        name: tensor + 0.05 * torch.rand(tensor.shape, generator=generator)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in model.state_dict().items()
    }
    save_file(state, path)
    return path


@networks.needs_timm
def test_weights_and_their_normalization_are_what_timm_loads_from_the_cache(tmp_path: Path) -> None:
    home = tmp_path / "hf"
    config = json.dumps(CONFIG).encode()
    for revision, seed in (("main", 1), ("v2", 2)):
        file = weights(tmp_path / f"{revision}.safetensors", seed, 7)
        put_in_cache(home, "an/example", revision, {"model.safetensors": file, "config.json": config})
    tagged = weights(tmp_path / "tagged.safetensors", 3, 1000)
    put_in_cache(home, "timm/test_resnet.r160_in1k", "main", {"model.safetensors": tagged})
    preprocessor = json.dumps({"image_mean": MEAN, "image_std": STD}).encode()
    put_in_cache(home, "an/other", "main", {"preprocessor_config.json": preprocessor, "config.json": b"{}"})
    document = {
        "name": "cached",
        "network": {"name": "timm", "model": "test_resnet.r160_in1k"},
        "normalization": "pretrained",
        "source": {"weights": {}},
        "targets": {"digits": {"data": {"dataset": "rendered_digits", "image_size_px": 32}}},
        "training": {"epochs": 1, "learning_rate": {"p_t": 0.01, "ri_t": 0.01}},
        "seeds": [0],
        "analyses": {"mistakes": None},
    }
    # HOME: nothing of the user's own cache or token
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", LOADING, json.dumps(document)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name, commit in {
        "own repository": COMMITS["main"],
        "its other revision": COMMITS["v2"],
        "timm's tag": COMMITS["main"],
        "timm's default": COMMITS["main"],
    }.items():
        same, compared, folder = found[name]
        assert same, name
        assert compared > 20
        assert folder == commit
    stated = {"mean": MEAN, "std": STD}
    assert found["hf-hub:an/example"] == found["hf-hub:an/other"] == stated
    # this tag's own configuration: half and half, which has a name
    assert found["r160_in1k"] == "unit"
