"""Runs and Points: which weights an analysis may ask for.

A Run is one training run; a Point is a Run's network at one epoch. P and RI are no extra models: they are
the Points at epoch 0 of P-T and RI-T. Pre-training is a Run like any other, from a random initialization
on the source.
"""

from __future__ import annotations

import hashlib
from typing import Any, Literal

from pydantic import SerializeAsAny

from transferscope.core.config import (
    AnalysisConfig,
    LearningRates,
    Recipe,
    Schedule,
    SeedChoice,
    Study,
    Weights,
)
from transferscope.core.datasets import describe
from transferscope.core.options import DatasetOptions, Frozen, NetworkOptions, Normalization, later_option

SHUFFLE_SEED_OFFSET = 1234
"""A run's seed s shuffles with seed 1234 + s, as the paper's released code does; s is that of `seed_for`."""

Kind = Literal["p_t", "ri_t", "layer_statistics", "permuted_weights"]
KINDS: tuple[Kind, ...] = ("p_t", "ri_t")
"""The kinds that the paper compares."""
CONTROLS: tuple[Kind, ...] = ("layer_statistics", "permuted_weights")
"""Kinds that start with the statistics of P, without its features; see `transferscope.models.init`."""
KIND_NAMES: dict[Kind, str] = {
    "p_t": "P-T",
    "ri_t": "RI-T",
    "layer_statistics": "layer statistics",
    "permuted_weights": "permuted weights",
}
"""Names of the kinds in tables and figures."""


class View(Frozen):
    """How a data set's images are shown, train and test alike."""

    kind: Literal["unshuffled", "blocks", "pixels_and_channels"] = "unshuffled"
    """Unshuffled images, shuffled square blocks, or permuted pixels and channels."""
    block_size_px: int | None = None
    """Side of a block; only for blocks."""
    seed: int | None = None
    """Seed (of numpy's RandomState) for the permutation, which is the same for all images; only for shuffled views."""


UNSHUFFLED = View()

Initialization = Literal["random", "pretrained", "layer_statistics", "permuted_weights"]
_INITIALIZATIONS: dict[Kind, Initialization] = {
    "p_t": "pretrained",
    "ri_t": "random",
    "layer_statistics": "layer_statistics",
    "permuted_weights": "permuted_weights",
}


def seed_for(seed: int, target: str) -> int:
    """The number that a seed of the study becomes on a target.

    It is another number on each target, so what happens on one target says nothing about another one: the seeds are
    nested in the targets.

    Args:
        seed: a seed of the study.
        target: name of the target; empty for the first target of a study, which has the seeds as they are.

    Returns:
        The seed itself, or the first 31 bits of SHA-256 of "<seed> <target>".

    >>> seed_for(3, ""), seed_for(3, "symbols")
    (3, 1920451993)
    """
    if not target:
        return seed
    return int(hashlib.sha256(f"{seed} {target}".encode()).hexdigest()[:8], 16) >> 1


def shuffled_view(
    study: Study, target: str, block_size_px: int | Literal["pixels_and_channels"], seed: int
) -> View:
    """The view of a target's images for a block size; the whole image's size means unshuffled.

    Args:
        study: the study.
        target: name of the target.
        block_size_px: side of a block in pixels, or "pixels_and_channels".
        seed: the run's seed.
    """
    if block_size_px == describe(study.targets[target].data).image_size_px:
        return UNSHUFFLED
    drawn = SHUFFLE_SEED_OFFSET + seed_for(seed, _seeds_of(study, target))
    if block_size_px == "pixels_and_channels":
        return View(kind="pixels_and_channels", seed=drawn)
    return View(kind="blocks", block_size_px=block_size_px, seed=drawn)


def _seeds_of(study: Study, target: str) -> str:
    """What `seed_for` draws seeds for: the first of the targets with these data, or "" for the first one of the study,
    which keeps its results if the study gets more targets."""
    first, *others = study.targets
    data = study.targets[target].data
    return (
        ""
        if study.targets[first].data == data
        else next(name for name in others if study.targets[name].data == data)
    )


class SearchedRecipe(Schedule):
    """A recipe whose learning rate is the best of a search; the rate is known after the Runs of the search."""

    search: tuple[Run, ...]
    """Networks trained with each rate of the grid; see `transferscope.train.rate_search`."""


