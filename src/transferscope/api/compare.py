"""Networks that are there already, compared: a study of given instances, without a study file.

```python
import transferscope

found = transferscope.compare(
    model="timm:resnet18", data="imagefolder:pets", instances={"a": "a.safetensors", "b": "b.pt"}, out="runs/pets"
)
found.tables["barriers"]
```
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transferscope.analyses.contract import analysis_module, analysis_names
from transferscope.api.results import Results, run
from transferscope.core.config import Study
from transferscope.core.datasets import describe
from transferscope.core.errors import BadInput, did_you_mean
from transferscope.core.files import write_atomically
from transferscope.core.options import DatasetOptions
from transferscope.models.build import network_from_text
from transferscope.report.workspace import file_name
from transferscope.study.dataset_text import dataset_from_text
from transferscope.study.file import study_of

if TYPE_CHECKING:
    from torch import Tensor, nn

    Given = str | Path | nn.Module | Mapping[str, Tensor]

INIT = "init"
"""The name that stands for what the instances were started from."""
DATA_PREFIX = "data."
FOLDER = "given"
"""Where networks that were given as objects are written, in the folder `out`."""


def compare(
    *,
    model: str,
    data: str,
    instances: Mapping[str, Given],
    out: str | Path,
    init: Given | None = None,
    from_scratch: Sequence[str] = (),
    expected: Mapping[str, float] | None = None,
    analyses: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
    workers: int | None = 1,
    device: str = "auto",
    images: bool = True,
) -> Results:
    """Compare trained networks and write the report; nothing is trained.

    Args:
        model: "timm:resnet18", "torchvision:resnet18", "package.module:factory", or a network of this package.
        data: "imagefolder:PATH", "huggingface:NAME", "fashion_mnist", ...
        instances: name -> file (safetensors, or what torch.save wrote) or "hf-hub:..." of each trained network; or the
            network or its state dict, which is then written below `out`.
        out: folder for results and report.
        init: what they were started from.
        from_scratch: names of instances that were started from a random initialization instead.
        expected: name -> the accuracy (multi-label: mean AUC) on these test images as you know it. What each network
            reaches is printed before anything is measured, and a warning if it is another one.
        analyses: names; by default all that can be had without training.
        overrides: "key=value" each, as `data.image_size_px=64` or `analyses.barriers.num_images=500`. Without any,
            the maps of criticality are on a coarser grid than in a study, of 128 images.
        workers: processes. With more than one, call this below `if __name__ == "__main__":`.
        device: "auto", "cpu" or "cuda".
        images: show test images in the report, and keep them in its tables.

    Returns:
        Tables, findings, figures, and where the report is; a notebook shows them.

    Raises:
        BadInput: something can't be used; has all problems.

    >>> compare(model="fixup_resnet", data="letters", instances={"a": "missing.pt"}, out="unused")
    Traceback (most recent call last):
        ...
    transferscope.core.errors.BadInput: compare:...instances.a.weights.file: missing.pt is no file; ...
    """
    study = comparison_study(
        model=model,
        data=data,
        instances=_placed(instances, Path(out)),
        init=_place(INIT, init, Path(out)),
        from_scratch=from_scratch,
        expected=expected,
        analyses=analyses,
        overrides=overrides,
    )
    return run(study, out, workers=workers, device=device, images=images)


def comparison_study(
    *,
    model: str,
    data: str,
    instances: Mapping[str, str | Path],
    init: str | Path | None = None,
    from_scratch: Sequence[str] = (),
    expected: Mapping[str, float] | None = None,
    analyses: Sequence[str] | None = None,
    overrides: Sequence[str] = (),
) -> Study:
    """The study of given instances; see `compare`.

    Raises:
        BadInput: something can't be used.
    """
    _check_places(model, instances, init)
    for option, names in (("from-scratch", from_scratch), ("expected", expected or {})):
        for name in names:
            if name not in instances:
                raise BadInput(
                    f"--{option} {name}: no instance has that name.{did_you_mean(name, instances)}"
                )
    of_data = [text.removeprefix(DATA_PREFIX) for text in overrides if text.startswith(DATA_PREFIX)]
    of_study = [text for text in overrides if not text.startswith(DATA_PREFIX)]
    given = {
        name: {
            "weights": _weights(place),
            "kind": "ri_t" if name in from_scratch else "p_t",
            **({"expected": float(expected[name])} if expected and name in expected else {}),
        }
        for name, place in instances.items()
    }
    document: dict[str, Any] = {
        "name": f"Comparison of {', '.join(instances)}",
        "description": _description(model, data, instances, init, from_scratch),
        "network": network_from_text(model).model_dump(mode="json"),
        "targets": {
            data.partition(":")[0]: {
                "data": _all_images(dataset_from_text(data, of_data)).model_dump(mode="json")
            }
        },
        "instances": given,
        "analyses": {
            name: dict(getattr(analysis_module(name), "COARSER", {})) for name in analyses or _possible(init)
        },
    }
    if init is not None:
        document["source"] = {"weights": _weights(init)}
    return study_of(document, "compare", overrides=of_study)


def _all_images(options: DatasetOptions) -> DatasetOptions:
    """For networks that are trained already: takes all images if nothing but the default divides them."""
    if getattr(options, "test_share", 0) is not None:
        return options
    try:
        divided = bool(describe(options).division)
    except BadInput:
        return options  # the checks of the study say what is wrong
    return options.model_copy(update={"test_share": "all"}) if divided else options


def _check_places(model: Any, instances: Any, init: Any) -> None:
    """Raises BadInput for networks in memory where their names or files are needed."""
    if not isinstance(instances, Mapping):
        raise BadInput(
            f'instances: expected names and files, as in {{"a": "a.safetensors"}}, got a {type(instances).__name__}.'
        )
    problems = []
    if not isinstance(model, str):
        problems.append(
            f"model: expected text, got a {type(model).__name__}. The network is built several times, also in other "
            "processes: write a function that builds it in a file my_networks.py, and give 'my_networks:function'; of "
            "timm and torchvision give 'timm:resnet18' or 'torchvision:resnet18'."
        )
    places = {f"instances.{name}": place for name, place in instances.items()}
    if init is not None:
        places["init"] = init
    for key, place in places.items():
        if not isinstance(place, str | Path):
            save = "save_file(state_dict" if isinstance(place, Mapping) else "save_model(model"
            problems.append(
                f"{key}: expected a file, or hf-hub:<organisation>/<name>, got a {type(place).__name__}. Save it "
                f'first, as in safetensors.torch.{save}, "weights.safetensors"), and give the file.'
            )
    if problems:
        raise BadInput(problems)


def _possible(init: str | Path | None) -> list[str]:
    return [
        name
        for name in analysis_names()
        if not getattr(analysis_module(name), "TRAINS", False)
        and (init is not None or not getattr(analysis_module(name), "NEEDS_INIT", False))
    ]


def _placed(instances: Any, out: Path) -> Any:
    """The instances by their files; what is no mapping is refused later."""
    if not isinstance(instances, Mapping):
        return instances
    return {name: _place(str(name), given, out) for name, given in instances.items()}


def _place(name: str, given: Any, out: Path) -> Any:
    """Where the weights are; those of a network or a state dict are written to a file. The rest is refused later."""
    if given is None or isinstance(given, (str, os.PathLike)):
        return given
    from safetensors.torch import save
    from torch import Tensor, nn

    state = given.state_dict() if isinstance(given, nn.Module) else given
    if not isinstance(state, Mapping) or not any(isinstance(tensor, Tensor) for tensor in state.values()):
        return given
    # copies, as the file format refuses tensors that share memory
    copies = {
        str(key): tensor.detach().cpu().contiguous().clone()
        for key, tensor in state.items()
        if isinstance(tensor, Tensor)
    }
    path = out / FOLDER / f"{file_name(name)}.safetensors"
    write_atomically(path, save(copies))
    return path


def _weights(place: str | Path) -> dict[str, str]:
    text = str(place)
    return {"hub": text} if text.startswith("hf-hub:") else {"file": text}


def _description(
    model: str,
    data: str,
    instances: Mapping[str, str | Path],
    init: str | Path | None,
    from_scratch: Sequence[str],
) -> str:
    """Which network is of which kind, and where its weights are."""
    kinds: dict[str, list[str]] = {}
    for name, place in instances.items():
        kinds.setdefault("RI-T" if name in from_scratch else "P-T", []).append(f"{name} ({place})")
    named = [f"{kind}: {', '.join(those)}" for kind, those in kinds.items()]
    origin = "What they were started from was not given." if init is None else f"P is {init}."
    return (
        f"Networks {model} that were trained elsewhere, on {data}. {'; '.join(named)}. {origin} "
        "Where it speaks of seeds, each of these networks counts as one."
    )
