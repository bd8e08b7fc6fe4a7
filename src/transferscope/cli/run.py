"""`transferscope run`, and how all commands that run a study do it."""

# No `from __future__ import annotations` here: `runs_a_study` hands the annotations of a function to typer.

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from transferscope.cli.arguments import (
    Address,
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
from transferscope.cli.console import make_console, told_when_stopped
from transferscope.core.errors import BadInput

if TYPE_CHECKING:
    from transferscope.core.config import Study


def _run(
    study: "Study",
    out: Path,
    *,
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
    from transferscope.api.run import RunOptions, run_study

    if quiet and verbose:
        raise BadInput("--quiet and --verbose: choose one of them.")
    options = RunOptions(
        out=out,
        workers=workers,
        device=device,
        engine=engine,
        address=address,
        store=store,
        log=log or (),
        images=not no_images,
        verbose=verbose,
    )
    with told_when_stopped("finished tasks are kept, and the same command goes on from here"):
        raise typer.Exit(run_study(study, options, make_console(quiet=quiet)))


def runs_a_study(chosen: Callable[..., "tuple[Study, Path]"]) -> Callable[..., None]:
    """A command from a function that returns a study and its --out folder: it has the options of a run too."""
    options = list(inspect.signature(_run).parameters.values())[2:]

    @functools.wraps(chosen)
    def command(**given: Any) -> None:
        how = {option.name: given.pop(option.name) for option in options}
        _run(*chosen(**given), **how)

    own = inspect.signature(chosen).parameters.values()
    command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


@runs_a_study
def command(study: StudyFile, out: Out, set_: Set = None, variant: Variant = None) -> "tuple[Study, Path]":
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

    return load_study(study, overrides=set_ or (), variant=variant), out
