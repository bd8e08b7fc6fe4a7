"""`transferscope average`: several fine-tuned networks as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from transferscope.cli.arguments import CompareSet
from transferscope.cli.compare import named_places
from transferscope.cli.console import make_console
from transferscope.core.errors import BadInput

HOWS = ("uniform", "greedy", "line")


def command(
    instances: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=WEIGHTS ...",
            help="Trained networks: files or hf-hub:ORGANISATION/NAME. init= is what they were started from.",
        ),
    ],
    model: Annotated[
        str, typer.Option("--model", metavar="NETWORK", help="As of compare: timm:resnet18, for example.")
    ],
    data: Annotated[
        str, typer.Option("--data", metavar="DATASET", help="As of compare: imagefolder:PATH, for example.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write; ends in .safetensors.")
    ],
    how: Annotated[
        str,
        typer.Option(
            "--how",
            metavar="|".join(HOWS),
            help="All networks; those that help, the best first; or the best place between init= and one network.",
        ),
    ] = "uniform",
    held_out: Annotated[
        float,
        typer.Option("--held-out", metavar="SHARE", help="Share of the training images that chooses."),
    ] = 0.25,
    set_: CompareSet = None,
) -> None:
    """Average networks that you have to one file.

    Held-out training images choose, test images never do: give images that the networks were not trained on.
    Statistics of BatchNorm are computed anew on the other training images. The file says how it was made.

    \b
    Example: transferscope average --model timm:resnet18 --data imagefolder:pets \\
        --how greedy --out soup.safetensors a=a.safetensors b=b.pt c=c.pt
    """
    from transferscope.api.average import average
    from transferscope.api.compare import INIT

    if how not in HOWS:
        raise BadInput(f"--how {how}: unknown. Valid: {', '.join(HOWS)}.")
    given = named_places(instances)
    init = given.pop(INIT, None)
    found = average(
        model=model,
        data=data,
        instances=given,
        out=out,
        how=how,
        init=init,
        held_out=held_out,
        overrides=set_ or (),
    )
    console = make_console()
    for name in found.held_out:
        share = "" if name == "average" else f", share {found.factors.get(name, 0.0):.3g}"
        console.print(
            f"{name}: {found.metric} {found.held_out[name]:.4f} on {found.num_held_out} held-out images, "
            f"{found.test[name]:.4f} on {found.num_test} test images{share}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(f"written: {found.out}", highlight=False, markup=False, soft_wrap=True)
