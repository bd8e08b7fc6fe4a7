"""What others cite names this version and this licence."""

from __future__ import annotations

from pathlib import Path

import yaml

from transferscope import __version__

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_version_and_of_the_paper() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["version"] == __version__
    assert cited["license"] == "Apache-2.0"
    assert "Version 2.0" in (ROOT / "LICENSE").read_text()[:200]
    (paper,) = cited["references"]
    assert [author["family-names"] for author in paper["authors"]] == ["Neyshabur", "Sedghi", "Zhang"]
