"""Hashes of the user's own code. Imports no torch."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from importlib.machinery import PathFinder
from pathlib import Path


def sources_fingerprint(module: str) -> str:
    """SHA-256 of a module's file and of the user's own modules that it imports, directly or through each other.

    Imports are read from the source, so nothing is executed, and an import within a function counts too. Installed
    packages and the standard library are left out. A module that imports nothing of the user's own has the SHA-256
    of its file alone.

    Args:
        module: its dotted name.

    Returns:
        64 hex digits; empty if there is no such file.
    """
    sources: dict[str, bytes] = {}
    _collect(module, sources, is_first=True)
    digests = {name: hashlib.sha256(source).hexdigest() for name, source in sources.items()}
    if len(digests) < 2:
        return next(iter(digests.values()), "")
    return hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest()


def _collect(module: str, sources: dict[str, bytes], *, is_first: bool = False) -> None:
    path, is_package = _file_of(module)
    if (
        module in sources
        or path is None
        or not (is_first or (path.suffix == ".py" and not is_installed(path)))
    ):
        return
    sources[module] = path.read_bytes()
    if is_installed(path):
        return
    try:
        tree = ast.parse(sources[module])
    except (SyntaxError, ValueError):  # importing it will say so
        return
    for name in _imported(tree, module if is_package else module.rpartition(".")[0]):
        steps = name.split(".")
        for length in range(1, len(steps) + 1):  # importing a.b runs a, too
            _collect(".".join(steps[:length]), sources)


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """The dotted names that a module may import; of `from a import b`, b may be a module or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" if base else alias.name for alias in node.names)


def _file_of(module: str) -> tuple[Path | None, bool]:
    """A module's file, and whether it is a package; the packages that it lies in are not imported."""
    if module == "__main__":
        place = getattr(sys.modules[module], "__file__", None)
        return (Path(place) if place else None), False
    steps = module.split(".")
    try:
        spec = importlib.util.find_spec(steps[0])
        for length in range(2, len(steps) + 1):
            if spec is None or spec.submodule_search_locations is None:
                return None, False
            spec = PathFinder.find_spec(".".join(steps[:length]), spec.submodule_search_locations)
    except (ImportError, ValueError, AttributeError):
        return None, False
    if spec is None or not spec.has_location or not spec.origin or not Path(spec.origin).is_file():
        return None, False
    return Path(spec.origin), spec.submodule_search_locations is not None


def is_installed(path: Path) -> bool:
    """True for files of Python and of installed packages, which have versions of their own."""
    resolved = path.resolve()
    return any(resolved.is_relative_to(folder) for folder in _installed_folders())


@lru_cache(maxsize=1)
def _installed_folders() -> tuple[Path, ...]:
    places = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    places += [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    return tuple(dict.fromkeys(Path(place).resolve() for place in places))
