"""Coverage-guided fuzzing of the readers that are Python code: `python coverage_guided.py SEED [libFuzzer's options]`.

Needs the extra `fuzz` (atheris). SEED is a name of `seeds.SEEDS`, from which the inputs are bred. Any exception but
BadInput, any input of over 10 s and any that takes the process over 1 GB ends it, with the input in a file.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris
import torch  # noqa: F401  before anything is instrumented

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

INSTRUMENTED = ["transferscope", "yaml", "csv", "gzip", "zipfile"]
"""What is imported from here on; to instrument all of torch as well takes minutes."""

with atheris.instrument_imports(include=INSTRUMENTED):
    from readers import READERS
    from seeds import FOLDERS, SEEDS

    from transferscope.core.errors import BadInput


def main() -> None:
    """Fuzz until libFuzzer is told to stop, as by -max_total_time=60."""
    name, *options = sys.argv[1:]
    reader, file, make = SEEDS[name]
    with tempfile.TemporaryDirectory() as place:
        folder, corpus = Path(place) / "in", Path(place) / "corpus"
        folder.mkdir()
        corpus.mkdir()
        (corpus / "honest").write_bytes(make())

        def one(content: bytes) -> None:
            (folder / file).write_bytes(content)
            with suppress(BadInput):
                READERS[reader](folder if reader in FOLDERS else folder / file)

        limits = ["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-max_len=16384"]
        atheris.Setup([sys.argv[0], *limits, *options, str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
