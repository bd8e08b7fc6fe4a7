"""What is left out of the data is told: with the results, and in the provenance that the report shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from transferscope.core.errors import BadInput
from transferscope.core.runs import UNSHUFFLED
from transferscope.execute.jobs import run_task
from transferscope.execute.loop import Outcome
from transferscope.execute.store.artifacts import read_data, read_description
from transferscope.execute.store.local import Store
from transferscope.report.workspace import provenance
from transferscope.study.plan import Plan, plan
from transferscope.study.task import Task

CPU = torch.device("cpu")


def planned(folder: Path, on_bad: str) -> tuple[Plan, Task]:
    rng = np.random.Generator(np.random.PCG64(0))
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            for number in range(3):
                path = folder / "photos" / split / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(path)
    (folder / "photos" / "train" / "dog" / "1.png").write_text("not an image")
    data = {"dataset": "imagefolder", "root": str(folder / "photos"), "image_size_px": 16, "on_bad": on_bad}
    study = tiny.study(folder, "mistakes", targets={"photos": {"data": data}})
    the_plan = plan(study)
    return the_plan, next(task for task in the_plan.graph if task.title == "data photos")


def test_counts_are_with_the_results_and_in_the_provenance(tmp_path: Path) -> None:
    the_plan, task = planned(tmp_path, "skip")
    store = Store(tmp_path / "store")
    store.prepare()
    run_task(task, store, CPU)
    about = read_description(store.path(task.key))
    assert about.left_out == {"undecodable": 1}
    assert (about.num_train, about.num_test) == (5, 6)
    assert len(read_data(store.path(task.key), UNSHUFFLED).train) == 5
    origin = provenance(the_plan, store, Outcome(), num_workers=1, device="cpu")
    assert origin["images_left_out"] == {"data photos": {"undecodable": 1}}


def test_nothing_is_stored_where_the_policy_is_to_stop(tmp_path: Path) -> None:
    the_plan, task = planned(tmp_path, "stop")
    store = Store(tmp_path / "store")
    store.prepare()
    with pytest.raises(BadInput, match=r"1 file\(s\) that can't be decoded as an image: train/dog/1.png"):
        run_task(task, store, CPU)
    assert not store.has(task.key)
    assert "images_left_out" not in provenance(the_plan, store, Outcome(), num_workers=1, device="cpu")