class Run(Frozen):
    """One training run: exactly the settings that decide its result."""

    network: SerializeAsAny[NetworkOptions]
    normalization: Normalization
    data: SerializeAsAny[DatasetOptions]
    view: View = UNSHUFFLED
    initialization: Initialization
    """The kind of initialization: random; or the body of `source`, or a control made from it, with a random head."""
    source: Point | GivenWeights | None = None
    """The pre-trained network; None if the initialization is random."""
    init_seed: int
    """The study's seed of the random part of the initialization; `seed_for` makes the generator's of it."""
    seed: int
    """The study's seed of everything else: the order of the batches, augmentation, dropout; likewise."""
    seeds_of: str = later_option("")
    """Name of the target that the seeds are drawn for; empty: they are used as they are."""
    recipe: Recipe | SearchedRecipe
    is_search: bool = False
    """True for a network of a rate search: only its history is kept, it is not evaluated on test images, and a loss
    that is not finite is a valid result."""

    @property
    def final(self) -> Point:
        """The network at the end of the training."""
        return Point(run=self, epoch=self.recipe.epochs)

    @property
    def has_init(self) -> bool:
        """True: the initialization of a Run is known."""
        return True

    @property
    def kept_epochs(self) -> tuple[int, ...]:
        """Epochs with a checkpoint."""
        return self.recipe.kept_epochs

    @property
    def best(self) -> Point:
        """The network at the epoch that its recipe's `best_by` chose."""
        return Point(run=self, epoch="best")

    @property
    def outcome(self) -> Point:
        """The best network if the recipe keeps it, else the final one: what a pre-training is made for."""
        return self.final if self.recipe.best_by == "none" else self.best

    @property
    def init(self) -> Point:
        """The network before the training: P under a new head, or RI."""
        return Point(run=self, epoch=0)


class GivenRun(Frozen):
    """A network that was trained elsewhere, of which only the final weights, and possibly the initial ones, are
    known."""

    network: SerializeAsAny[NetworkOptions]
    normalization: Normalization
    data: SerializeAsAny[DatasetOptions]
    name: str
    """The user's name of the network; not part of the key."""
    kind: Literal["p_t", "ri_t"]
    """The kind that the user states; not part of the key."""
    weights: Weights
    """Its weights, including the head."""
    init_weights: Weights | None
    """The weights from which it was started, if given; with a random head unless their own head fits."""

    @property
    def final(self) -> Point:
        """The given network."""
        return Point(run=self, epoch=1)

    @property
    def init(self) -> Point:
        """The network from which it was started."""
        return Point(run=self, epoch=0)

    @property
    def has_init(self) -> bool:
        """True if the initialization is known."""
        return self.init_weights is not None

    @property
    def kept_epochs(self) -> tuple[int, ...]:
        """1 is the given network; 0 is its initialization, if known."""
        return (0, 1) if self.has_init else (1,)


class Point(Frozen):
    """The network of a Run after `epoch` epochs."""

    run: Run | GivenRun
    epoch: int | Literal["best"]
    """"best": the epoch that the recipe's `best_by` chose; known when the Run is done."""


class GivenWeights(Frozen):
    """P as given by the user: existing weights, loaded into the study's network."""

    network: SerializeAsAny[NetworkOptions]
    weights: Weights
    num_classes: int
    """Seed of the unused head."""
    channels: int
    image_size_px: int


SearchedRecipe.model_rebuild()
Run.model_rebuild()
GivenRun.model_rebuild()


def pretraining_run(study: Study) -> Run:
    """The Run that trains P. Raises ValueError if the weights of P are given."""
    source = study.source
    recipe = None if source is None else source.pretraining
    if source is None or recipe is None or source.data is None:
        raise ValueError("the study's P is given, not pre-trained here")
    return Run(
        network=study.network,
        normalization=study.known_normalization,
        data=source.data,
        initialization="random",
        init_seed=recipe.seed,
        seed=recipe.seed,
        recipe=Recipe(**_fields(recipe), learning_rate=recipe.learning_rate),
    )


def pretrained(study: Study) -> Point | GivenWeights:
    """P: the outcome of the pre-training, or the given weights."""
    if study.source is None or study.source.weights is None:
        return pretraining_run(study).outcome
    about = describe(next(iter(study.targets.values())).data)  # all are of one size
    return GivenWeights(
        network=study.network,
        weights=study.source.weights,
        num_classes=about.num_classes,
        channels=about.channels,
        image_size_px=about.image_size_px,
    )


def target_run(
    study: Study,
    kind: Kind,
    target: str,
    seed: int,
    *,
    view: View = UNSHUFFLED,
    pretrain_epoch: int | None = None,
    init_seed: int | None = None,
    augment: bool = True,
) -> Run:
    """The Run of one instance of P-T, of RI-T or of a control.

    Args:
        study: the study.
        kind: "p_t", "ri_t", "layer_statistics" or "permuted_weights".
        target: name of the target.
        seed: the instance's seed.
        view: how the images are shown.
        pretrain_epoch: not of RI-T: the pre-training epoch to start from; that of P by default.
        init_seed: seed of what is drawn at random; the instance's seed by default.
        augment: True to augment training images as the study says. Images of a shuffled view are never augmented, so
            Runs that are compared with them must not be either.
    """
    augment = augment and view == UNSHUFFLED
    is_the_studys_own = augment or study.own_training.augmentation == "none"
    source = None if kind == "ri_t" else pretrained(study)
    if isinstance(source, Point) and pretrain_epoch == source.epoch:
        pretrain_epoch = None  # the P-T that every analysis means
    if source is not None and pretrain_epoch is not None:
        source = Point(run=pretraining_run(study), epoch=pretrain_epoch)
    # nobody looks inside a network of shuffled images, of another checkpoint, or inside a control
    looked_into = view == UNSHUFFLED and is_the_studys_own and pretrain_epoch is None and kind in KINDS
    schedule, kept = study.own_training.schedule_of(kind), study.targets[target].keep_epochs
    if kept is not None:
        schedule = schedule.model_copy(update={"keep_epochs": kept})
    fields = _fields(schedule, looked_into=looked_into, augment=augment)
    rates = learning_rates(study, target)
    return Run(
        network=study.network,
        normalization=study.known_normalization,
        data=study.targets[target].data,
        view=view,
        initialization=_INITIALIZATIONS[kind],
        source=source,
        init_seed=seed if init_seed is None else init_seed,
        seed=seed,
        seeds_of=_seeds_of(study, target),
        recipe=SearchedRecipe(**fields, search=search_runs(study, kind, target))
        if rates is None
        else Recipe(**fields, learning_rate=rates.of(kind)),
    )


