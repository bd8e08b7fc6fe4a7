"""Several fine-tuned networks averaged to one, written as a file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from transferscope.api.compare import INIT, comparison_study
from transferscope.core.datasets import describe, load
from transferscope.core.errors import BadInput, TaskFailed
from transferscope.core.files import sha256_of, write_atomically
from transferscope.core.runs import given_runs

if TYPE_CHECKING:
    from torch import Tensor

    from transferscope.core.config import Study
    from transferscope.metrics.landscape.soup import How, Soup

CALIBRATION_IMAGES = 2000
"""Most training images for BatchNorm's statistics; as in barriers."""
SUFFIX = ".safetensors"


@dataclass(frozen=True, kw_only=True)
class Averaged:
    """What was averaged, and what came out."""

    out: Path
    factors: Mapping[str, float]
    """Share of each network."""
    held_out: Mapping[str, float]
    """Metric on the held-out images: of each network by name, and of the "average"."""
    test: Mapping[str, float]
    """The same on the test images, which chose nothing."""
    metric: str
    """accuracy or mean_auc."""
    num_held_out: int
    num_test: int


def average(
    *,
    model: str,
    data: str,
    instances: Mapping[str, str | Path],
    out: str | Path,
    how: How = "uniform",
    init: str | Path | None = None,
    held_out: float = 0.25,
    overrides: Sequence[str] = (),
) -> Averaged:
    """Average trained networks and write the result, with its origin, as a safetensors file.

    A share of the data's training images is held out to choose: give images that the networks were *not* trained on as
    training images, or the network that fits its training best is preferred. BatchNorm's statistics are re-estimated on
    the others. Test images choose nothing.

    Args:
        model, data, instances, overrides: as of `transferscope.compare`, as files.
        out: the file to write; it must end in .safetensors.
        how: "uniform", "greedy" or "line"; see `transferscope.metrics.landscape.soup.soup`.
        init: what the networks were started from: the other end of the "line".
        held_out: share of the training images that chooses, in (0, 1).

    Raises:
        BadInput: something can't be used; has all problems.
    """
    out = Path(out)
    if out.suffix != SUFFIX:
        raise BadInput(f"--out {out}: expected a file that ends in {SUFFIX}.")
    if not 0 < held_out < 1:
        raise BadInput(
            f"--held-out {held_out:g}: expected a share of the training images above 0 and below 1."
        )
    if how == "line" and init is None:
        raise BadInput("--how line: expected init=, the network that the other one was started from.")
    study = comparison_study(
        model=model, data=data, instances=instances, init=init, analyses=["mistakes"], overrides=overrides
    )
    states = _states(study)
    files = {name: _file(place) for name, place in instances.items()}
    if how == "line":
        if len(instances) != 1:
            raise BadInput(f"--how line: expected one network beside init=, got {len(instances)}.")
        files = {INIT: _file(init), **files}
    else:
        states.pop(INIT, None)
    found, metrics, counts, metric = _chosen(study, states, how, held_out)
    facts = {
        "how": how,
        "factors": json.dumps(dict(found.factors)),
        "files": json.dumps(files),
        "model": model,
        "data": data,
        "held_out": json.dumps({"share": held_out, "images": counts[0], metric: metrics[0]["average"]}),
    }
    _write(out, found.state, facts)
    return Averaged(
        out=out,
        factors=found.factors,
        held_out=metrics[0],
        test=metrics[1],
        metric=metric,
        num_held_out=counts[0],
        num_test=counts[1],
    )


def _states(study: Study) -> dict[str, dict[str, Tensor]]:
    """The whole state of each instance, and of what they were started from under the name "init"."""
    from transferscope.models.weights.instances import given_states

    target = next(iter(study.targets))
    about = describe(study.targets[target].data)
    states, problems = {}, []
    for _, _, run in given_runs(study, target):
        try:
            states[run.name], start = given_states(run, about)
        except BadInput as error:
            problems += error.problems
            continue
        if start is not None:
            # a head that does not fit the classes stays out of the mixture
            states = {INIT: {**states[run.name], **start}, **states}
    if problems:
        raise BadInput(list(dict.fromkeys(problems)))
    return states


def _chosen(
    study: Study, states: Mapping[str, Mapping[str, Tensor]], how: How, share: float
) -> tuple[Soup, tuple[dict[str, float], dict[str, float]], tuple[int, int], str]:
    """The average; metrics of all networks on held-out and on test images; how many there are; the metric's name."""
    import torch

    from transferscope.data.normalize import normalize
    from transferscope.metrics.evaluation.scores import score
    from transferscope.metrics.landscape.soup import soup
    from transferscope.models.init import random_init
    from transferscope.train.evaluate import predict
    from transferscope.train.held_out import hold_out

    target = next(iter(study.targets.values()))
    about, images = describe(target.data), load(target.data)
    try:
        others, chooses = hold_out(images.train, share)
    except TaskFailed as error:
        raise BadInput(str(error)) from None
    network = random_init(study.network, about.num_classes, about.channels, 0, about.image_size_px).eval()
    normalization = study.known_normalization
    found = soup(
        network,
        states,
        (normalize(chooses.images, normalization), chooses.labels),
        how=how,
        calibration=normalize(others.images[:CALIBRATION_IMAGES], normalization),
    )
    held_out = {name: each.metric for name, each in found.singles.items()} | {
        "average": found.held_out.metric
    }
    test = {}
    for name, state in {**states, "average": found.state}.items():
        network.load_state_dict(state)
        logits = predict(network, images.test.images, normalization, torch.device("cpu"))
        test[name] = score(logits, images.test.labels)
    return found, (held_out, test), (len(chooses), len(images.test)), about.metric


def _file(place: str | Path | None) -> dict[str, str]:
    """Where a network came from, with the checksum of its file."""
    found = {"place": str(place)}
    if place is not None and Path(place).is_file():
        found["sha256"] = sha256_of(Path(place))
    return found


def _write(out: Path, state: Mapping[str, Tensor], facts: Mapping[str, str]) -> None:
    from safetensors.torch import save

    from transferscope import __version__

    # copies, as the file format refuses tensors that share memory
    tensors = {name: tensor.contiguous().clone() for name, tensor in state.items()}
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, save(tensors, metadata={"transferscope": __version__, **facts}))
