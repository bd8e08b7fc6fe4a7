"""Pages of the site that are made from the code; `make docs` builds the site itself."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest
from file_modules import module_of

import transferscope
from transferscope.analyses.contract import analysis_module, analysis_names

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "transferscope"


@pytest.fixture(scope="module")
def site() -> ModuleType:
    return module_of(ROOT / "tools" / "docs_site.py")


@pytest.fixture(scope="module")
def pages(site: ModuleType) -> dict[str, str]:
    return site.made_pages()


def test_every_public_module_is_in_the_reference_once(pages: dict[str, str]) -> None:
    named = [name for page in pages.values() for name in re.findall(r"^::: (\S+)$", page, re.MULTILINE)]
    files = [
        path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py") if path.name[0] != "_"
    ]
    modules = {".".join(("transferscope", *file.parts)) for file in files}
    functions = {f"transferscope.{transferscope._HOMES[name]}.{name}" for name in transferscope.__all__}
    assert sorted(named) == sorted([*modules, *functions])


def test_every_command_and_table_is_listed(pages: dict[str, str]) -> None:
    for command in ("run", "demo", "compare", "plan", "status", "report", "clean", "init", "data check"):
        assert re.search(rf"^##+ transferscope {command}$", pages["reference/command-line.md"], re.MULTILINE)
    for name in analysis_names():
        module = analysis_module(name)
        for table in (*module.TABLES, *getattr(module, "SUMMARIES", {})):
            assert f"### {table}\n" in pages["reference/tables.md"]


def test_pages_of_the_navigation_are_there(pages: dict[str, str]) -> None:
    listed = re.findall(r"([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert len(listed) > 40
    missing = [name for name in listed if name not in pages and not (ROOT / "docs" / name).exists()]
    assert not missing


def test_figures_of_the_experiments_are_there() -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text()):
            assert (page.parent / name).exists(), f"{page.name}: {name}"


def test_nothing_is_asked_of_a_host() -> None:
    config = (ROOT / "mkdocs.yml").read_text()
    assert "font: false" in config
    assert "http" not in config
