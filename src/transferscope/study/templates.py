"""The studies that come along."""

from __future__ import annotations

from pathlib import Path

from transferscope.core.errors import BadInput
from transferscope.core.files import write_atomically


def write_template(path: Path, name: str) -> None:
    """Write a study that comes with the package; an existing file is left alone.

    Raises:
        BadInput: unknown name, or the file can't be written.
    """
    from transferscope.study.file import template_study

    text = template_study(name)
    if path.exists():
        raise BadInput(f"{path} exists already; choose another name, or remove it first.")
    try:
        write_atomically(path, text)
    except OSError as error:
        raise BadInput(f"can't write {path}: {error.strerror or error}.") from None


def embedded_study() -> Path:
    """The file of the embedded default study."""
    return Path(__file__).parent / "studies" / "demo.yaml"
