"""A training that is stopped between two epochs goes on as if it had never been."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import networks
import pytest
import torch
from safetensors import SafetensorError
from small_training import CPU, NETWORK, split
from torch import nn

from transferscope.core.config import Recipe
from transferscope.core.errors import BadInput
from transferscope.execute.events import collected_notes
from transferscope.execute.store.checksums import sealed
from transferscope.execute.store.local import Store
from transferscope.execute.store.snapshot_folders import (
    snapshot_folder,
    sweep_snapshots,
    unfinished_trainings,
)
from transferscope.execute.store.snapshots import StoredSnapshots, snapshot_seconds
from transferscope.models.init import random_init
from transferscope.train import loop
from transferscope.train.loop import train
from transferscope.train.snapshot import Snapshot, Snapshots
from transferscope.train.trained import Trained

KEY = 64 * "a"


class Stopped(Exception):
    """What stops a training here."""


def recipe(**fields: Any) -> Recipe:
    return Recipe(**{"epochs": 6, "batch_size": 5, "learning_rate": 0.05, "keep_epochs": (2,), **fields})


RECIPES = {
    "sgd": recipe(),
    "without momentum": recipe(momentum=0),
    "adamw": recipe(optimizer="adamw", learning_rate=0.01, schedule="cosine", warmup_steps=6, clip_norm=0.5),
    "mixup": recipe(mixup=0.7, label_smoothing=0.1),
    "crops": recipe(augmentation="crop_and_flip"),
    "adamw, affine and mixup": recipe(
        optimizer="adamw", learning_rate=0.01, augmentation="affine", mixup=0.4
    ),
    "best by held-out": recipe(best_by="held_out", held_out=0.1, learning_rate=0.3),
    "bf16": recipe(precision="bf16"),
    "accumulated": recipe(accumulate=2),
    "all kept": recipe(keep_epochs="all", best_by="test"),
}


def with_dropout() -> nn.Module:
    """BatchNorm and dropout: buffers, and draws from the global generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return networks.Plain(3)


def fixup() -> nn.Module:
    return random_init(NETWORK, 3, 3, 0)


def trained(
    own: Recipe,
    model: nn.Module,
    snapshots: Snapshots | None = None,
    stop_after: int | None = None,
    global_seed: int = 7,
    told: list[float] | None = None,
) -> Trained:
    def on_progress(_: float, row: Mapping[str, float]) -> None:
        if told is not None:
            told.append(row["epoch"])
        if row["epoch"] == stop_after:
            raise Stopped

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(global_seed)
        return train(
            model,
            split(22, 1),
            split(9, 2),
            own,
            normalization="per_image",
            seed=5,
            device=CPU,
            held_out_split=split(11, 3) if own.held_out else None,
            on_progress=on_progress,
            snapshots=snapshots,
        )


def assert_same(found: Trained, expected: Trained) -> None:
    assert found.history.equals(expected.history)
    assert torch.equal(found.test_logits, expected.test_logits)
    assert list(found.checkpoints) == list(expected.checkpoints)
    states = [(found.checkpoints[epoch], state) for epoch, state in expected.checkpoints.items()]
    if expected.best is not None:
        assert found.best is not None
        assert (found.best.epoch, found.best.metric) == (expected.best.epoch, expected.best.metric)
        assert torch.equal(found.best.test_logits, expected.best.test_logits)
        states.append((found.best.state, expected.best.state))
    for ours, theirs in states:
        assert list(ours) == list(theirs)
        assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def stored(store: Store, every_seconds: float = 0) -> StoredSnapshots:
    return StoredSnapshots(store, KEY, CPU, every_seconds)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("make", [fixup, with_dropout], ids=["fixup", "dropout and BatchNorm"])
def test_a_training_stopped_twice_ends_as_one_that_never_was(
    store: Store, name: str, make: Callable[[], nn.Module]
) -> None:
    own, other = RECIPES[name], make()
    undisturbed = trained(own, make())
    with pytest.raises(Stopped):
        trained(own, make(), stored(store), stop_after=2)
    # where it stands is in the snapshot alone: not in the network, nor in the global generator
    with torch.no_grad():
        for tensor in (*other.parameters(), *other.buffers()):
            tensor += 1
    with pytest.raises(Stopped):
        trained(own, copy.deepcopy(other), stored(store), stop_after=5, global_seed=8)
    told: list[float] = []
    resumed = trained(own, other, stored(store), global_seed=9, told=told)
    assert told == [0, 1, 2, 3, 4, 5, 6]
    assert_same(resumed, undisturbed)


def test_an_epoch_that_is_noted_is_not_trained_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Stopped):
        trained(recipe(), fixup(), stored(store), stop_after=4)
    steps: list[int] = []
    real = loop.Stepper.step
    monkeypatch.setattr(loop.Stepper, "step", lambda *args: (steps.append(args[-1]), real(*args))[1])
    with collected_notes() as notes:
        trained(recipe(), fixup(), stored(store))
    assert steps == list(range(4 * 4, 6 * 4)), "4 steps an epoch"
    assert list(notes) == ["the training was stopped; it goes on after epoch 4"]


def test_a_short_training_writes_nothing(store: Store) -> None:
    trained(recipe(), fixup(), stored(store, every_seconds=60))
    assert not store.root.exists()


