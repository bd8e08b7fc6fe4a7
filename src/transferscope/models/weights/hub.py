"""Published weights as a file on this machine: from its cache, or fetched where that is allowed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

from transferscope.core.config import Weights
from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.options import NetworkOptions

FILES = ("model.safetensors", "pytorch_model.bin")
"""Names of the weights in a repository of the Hugging Face hub."""
SETTING = "source.weights"
"""Where a study says what its pre-trained weights are."""
DEFAULT = "default"
"""The weights that a library means when it isn't told which."""


def published_file(options: NetworkOptions, weights: Weights, setting: str = SETTING) -> Path:
    """The file with the published weights.

    Args:
        options: the network.
        weights: which weights.
        setting: the key in a study that says so.

    Raises:
        BadInput: there are no such weights, or they can't be fetched; says how to.
    """
    name = weights.hub or ""
    if name.startswith("hf-hub:"):
        return hugging_face_file(name.removeprefix("hf-hub:"), FILES, weights.revision, setting)
    model = getattr(options, "model", "")
    if options.name == "timm":
        return _of_timm(model, name, setting)
    if options.name == "torchvision":
        return _from_address(torchvision_weights(model, name, setting).url, setting)
    raise BadInput(
        f"{setting}.hub: '{name}' is no name of weights for the network '{options.name}'. Valid: "
        "hf-hub:<organisation>/<name>; for the networks timm and torchvision also a name of their own weights."
    )


def timm_config(model: str, tag: str, setting: str = SETTING) -> Any:
    """What timm knows of the weights of this tag: where they are, and what they expect.

    Raises:
        BadInput: it has none of this tag; the message names the nearest.
    """
    from transferscope.models.networks.timm import import_timm

    timm = import_timm()
    architecture = model.partition(".")[0]
    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{architecture}.*", exclude_filters="")]
    known = tag == DEFAULT or tag in tags
    cfg = timm.get_pretrained_cfg(model if tag == DEFAULT else f"{architecture}.{tag}") if known else None
    if cfg is None or not (cfg.hf_hub_id or cfg.url):
        raise BadInput(
            f"{setting}.hub: timm has no weights '{tag}' of {architecture}.{did_you_mean(tag, tags)}"
        )
    return cfg


def torchvision_weights(model: str, name: str, setting: str = SETTING) -> Any:
    """torchvision's entry of the weights of this name: where they are, and what they expect.

    Raises:
        BadInput: it has none of this name; the message names the nearest.
    """
    from transferscope.models.networks.torchvision import import_torchvision

    models = import_torchvision("torchvision").models
    known: Any = models.get_model_weights(model)
    chosen = name.rpartition(".")[2].upper() if name == DEFAULT else name.rpartition(".")[2]
    if chosen not in known.__members__:
        raise BadInput(
            f"{setting}.hub: torchvision has no weights '{name}' of {model}."
            f"{did_you_mean(chosen, [*known.__members__, DEFAULT])}"
        )
    return known[chosen]


def _of_timm(model: str, tag: str, setting: str) -> Path:
    cfg = timm_config(model, tag, setting)
    if cfg.hf_hub_id:
        files = (cfg.hf_hub_filename,) if cfg.hf_hub_filename else FILES
        return hugging_face_file(cfg.hf_hub_id, files, None, setting)
    return _from_address(cfg.url, setting)


def hugging_face_file(
    repository: str, files: tuple[str, ...], revision: str | None, setting: str = SETTING
) -> Path:
    """The first of these files that a repository of the Hugging Face hub has, from the cache or fetched.

    Raises:
        BadInput: there is none, or it can't be had; says how to.
    """
    from transferscope.models.networks.timm import INSTALL

    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise BadInput(
            f"weights from the Hugging Face hub need the package huggingface_hub. {INSTALL}"
        ) from None
    missing = None
    for file in files:
        try:
            return Path(huggingface_hub.hf_hub_download(repository, file, revision=revision))
        except errors.LocalEntryNotFoundError as error:
            raise _not_fetched(f"{repository} ({file})", repository, file, error, setting) from None
        except (errors.EntryNotFoundError, errors.RevisionNotFoundError) as error:
            missing = error
        except (errors.RepositoryNotFoundError, errors.HFValidationError, errors.GatedRepoError) as error:
            raise BadInput(f"{setting}.hub: the hub gives no {repository}: {_line(error)}") from None
        except Exception as error:  # whatever the connection lacks
            raise _not_fetched(f"{repository} ({file})", repository, file, error, setting) from None
    raise BadInput(f"{setting}.hub: {repository} holds none of {', '.join(files)}: {_line(missing)}")


def _not_fetched(what: str, repository: str, file: str, error: Exception, setting: str) -> BadInput:
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    return BadInput(
        f"{setting}.hub: {what} is not in this machine's cache and can't be fetched{offline}: {_line(error)} "
        f"Where there is a connection, run: hf download {repository} {file}; then copy the cache (HF_HOME, "
        f"~/.cache/huggingface) here, or give the file itself as {setting}.file."
    )


def _from_address(url: str, setting: str) -> Path:
    import torch

    name = Path(urlparse(url).path).name
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if path.exists():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except (URLError, OSError, RuntimeError) as error:
        raise BadInput(
            f"{setting}.hub: {name} is not in this machine's cache and can't be fetched: {_line(error)} Where "
            f"there is a connection, fetch {url}; then put it at {path}, or give it as {setting}.file."
        ) from None
    return path


def _line(error: Exception | None) -> str:
    lines = str(error or "").strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."
