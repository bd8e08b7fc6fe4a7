"""Note the P of a run of the embedded study as the documented one: python tools/documented_pretraining.py runs/demo

The report of a study that pre-trains in the same way says whether its P is this one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from transferscope.report.pretrained import documented_file, pretrained_task, stored_sha256
from transferscope.report.workspace import Workspace, hardware, versions
from transferscope.study.file import load_study
from transferscope.study.plan import plan
from transferscope.study.templates import embedded_study


def main() -> None:
    found = pretrained_task(plan(load_study(embedded_study())))
    sha256 = found and stored_sha256(*found, Workspace(Path(sys.argv[1])).store)
    if found is None or sha256 is None:
        sys.exit(
            f"{sys.argv[1]} holds no P of the embedded study as it is now; run it first: transferscope demo"
        )
    machine = hardware()
    document = {
        "key": found[0].key,
        "sha256": sha256,
        "machine": f"{machine['processor']}, {machine['cpu_capability']}, torch {versions()['torch']}",
    }
    documented_file().write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