def search_runs(study: Study, kind: Kind, target: str) -> tuple[Run, ...]:
    """The Runs of the rate search for a kind and a target: each rate with each seed, ordered by rate.

    They are trained like the study's Runs of this kind, except for seeds, rates, held-out images and epochs. If all
    targets share one rate, they include every target without its own rates. Empty if the study gives the rates.
    """
    search = study.own_training.rate_search
    if search is None or learning_rates(study, target) is not None:
        return ()
    targets = (
        [name for name in study.targets if learning_rates(study, name) is None] if search.shared else [target]
    )
    schedule = study.own_training.schedule_of(kind)
    fields = _fields(schedule, looked_into=False)
    fields |= {"held_out": search.held_out, "epochs": search.epochs or schedule.epochs}
    source = None if kind == "ri_t" else pretrained(study)
    found = [
        Run(
            network=study.network,
            normalization=study.known_normalization,
            data=study.targets[name].data,
            initialization=_INITIALIZATIONS[kind],
            source=source,
            init_seed=seed,
            seed=seed,
            recipe=Recipe(**fields, learning_rate=rate),
            is_search=True,
        )
        for rate in sorted(search.rates)
        for seed in search.seeds
        for name in targets
    ]
    return tuple(dict.fromkeys(found))  # two names may stand for the same data


def given_runs(study: Study, target: str) -> list[tuple[Kind, int, GivenRun]]:
    """Kind, number and run of each given network, P-T first."""
    source = study.source
    runs = [
        GivenRun(
            network=study.network,
            normalization=study.known_normalization,
            data=study.targets[target].data,
            name=name,
            kind=given.kind,
            weights=given.weights,
            init_weights=source.weights if source is not None and given.kind == "p_t" else None,
        )
        for name, given in (study.instances or {}).items()
    ]
    return sorted(((run.kind, number, run) for number, run in enumerate(runs)), key=lambda found: found[:2])


def kind_of(run: Run) -> Kind:
    """The kind of a Run on a target."""
    return next(kind for kind, made in _INITIALIZATIONS.items() if made == run.initialization)


def learning_rates(study: Study, target: str) -> LearningRates | None:
    """The learning rates of all kinds on this target; None if they are searched."""
    return study.targets[target].learning_rate or study.own_training.learning_rate


def chosen_targets(study: Study, config: AnalysisConfig) -> tuple[str, ...]:
    """The targets that an analysis measures, in the study's order."""
    return tuple(study.targets) if config.targets is None else config.targets


def chosen_seeds(study: Study, config: AnalysisConfig, target: str) -> tuple[int, ...]:
    """The seeds that an analysis measures on a target."""
    return pick_seeds(pick_seeds(study.seeds, study.targets[target].seeds), config.seeds)


def pick_seeds(seeds: tuple[int, ...], choice: SeedChoice | None) -> tuple[int, ...]:
    """The first `choice` of some seeds, or those named that are among them, in the order named; all for None.

    >>> pick_seeds((0, 1, 2), 2), pick_seeds((0, 1, 2), (2, 1, 7)), pick_seeds((0, 1, 2), None)
    ((0, 1), (2, 1), (0, 1, 2))
    """
    if choice is None or isinstance(choice, int):
        return seeds[:choice]
    return tuple(seed for seed in choice if seed in seeds)


def _fields(schedule: Schedule, *, looked_into: bool = True, augment: bool = True) -> dict[str, Any]:
    """A recipe without its rate in a canonical form, so that equal recipes give the same Run."""
    fields = {name: getattr(schedule, name) for name in Schedule.model_fields}
    fields["keep_epochs"] = schedule.kept_epochs[1:-1] if looked_into else ()
    if not looked_into:
        fields["best_by"] = "none"
    if not augment:
        fields["augmentation"] = "none"
    if fields["augmentation"] != "crop_and_flip":
        fields["crop_scale"] = Schedule.model_fields["crop_scale"].default
    return fields
