"""`transferscope data check`: what a data set holds, what is wrong with it, and how it looks."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferscope.cli.console import make_console
from transferscope.core.errors import unmarked, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from transferscope.core.options import DatasetOptions
    from transferscope.data.inspect.check import Checked

EXIT_PROBLEMS = 2


def command(
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
    """Count, check and draw the images of a data set.

    Says what the data set holds and what is wrong with it, and draws its images by class. Ends with 2 where a study of
    these data would stop at images that can't be used.

    \b
    Example: transferscope data check imagefolder:photos \\
        --set image_size_px=64 --out photos.png
    """
    raise typer.Exit(_check_data(data, set_ or (), out, as_json=as_json, console=make_console()))


def _check_data(
    text: str, overrides: Sequence[str], sheet: Path | None, *, as_json: bool, console: Console
) -> int:
    """Check the data sets that are named on the command line, and print what they hold.

    Args:
        text: a data set, as in `imagefolder:PATH`, or a study file: then its source and all its targets.
        overrides: of the data set's options, or of the study.
        sheet: the PNG file to write; for a study the name of each data set is put before its suffix.
        as_json: print one JSON document instead of tables.
        console: where to print.

    Returns:
        The exit code: 0, or 2 where a study of these data would stop at problems.

    Raises:
        BadInput: there is no such data set or study, or nothing of it can be used.
    """
    from rich.console import Console

    from transferscope.data.files.decode import telling_of_decoded
    from transferscope.data.inspect.check import check
    from transferscope.execute.progress.terminal import reading

    results = []
    for name, options in _named(text, overrides).items():
        quiet = Console(quiet=True) if as_json else console
        with reading(quiet, name) as told, telling_of_decoded(told):
            results.append(check(name, options, _sheet_file(sheet, name, options, several=_is_study(text))))
        if not as_json:
            _print(results[-1], console)
    if as_json:
        print(json.dumps(_document(results), indent=1, ensure_ascii=False, allow_nan=False))
    return EXIT_PROBLEMS if any(checked.stops for checked in results) else 0


def _is_study(text: str) -> bool:
    return text.endswith((".yaml", ".yml"))


def _named(text: str, overrides: Sequence[str]) -> dict[str, DatasetOptions]:
    """The data sets by their name; the same one is checked once."""
    from transferscope.study.dataset_text import dataset_from_text
    from transferscope.study.file import load_study

    if not _is_study(text):
        return {text: dataset_from_text(text, overrides)}
    study = load_study(text, overrides=overrides)
    named = {name: target.data for name, target in study.targets.items()}
    if study.source is not None and study.source.data is not None:
        named = {"source": study.source.data, **named}
    first = {options: name for name, options in reversed(named.items())}
    return {name: options for name, options in named.items() if first[options] == name}


def _sheet_file(sheet: Path | None, name: str, options: DatasetOptions, *, several: bool) -> Path:
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name if several else options.dataset).strip("-")
    if sheet is None:
        return Path(f"{plain}-sheet.png")
    return sheet.with_name(f"{sheet.stem}-{plain}{sheet.suffix}") if several else sheet


def _print(checked: Checked, console: Console) -> None:
    """The result for people."""
    about = checked.description
    kind = "labels, several an image" if about.multi_label else "classes"
    console.print(f"[bold]{unmarked(checked.name)}[/bold] ({checked.options.dataset})", highlight=False)
    console.print(
        f"{about.num_classes} {kind}; images of {about.image_size_px} x {about.image_size_px} px, "
        f"{about.channels} channel{'s' if about.channels > 1 else ''}",
        highlight=False,
    )
    console.print(_split_table(checked))
    console.print(_class_table(checked))
    console.print(
        f"duplicates between train and test: {checked.num_shared:,}, near duplicates: "
        f"{len(checked.near_duplicates):,}",
        highlight=False,
    )
    for line in checked.problems:
        console.print(f"problem: {visible(line)}", style="red", highlight=False, markup=False, soft_wrap=True)
    if not checked.problems:
        console.print("problems: none", highlight=False)
    elif checked.stops:
        console.print(
            "a study of these data stops at this; `on_bad: skip` leaves the images out, and counts them",
            highlight=False,
        )
    else:
        console.print("on_bad: skip: these images are left out of a study, and counted", highlight=False)
    console.print(f"contact sheet: {checked.sheet}", highlight=False, markup=False, soft_wrap=True)
    console.print("What the network will be shown:", highlight=False)
    for line in checked.shown:
        console.print(f"- {visible(line)}", highlight=False, markup=False, soft_wrap=True)
    for note in checked.notes:
        console.print(f"note: {visible(note)}", highlight=False, markup=False, soft_wrap=True)


def _split_table(checked: Checked) -> Table:
    from rich.table import Table

    table = Table()
    headings = (
        "split",
        "images",
        "of these listed again",
        "duplicates within",
        "mean by channel",
        "std by channel",
    )
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "split" else "right")
    for name, split in checked.splits.items():
        numbers = (split.num_images, split.num_repeats, split.num_duplicates)
        moments = (" ".join(f"{one:.1f}" for one in numbers_) for numbers_ in (split.mean, split.std))
        table.add_row(name, *(f"{number:,}" for number in numbers), *moments)
    return table


def _class_table(checked: Checked) -> Table:
    from rich.table import Table

    from transferscope.core.class_order import reading_order
    from transferscope.data.inspect.check import MAX_CLASSES

    about, splits = checked.description, checked.splits
    table = Table()
    table.add_column("label" if about.multi_label else "class")
    for name in splits:
        table.add_column(name, justify="right")
        table.add_column("share", justify="right")
    train = splits["train"].counts
    order = sorted(reading_order(about.class_names), key=lambda number: -train[number])
    for number in order[:MAX_CLASSES]:
        cells = []
        for split in splits.values():
            cells += [f"{split.counts[number]:,}", _share(split.prevalence[number])]
        table.add_row(unmarked(about.class_names[number]), *cells)
    if len(order) > MAX_CLASSES:
        rest = order[MAX_CLASSES:]
        cells = []
        for split in splits.values():
            cells += [f"{min(split.counts[n] for n in rest):,} to {max(split.counts[n] for n in rest):,}", ""]
        table.add_row(f"{len(rest)} more classes", *cells)
    return table


def _share(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def _document(results: Sequence[Checked]) -> dict[str, Any]:
    """All of it as plain data, for JSON."""
    return {"datasets": [_entry(checked) for checked in results]}


def _entry(checked: Checked) -> dict[str, Any]:
    about = checked.description
    return {
        "name": checked.name,
        "options": checked.options.model_dump(mode="json"),
        "class_names": list(about.class_names),
        "multi_label": about.multi_label,
        "image_size_px": about.image_size_px,
        "channels": about.channels,
        "fingerprint": about.fingerprint,
        "splits": {
            name: {
                **asdict(split),
                "prevalence": [None if math.isnan(one) else one for one in split.prevalence],
            }
            for name, split in checked.splits.items()
        },
        "duplicates_between_splits": checked.num_shared,
        "near_duplicates_between_splits": [asdict(one) for one in checked.near_duplicates],
        "conflicting_labels": [list(ids) for ids in checked.conflicts],
        "groups_in_both_splits": list(checked.shared_groups),
        "problems": list(checked.problems),
        "problem_counts": dict(checked.problem_counts),
        "stops": checked.stops,
        "shown": list(checked.shown),
        "notes": list(checked.notes),
        "contact_sheet": str(checked.sheet),
    }
