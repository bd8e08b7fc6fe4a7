"""The command line: parses and calls. Everything heavy is imported when a command runs."""

from __future__ import annotations

import io
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from transferscope import __version__
from transferscope.errors import BadInput

if TYPE_CHECKING:
    from rich.console import Console

    from transferscope.config import Study

LOG_WIDTH = 140
EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130

TEMPLATES = ", ".join(sorted(file.stem for file in (Path(__file__).parent / "studies").glob("*.yaml")))

app = typer.Typer(
    name="transferscope",
    help="What did the pre-trained weights give you, and where in the network does it sit?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,  # laid out by rich, help would take four times as long as all else that it takes
)

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file; see init.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for results and report.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a run.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. training.epochs=5; repeatable."),
]
Variant = Annotated[
    str | None, typer.Option("--variant", metavar="NAME", help="One of the study file's variants.")
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Processes; as many as cores by default. 1: in this process."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Engine = Annotated[str, typer.Option("--engine", help="local, or ray: the same tasks on a Ray cluster.")]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", help="A running Ray cluster, e.g. auto; else Ray is started here."
    ),
]

data_app = typer.Typer(help="Look at data before anything is trained on them.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


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
) -> None:
    """Run a study and write its report; finished tasks are never run twice.

    Example: transferscope run study.yaml --out runs/first --set seeds=[0,1,2]
    """
    from transferscope.study_file import load_study

    _run(load_study(study, overrides=set_ or (), variant=variant), out, workers, device, engine, address)