def test_a_snapshot_is_due_when_its_time_has_passed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("transferscope.execute.store.snapshots.time.monotonic", lambda: now[0])
    snapshots = stored(store, every_seconds=10)
    found = []
    for now[0] in (105.0, 110.0):
        found.append(snapshots.is_due())
    snapshots.write(Snapshot(facts={"epoch": 1}, states={}))
    for now[0] in (119.0, 120.0):
        found.append(snapshots.is_due())
    assert found == [False, True, False, True]


def test_what_is_kept_is_written_once(store: Store) -> None:
    written: list[set[str]] = []
    own, folder = recipe(keep_epochs="all"), snapshot_folder(store, KEY)

    class Watched(StoredSnapshots):
        def write(self, snapshot: Snapshot) -> None:
            super().write(snapshot)
            written.append({path.name for path in folder.glob("checkpoint-*")})
            assert {path.name.split(".")[0] for path in folder.iterdir()} == {"training", *snapshot.states}

    trained(own, fixup(), Watched(store, KEY, CPU, 0))
    assert [len(names) for names in written] == [2, 3, 4, 5, 6, 7]
    assert all(before < after for before, after in pairwise(written))


def cut(folder: Path) -> None:
    path = next(folder.glob("epoch-*"))
    path.write_bytes(path.read_bytes()[:-1])


def flip(folder: Path) -> None:
    path = next(folder.glob("checkpoint-0*"))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def lose(folder: Path) -> None:
    next(folder.glob("epoch-*")).unlink()


def garble(folder: Path) -> None:
    (folder / "training.json").write_text("{")


def edit(folder: Path) -> None:
    note = json.loads((folder / "training.json").read_text())
    note["facts"]["epoch"] += 1
    (folder / "training.json").write_text(json.dumps(note))


def age(folder: Path) -> None:
    note = json.loads((folder / "training.json").read_text())
    note["identity"]["torch"] = "1.0"
    note.pop("seal")
    (folder / "training.json").write_text(sealed(note))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (cut, "bytes instead of"),
        (flip, "another checksum than when it was written"),
        (lose, "No such file"),
        (garble, "training.json is damaged"),
        (edit, "training.json is damaged"),
        (age, "of another version of torch"),
    ],
)
def test_a_damaged_or_stale_snapshot_is_ignored_and_that_is_said(
    store: Store, harm: Callable[[Path], None], said: str
) -> None:
    with pytest.raises(Stopped):
        trained(recipe(), fixup(), stored(store), stop_after=4)
    folder = snapshot_folder(store, KEY)
    harm(folder)
    with collected_notes() as notes:
        found = trained(recipe(), fixup(), stored(store, every_seconds=60))
    (note,) = notes
    assert note.startswith("what a stopped training left was ignored, it began anew: ")
    assert said in note
    assert not folder.exists()
    assert_same(found, trained(recipe(), fixup()))


def test_a_writer_killed_at_any_step_leaves_the_last_snapshot(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call that changes the disk is the last one once."""
    own, undisturbed = recipe(), trained(recipe(), fixup())
    with pytest.raises(Stopped):
        trained(own, fixup(), stored(store), stop_after=2)
    kept = {path.name: path.read_bytes() for path in snapshot_folder(store, KEY).iterdir()}
    calls = ["os.fsync", "pathlib.Path.replace", "pathlib.Path.write_bytes", "pathlib.Path.unlink"]
    calls += ["transferscope.execute.store.snapshots.save_file"]

    def kill(*_: object, **__: object) -> None:
        raise SystemExit  # as far as files go: nothing that follows happens

    for call in calls:
        for path in snapshot_folder(store, KEY).iterdir():
            path.unlink()
        for name, data in kept.items():
            (snapshot_folder(store, KEY) / name).write_bytes(data)
        with monkeypatch.context() as patch:
            patch.setattr(call, kill)
            with pytest.raises(SystemExit):
                trained(own, fixup(), stored(store))
        assert_same(trained(own, fixup(), stored(store)), undisturbed)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("I/O error")])
def test_a_disk_that_is_full_does_not_stop_the_training(
    store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("transferscope.execute.store.snapshots.save_file", full)
    with collected_notes() as notes:
        found = trained(recipe(), fixup(), stored(store))
    assert_same(found, trained(recipe(), fixup()))
    assert list(notes) == [f"how far the training is could not be noted, it went on without: {error}"]
    assert not list(snapshot_folder(store, KEY).iterdir())


def test_snapshots_of_finished_and_of_unknown_trainings_are_removed(store: Store) -> None:
    for key in (64 * "a", 64 * "b", 64 * "c"):
        folder = snapshot_folder(store, key)
        folder.mkdir(parents=True)
        (folder / "training.json").write_text("12345")
    store.commit(64 * "a", lambda folder: None, {})
    assert unfinished_trainings(store, {64 * "a", 64 * "b"}) == {
        snapshot_folder(store, 64 * "a"): 5,
        snapshot_folder(store, 64 * "c"): 5,
    }
    sweep_snapshots(store)
    assert sorted(path.name[0] for path in (store.root / "resume").iterdir()) == ["b", "c"]


@pytest.mark.parametrize("text", ["soon", "-1", "nan", ""])
def test_seconds_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TRANSFERSCOPE_SNAPSHOT_SECONDS", text)
    with pytest.raises(BadInput, match=r"TRANSFERSCOPE_SNAPSHOT_SECONDS=.*at least 0"):
        snapshot_seconds()
