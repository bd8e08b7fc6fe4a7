"""Commands that compute."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from transferscope.cli.app import app
from transferscope.cli.arguments import (
    Address,
    CompareSet,
    Device,
    Engine,
    Log,
    NoImages,
    Out,
    Quiet,
    Set,
    StoreUrl,
    StudyFile,
    Variant,
    Verbose,
    Workers,
)
from transferscope.cli.console import make_console
from transferscope.core.errors import BadInput

if TYPE_CHECKING:
    from transferscope.core.config import Study

EXIT_INTERRUPTED = 130


@app.command()
def run(
    study: StudyFile,
    out: Out,
    set_: Set = None,
    variant: Variant = None,
    workers: Workers = None,
    device: Device = "auto",
    engine: Engine = "local",
    address: Address = None,
    store: StoreUrl = None,
    log: Log = None,
    no_images: NoImages = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a study and write its report.

    Finished tasks are never run twice: after Ctrl-C, or a change of the study, the same command goes on from there.
    The report is report.html in the folder --out.

    Example: transferscope run study.yaml --out runs/first

    Example: transferscope run study.yaml --out runs/first --set seeds=[0,1,2]

    \b
    Example: transferscope run study.yaml --out runs/first --quiet \\
        --log tensorboard:runs/tensorboard
    """
    from transferscope.study.file import load_study

    told = _Told(log=log, quiet=quiet, verbose=verbose, with_images=not no_images)
    loaded = load_study(study, overrides=set_ or (), variant=variant)
    _run(loaded, out, workers, device, engine, address, store, told)


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A smaller variant, in a third of the time.")
    ] = False,
    workers: Workers = None,
    device: Device = "auto",
    engine: Engine = "local",
    address: Address = None,
    store: StoreUrl = None,
    log: Log = None,
    no_images: NoImages = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run the embedded study: offline, minutes on two cores.

    Example: transferscope demo

    Example: transferscope demo --quick --out runs/quick
    """
    from transferscope.study.file import load_study
    from transferscope.study.templates import embedded_study

    told = _Told(log=log, quiet=quiet, verbose=verbose, with_images=not no_images)
    loaded = load_study(embedded_study(), variant="quick" if quick else None)
    _run(loaded, out, workers, device, engine, address, store, told)


@app.command()
def compare(
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
            help="Accuracy of a network as you know it, e.g. a=0.93; repeatable. Another one is said.",
        ),
    ] = None,
    analysis: Annotated[
        list[str] | None,
        typer.Option(
            "--analysis", metavar="NAME", help="One to run; repeatable. By default all that can be had."
        ),
    ] = None,
    set_: CompareSet = None,
    workers: Workers = None,
    device: Device = "auto",
    engine: Engine = "local",
    address: Address = None,
    store: StoreUrl = None,
    log: Log = None,
    no_images: NoImages = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
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

    given: dict[str, str] = {}
    for text in instances:
        name, equals, place = text.partition("=")
        if not (name and equals and place):
            raise BadInput(f"'{text}': expected NAME=WEIGHTS, as in a=a.safetensors.")
        if name in given:
            raise BadInput(f"'{name}' is given twice: {given[name]} and {place}.")
        given[name] = place
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
    told = _Told(log=log, quiet=quiet, verbose=verbose, with_images=not no_images)
    _run(study, out, workers, device, engine, address, store, told)


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


@dataclass(frozen=True, kw_only=True)
class _Told:
    """Who is told how the run goes, and how much."""

    log: list[str] | None
    quiet: bool
    verbose: bool
    with_images: bool


def _run(
    study: Study,
    out: Path,
    workers: int | None,
    device: str,
    engine: str,
    address: str | None,
    store: str | None,
    told: _Told,
) -> NoReturn:
    from transferscope.api.run import RunOptions, run_study

    if told.quiet and told.verbose:
        raise BadInput("--quiet and --verbose: choose one of them.")
    options = RunOptions(
        out=out,
        workers=workers,
        device=device,
        engine=engine,
        address=address,
        store=store,
        log=told.log or (),
        images=told.with_images,
        verbose=told.verbose,
    )
    try:
        code = run_study(study, options, make_console(quiet=told.quiet))
    except KeyboardInterrupt:  # caught here: typer would end without a word
        print("\nstopped; finished tasks are kept, and the same command goes on from here", file=sys.stderr)
        code = EXIT_INTERRUPTED
    raise typer.Exit(code)