@app.command()
def demo(
    out: Out = Path("runs/demo"),
    quick: Annotated[bool, typer.Option("--quick", help="A smaller variant, in about a minute.")] = False,
    workers: Workers = None,
    device: Device = "auto",
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Run the embedded default study: offline, a few minutes on two cores.

    Example: transferscope demo --quick --out runs/quick
    """
    from transferscope.commands import embedded_study
    from transferscope.study_file import load_study

    _run(
        load_study(embedded_study(), variant="quick" if quick else None),
        out,
        workers,
        device,
        engine,
        address,
    )


@app.command()
def compare(
    instances: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME=WEIGHTS ...",
            help="Trained networks: files or hf-hub:ORGANISATION/NAME. [b]init=[/b] is what they were started from.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model", help="timm:resnet18, torchvision:resnet18, package.module:factory, fixup_resnet18."
        ),
    ],
    data: Annotated[
        str, typer.Option("--data", help="imagefolder:PATH, huggingface:NAME, fashion_mnist, ...")
    ],
    out: Out,
    from_scratch: Annotated[
        list[str] | None,
        typer.Option("--from-scratch", metavar="NAME", help="One that was started at random; repeatable."),
    ] = None,
    analysis: Annotated[
        list[str] | None,
        typer.Option(
            "--analysis", metavar="NAME", help="One to run; repeatable. By default all that can be had."
        ),
    ] = None,
    set_: Set = None,
    workers: Workers = None,
    device: Device = "auto",
    engine: Engine = "local",
    address: Address = None,
) -> None:
    """Compare networks that were trained elsewhere; nothing is trained.

    Example: transferscope compare --model timm:resnet18 --data imagefolder:pets --out runs/pets
    a=a.safetensors b=b.pt init=imagenet.safetensors --set data.image_size_px=64
    """
    from transferscope.comparison import INIT, comparison_study

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
        analyses=analysis,
        overrides=set_ or (),
    )
    _run(study, out, workers, device, engine, address)


@app.command()
def plan(
    study: StudyFile,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Say what is cached there.")
    ] = None,
    set_: Set = None,
    variant: Variant = None,
    throughput: Annotated[
        str | None,
        typer.Option(
            "--throughput",
            metavar="IMAGES/S",
            help="Training images a second of one device, or measure: adds the cost in device-hours.",
        ),
    ] = None,
    simulate: Annotated[
        bool, typer.Option("--simulate", help="Add the time that the study would take on so many devices.")
    ] = False,
    gpus: Annotated[
        str, typer.Option("--gpus", metavar="N,N,...", help="Numbers of devices for --simulate.")
    ] = "1,8,64,512",
    without_data: Annotated[
        bool,
        typer.Option(
            "--without-data",
            help="Take the official sizes of DomainNet, CheXpert and ImageNet where they aren't at hand.",
        ),
    ] = False,
    device: Device = "auto",
) -> None:
    """Show what a study would run: the task graph as a tree, what is cached, the estimated cost.

    Example: transferscope plan study.yaml --out runs/first

    Example: transferscope plan study.yaml --throughput 2500 --simulate --gpus 1,8,64,512
    """
    from transferscope.commands import show_plan
    from transferscope.data.base import assuming_official_data
    from transferscope.study_file import load_study

    with assuming_official_data() if without_data else nullcontext():
        show_plan(
            load_study(study, overrides=set_ or (), variant=variant),
            out,
            throughput=throughput,
            device_counts=gpus if simulate else None,
            device=device,
            console=_console(),
        )


@app.command()
def status(folder: Folder) -> None:
    """Show how far the study in a folder has come.

    Example: transferscope status runs/first
    """
    from transferscope.commands import show_status

    show_status(folder, console=_console())


@app.command()
def report(
    folder: Folder,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="pdf|png",
            help="Figures in this format too, in the size of a paper's column; repeatable.",
        ),
    ] = None,
    latex: Annotated[
        bool, typer.Option("--latex", help="Claims and short tables in LaTeX too (booktabs, longtable).")
    ] = False,
) -> None:
    """Draw tables, findings, figures and report again from the results in a folder.

    Example: transferscope report runs/first --format pdf --latex
    """
    from transferscope.commands import draw_report

    raise typer.Exit(draw_report(folder, formats=formats or (), with_latex=latex, console=_console()))


@app.command()
def clean(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The --out folder of a run, or one that holds some.")
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Remove what is shown.")] = False,
) -> None:
    """Show cached results that no study in a folder refers to; with --yes remove them.

    Example: transferscope clean runs --yes
    """
    from transferscope.commands import clean as clean_up

    clean_up(folder, remove=yes, console=_console())


@app.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file to write.")],
    template: Annotated[
        str, typer.Option("--template", metavar="NAME", help=f"A study that comes along: {TEMPLATES}.")
    ] = "own-data",
) -> None:
    """Write a commented study file to start from.

    Example: transferscope init study.yaml

    Example: transferscope init paper-domainnet.yaml --template paper-domainnet
    """
    from transferscope.commands import write_template

    write_template(file, template)
    typer.echo(f"wrote {file}; edit it, then: transferscope run {file} --out runs/first")


@data_app.command("check")
def data_check(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="NAME, NAME:PATH (imagefolder:photos), or a study file: all of its data sets.",
        ),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Override an option, e.g. image_size_px=64; repeatable."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="PNG", help="The contact sheet to write; DATASET-sheet.png by default."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Say what a data set holds and what is wrong with it, and draw its images by class.

    Ends with 2 where a study of these data would stop at images that can't be used.

    Example: transferscope data check imagefolder:photos --set image_size_px=64 --out photos.png
    """
    from transferscope.data_check import check_data

    raise typer.Exit(check_data(data, set_ or (), out, as_json=as_json, console=_console()))


def main() -> None:
    """Run the command line; the user's mistakes are told without a traceback."""
    _unbuffer()
    try:
        app()
    except BadInput as error:
        for problem in error.problems:
            print(f"error: {problem}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)


def _run(
    study: Study, out: Path, workers: int | None, device: str, engine: str, address: str | None
) -> NoReturn:
    from transferscope.commands import run_study

    try:
        code = run_study(
            study,
            out,
            workers=workers,
            device=device,
            engine=engine,
            address=address,
            console=_console(),
        )
    except KeyboardInterrupt:  # caught here: typer would end without a word
        print("\nstopped; finished tasks are kept, and the same command goes on from here", file=sys.stderr)
        code = EXIT_INTERRUPTED
    raise typer.Exit(code)


def _console() -> Console:
    from rich.console import Console

    console = Console()
    # a log has no width of its own
    return console if console.is_terminal else Console(width=LOG_WIDTH)


def _unbuffer() -> None:
    """Lines appear when they are printed, in a log too."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
