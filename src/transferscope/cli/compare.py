"""`transferscope compare`."""

# No `from __future__ import annotations` here: `runs_a_study` hands the annotations of a function to typer.

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from transferscope.cli.arguments import CompareSet, Out
from transferscope.cli.run import runs_a_study
from transferscope.core.errors import BadInput

if TYPE_CHECKING:
    from transferscope.core.config import Study


@runs_a_study
def command(
    instances: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=WEIGHTS ...",
            help="Trained networks: files or hf-hub:ORGANISATION/NAME. init= is what they were started from.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            metavar="NETWORK",
            help="timm:resnet18, torchvision:resnet18, package.module:factory, fixup_resnet18.",
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            "--data", metavar="DATASET", help="imagefolder:PATH, huggingface:NAME, fashion_mnist, ..."
        ),
    ],
    out: Out,
    from_scratch: Annotated[
        list[str] | None,
        typer.Option("--from-scratch", metavar="NAME", help="One that was started at random; repeatable."),
    ] = None,
    expected: Annotated[
        list[str] | None,
        typer.Option(
            "--expected",
            metavar="NAME=ACCURACY",
            help="Accuracy of a network as you know it, e.g. a=0.93; repeatable. A different accuracy is reported.",
        ),
    ] = None,
    analysis: Annotated[
        list[str] | None,
        typer.Option(
            "--analysis", metavar="NAME", help="One to run; repeatable. By default all that can be had."
        ),
    ] = None,
    set_: CompareSet = None,
) -> "tuple[Study, Path]":
    """Compare networks that you have; nothing is trained.

    They share one architecture and one set of classes. With init= there is also criticality: which modules can be put
    back to what they were started from.

    \b
    Example: transferscope compare --model timm:resnet18 --data imagefolder:pets \\
        --out runs/pets a=a.safetensors b=b.pt init=imagenet.safetensors \\
        --set data.image_size_px=64

    \b
    Example: transferscope compare --model my_networks:make --data imagefolder:pets \\
        --out runs/pets a=a.pt b=b.pt scratch=c.pt --from-scratch scratch \\
        --analysis mistakes --analysis feature_similarity
    """
    from transferscope.api.compare import INIT, comparison_study

    given = named_places(instances)
    init = given.pop(INIT, None)
    study = comparison_study(
        model=model,
        data=data,
        instances=given,
        init=init,
        from_scratch=from_scratch or (),
        expected=_expected(expected or ()),
        analyses=analysis,
        overrides=set_ or (),
    )
    return study, out


def named_places(texts: Sequence[str]) -> dict[str, str]:
    """Name -> where its weights are, of NAME=WEIGHTS texts."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, place = text.partition("=")
        if not (name and equals and place):
            raise BadInput(f"'{text}': expected NAME=WEIGHTS, as in a=a.safetensors.")
        if name in given:
            raise BadInput(f"'{name}' is given twice: {given[name]} and {place}.")
        given[name] = place
    return given


def _expected(texts: Sequence[str]) -> dict[str, float]:
    """The accuracies of NAME=ACCURACY texts."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            found[name] = float(number)
        except ValueError:
            raise BadInput(f"--expected {text}: expected NAME=ACCURACY, as in a=0.93.") from None
    return found
