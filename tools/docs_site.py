"""What `make docs` adds to the pages in docs/: those that are made from the code, and formulas as MathML.

A hook of MkDocs. Made from the code, so that they can't fall behind it: the command line's help, the tables with
their columns, the commented study file, every public name with its docstring. CONTRIBUTING.md, CHANGELOG.md and the
notebooks are shown from where they lie. Browsers draw MathML by themselves: no script, no request.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "transferscope"

SHOWN = {
    f"{name.lower()}.md": ROOT / f"{name}.md"
    for name in ("CONTRIBUTING", "CHANGELOG", "SECURITY")
    if (ROOT / f"{name}.md").exists()
}
"""Pages that lie beside the README, by their place in the site."""

FORMULA = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)

REFERENCE = {
    "measures": ("Measures", "Pure functions on tensors, modules and state dicts.", ["metrics"]),
    "studies": (
        "Studies and runs",
        "From a study file to a report: the study, its plan, its tasks and what comes out.",
        ["core", "study", "execute", "train", "report", "api"],
    ),
    "extending": (
        "Extending",
        "The shapes of analyses, data sets and networks, and all that there are.",
        ["analyses", "data", "models"],
    ),
}
"""Pages of docstrings: title, what they hold, and parts of the package. All other modules have a page, too."""
INSIDE = "What the command line is made of; for those who change it."


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Pages in docs/ that nobody put into the navigation stand at the end of Background."""
    assert config.nav is not None
    listed = json.dumps(config.nav)
    background = next(part["Background"] for part in config.nav if "Background" in part)
    pages = [path for path in sorted((ROOT / "docs").glob("*.md")) if f'"{path.name}"' not in listed]
    background += [{heading(path.read_text()): path.name} for path in pages]
    background += [
        {heading(path.read_text()): name} for name, path in SHOWN.items() if f'"{name}"' not in listed
    ]
    return config


def heading(text: str) -> str:
    """The first heading of a page."""
    return next(line.removeprefix("# ") for line in text.splitlines() if line.startswith("# "))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are made from the code."""
    from mkdocs.structure.files import File

    for name, text in made_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_content(text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Formulas become MathML."""
    from latex2mathml.converter import convert

    def mathml(match: re.Match[str]) -> str:
        if match[2] == "(":
            return convert(html.unescape(match[3]), display="inline")
        return f'<div class="formula">{convert(html.unescape(match[3]), display="block")}</div>'

    return FORMULA.sub(mathml, text)


def made_pages() -> dict[str, str]:
    """Markdown by the page's place below docs/."""
    pages = {
        **{name: path.read_text().replace("](docs/", "](") for name, path in SHOWN.items()},
        "reference/command-line.md": "\n".join(command_line()),
        "reference/tables.md": "\n".join(tables()),
        "reference/study-file.md": study_file(),
        "reference/functions.md": "\n".join(functions()),
    }
    left = public_modules("")
    for name, (title, about, parts) in REFERENCE.items():
        modules = [module for part in parts for module in public_modules(part)]
        left = [module for module in left if module not in modules]
        pages[f"reference/{name}.md"] = "\n".join([f"# {title}\n", f"{about}\n", *_documented(modules)])
    pages["reference/inside.md"] = "\n".join(["# Inside\n", f"{INSIDE}\n", *_documented(left)])
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        pages[f"notebooks/{notebook.stem}.md"] = "\n".join(notebook_page(notebook))
    return pages


def public_modules(part: str) -> list[str]:
    """The module of this name below the package, or all in the package of this name that have public names."""
    place = PACKAGE / part if part else PACKAGE
    files = sorted(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    found = [file.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".") for file in files]
    return [f"transferscope.{name}" for name in found if not name.rpartition(".")[2].startswith("_")]


def functions() -> Iterator[str]:
    """The functions that `transferscope` itself exports."""
    import transferscope

    yield "# Python functions\n"
    yield "Imported as `import transferscope as ts`. They work without a study.\n"
    yield from _documented(
        f"transferscope.{transferscope._HOMES[name]}.{name}" for name in transferscope.__all__
    )


def _documented(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield f"::: {name}\n"


def command_line() -> Iterator[str]:
    """The help of every command."""
    import typer
    from typer.main import get_command

    from transferscope.cli import app

    yield "# Command line\n"
    yield "Exit codes: 0 done, 1 a task failed, 2 the input can't be used, 130 stopped by Ctrl-C.\n"
    root: Any = get_command(app)

    def helped(command: Any, name: str, parent: Any) -> Iterator[str]:
        context = typer.Context(
            command, info_name=name, parent=parent, terminal_width=100, max_content_width=100
        )
        full = context.command_path
        yield f"## {full}\n" if parent is None or parent.parent is None else f"### {full}\n"
        yield f"```text\n{command.get_help(context)}\n```\n"
        for sub, below in getattr(command, "commands", {}).items():
            yield from helped(below, sub, context)

    yield from helped(root, "transferscope", None)


def tables() -> Iterator[str]:
    """Every table that a run writes, with its columns."""
    from transferscope.analyses.contract import analysis_module, analysis_names

    yield "# Tables\n"
    yield "Every run writes these as `tables/<name>.parquet` and `tables/<name>.csv`.\n"
    for name in sorted(analysis_names(), key=lambda name: analysis_module(name).ORDER):
        module = analysis_module(name)
        yield f"## {module.TITLE}\n"
        own = {table: (*module.KEYS, *columns) for table, columns in module.TABLES.items()}
        for table, columns in {**own, **getattr(module, "SUMMARIES", {})}.items():
            yield f"### {table}\n"
            yield "| column | type | unit | meaning |\n| --- | --- | --- | --- |"
            for column in columns:
                meaning = html.escape(column.meaning).replace("|", "\\|").replace("*", "\\*")
                yield f"| `{column.name}` | {column.dtype} | {column.unit} | {meaning} |"
            yield ""


def study_file() -> str:
    """The commented study file with all keys."""
    text = (PACKAGE / "study/studies/own-data.yaml").read_text()
    return (
        "# Study file\n\nAll keys, with their defaults where they are commented out, as `transferscope init` "
        f"writes them. An unknown key is refused with its line and the nearest valid one.\n\n```yaml\n{text}```\n"
    )


def notebook_page(path: Path) -> Iterator[str]:
    """A notebook with its outputs, as Markdown."""
    yield f"*This page is the notebook `notebooks/{path.name}` with its outputs.*\n"
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield f"{source}\n"
            continue
        yield f"```python\n{source}\n```\n"
        for output in cell["outputs"]:
            yield _output(output)


def _output(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    if "text/html" in data:
        # Without empty lines, which would end the block of HTML in Markdown.
        lines = [line for line in "".join(data["text/html"]).splitlines() if line.strip()]
        return "<div class='output' markdown='0'>\n" + "\n".join(lines) + "\n</div>\n"
    if "image/svg+xml" in data:
        return "<div class='output' markdown='0'>\n" + "".join(data["image/svg+xml"]) + "\n</div>\n"
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f"```text\n{text.rstrip()}\n```\n"
