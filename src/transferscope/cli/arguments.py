"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file; init writes one.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for results and report.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The --out folder of a run.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value, e.g. training.epochs=5; repeatable."),
]
CompareSet = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a value: data.image_size_px=64, normalization=imagenet, analyses.NAME.KEY; repeatable.",
    ),
]
Variant = Annotated[
    str | None, typer.Option("--variant", metavar="NAME", help="One of the study file's variants.")
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, help="Processes; as many as cores by default. 1: in this process."
    ),
]
Device = Annotated[str, typer.Option("--device", metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]
Engine = Annotated[
    str, typer.Option("--engine", metavar="NAME", help="local, or ray: the same tasks on a Ray cluster.")
]
StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="Where results go too, for machines without a common disk: s3://bucket/study, gs://..., a folder.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDRESS", help="A running Ray cluster, e.g. auto; else Ray is started here."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
NoImages = Annotated[
    bool,
    typer.Option("--no-images", help="No test images in the report, nor in its tables."),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print nothing but what failed, and that to stderr.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="A line for each task that starts, and for each epoch.")
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="KIND:WHERE",
        help="Curves and findings also to tensorboard:DIR, mlflow:URI or wandb:PROJECT; repeatable.",
    ),
]
