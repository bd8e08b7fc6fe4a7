"""`transferscope doctor`: whether this machine is fit to run studies."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from transferscope.cli.arguments import Device, Json
from transferscope.cli.console import EXIT_DONE, EXIT_FAILED, make_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from transferscope.cli.doctor.facts import Fact
    from transferscope.cli.doctor.self_test import Known

_MARKS = {"ok": "[green]✓[/green]", "note": "[yellow]·[/yellow]", "wrong": "[red]✗[/red]"}


def command(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where a run would write to; nothing is left there.")
    ] = Path("runs"),
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Check this machine, in about 10 seconds.

    Says what is installed and whether results can be kept, and computes numbers that are known. Ends with 1 where
    something is wrong: a library is missing or too old, results can't be kept, a number is off.

    Example: transferscope doctor

    Example: transferscope doctor --out /data/runs --json
    """
    raise typer.Exit(_examine(out, device=device, as_json=as_json, console=make_console()))


def _examine(out: Path, *, device: str, as_json: bool, console: Console) -> int:
    """Look at what is installed and there, and compute known numbers.

    Args:
        out: where a run would write to.
        device: where to compute.
        as_json: print one JSON document.
        console: where to print.

    Returns:
        0, or 1 where something is wrong.

    Raises:
        BadInput: there is no such device.
    """
    import torch

    from transferscope.cli.doctor.facts import as_rows, facts
    from transferscope.cli.doctor.self_test import self_test
    from transferscope.core.machine import resolved_device

    where = torch.device(resolved_device(device))
    found = facts(out)
    if not as_json:
        _print_facts(found, console)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the workers
    try:
        with console.status("computing numbers that are known, about 10 seconds"):
            known = self_test(where)
    finally:
        torch.set_num_threads(threads)
    is_right = all(one.is_right for one in known) and all(fact.state != "wrong" for fact in found)
    if as_json:
        document = {"ok": is_right, "facts": as_rows(found), "self_test": [_entry(one) for one in known]}
        console.file.write(json.dumps(document, indent=1, allow_nan=False) + "\n")
    else:
        _print_known(known, str(where), console)
        console.print("all is well" if is_right else "[red]something is wrong: see the lines with ✗[/red]")
    return EXIT_DONE if is_right else EXIT_FAILED


def _print_facts(found: Sequence[Fact], console: Console) -> None:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    for fact in found:
        mend = f"\n[dim]{_plain(fact.mend)}[/dim]" if fact.mend else ""
        table.add_row(_MARKS[fact.state], fact.name, f"{_plain(fact.found)}{mend}")
    console.print(table, highlight=False)


def _print_known(known: Sequence[Known], device: str, console: Console) -> None:
    from rich.table import Table

    table = Table(title=f"Numbers that are known, computed on {device}", title_justify="left")
    table.add_column("")
    table.add_column("number")
    for column in ("expected", "found", "off by", "allowed"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in known:
        mark = _MARKS["ok" if one.is_right else "wrong"]
        if one.error:
            table.add_row(
                mark, f"{_plain(one.name)}: {_plain(one.error)}", f"{one.expected:.6g}", "–", "–", ""
            )
            continue
        off = f"{one.deviation:.1g}"
        table.add_row(
            mark, _plain(one.name), f"{one.expected:.6g}", f"{one.found:.6g}", off, f"{one.tolerance:g}"
        )
    console.print(table)
    console.print(f"in {sum(one.seconds for one in known):.1f} s", highlight=False)


def _entry(one: Known) -> dict[str, Any]:
    numbers = {
        "expected": one.expected,
        "found": one.found,
        "off_by": one.deviation,
        "allowed": one.tolerance,
        "seconds": one.seconds,
    }
    finite = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return {"name": one.name, "ok": one.is_right, **finite, "error": one.error}


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
