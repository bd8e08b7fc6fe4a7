"""The study: what is pre-trained on what, which targets, which recipes, which analyses.

All models are frozen and refuse unknown keys. The options of a data set, a network or an analysis are
models of their own plug-in; `transferscope.study.file` puts the parts together and says where in the file
a mistake stands.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, field_validator, model_validator

from transferscope.core.errors import BadInput
from transferscope.core.options import (
    Arguments,
    DatasetOptions,
    Frozen,
    MeanStd,
    NetworkOptions,
    Normalization,
    named_normalization,
)
from transferscope.core.tables import html_table

PositiveInt = Annotated[int, Field(ge=1)]
NaturalInt = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
FilePath = Annotated[Path, BeforeValidator(lambda value: Path(value) if isinstance(value, str) else value)]
Share = Annotated[float, Field(gt=0, le=1)]
Seeds = Annotated[
    tuple[NaturalInt, ...],
    BeforeValidator(lambda value: tuple(range(value)) if type(value) is int and value > 0 else value),
]
"""Seeds, or how many of them: 6 means 0 to 5."""
SeedChoice = PositiveInt | tuple[NaturalInt, ...]
"""At most how many of some seeds, from the first on, or which of them; see `transferscope.core.runs.pick_seeds`."""


class Schedule(Frozen):
    """How a network is trained, apart from the learning rate."""

    epochs: PositiveInt
    """Passes over the training data."""
    batch_size: PositiveInt = 32
    """Images a step; a last, smaller batch is left out unless it is the only one."""
    accumulate: PositiveInt = 1
    """Number of parts into which a batch is split to save memory; their gradients are summed. This affects only
    BatchNorm, which uses separate statistics for each part."""
    num_workers: PositiveInt = 1
    """Number of processes that train one network together, each with its part of every batch and, if available, its own
    GPU. The steps are those of one process, up to the rounding of sums; see docs/scaling.md."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    """SGD with momentum, as in the paper; or AdamW with its usual betas, 0.9 and 0.999."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of SGD; AdamW has none."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """L2 penalty of the weights (AdamW: decoupled). It excludes parameters of a single number (Fixup's biases and
    scales)."""
    decay: Literal["all", "weights_only"] = "all"
    """Which parameters weight decay applies to: all except single numbers, or only tensors with at least two axes,
    which excludes biases and the scales of normalization layers."""
    scalar_rate_factor: Annotated[float, Field(ge=0)] = 0.1
    """Learning rate of single-number parameters over the base rate (Zhang, Dauphin, Ma 2019)."""
    schedule: Literal["multistep", "cosine", "constant"] = "multistep"
    """How the learning rate falls over the steps."""
    milestones: tuple[Fraction, ...] = (0.3, 0.6, 0.9)
    """Where a multistep schedule drops, as fractions of all steps (the paper: 30, 60, 90 of 100 epochs)."""
    drop_factor: Annotated[float, Field(gt=0, le=1)] = 0.1
    """What a multistep schedule multiplies the rate with at each milestone."""
    warmup_steps: NaturalInt = 0
    """Steps of linear warm-up from 0."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest gradient norm, or none."""
    augmentation: Literal["none", "crop_and_flip", "affine"] = "none"
    """Augmentation of training images; see `transferscope.train.augment`. Shuffled images are never augmented."""
    crop_scale: tuple[Share, Share] = (0.08, 1.0)
    """Smallest and largest share of an image's area that crop_and_flip keeps."""
    mixup: Annotated[float, Field(ge=0)] = 0.0
    """Parameter alpha of mixup's Beta distribution (Zhang et al. 2018; the paper: 0.7); 0 disables mixup."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Label smoothing: the share of each label that is distributed over all classes; single labels only."""
    precision: Literal["fp32", "bf16", "fp64"] = "fp32"
    """Precision of the training. bf16: the forward pass uses autocast; weights, loss and evaluation stay in fp32. fp64:
    everything until the checkpoints, which are stored in fp32; the same networks on every processor, at about three
    times the cost."""
    compile: bool = False
    """True to use torch.compile in training; worthwhile for long trainings on a GPU."""
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the training images that is held out from training, evenly over the classes; the same images for every
    run on these data."""
    best_by: Literal["none", "held_out", "test"] = "none"
    """Images whose metric selects the checkpoint `best`; the earliest epoch wins ties. The paper uses test images,
    which makes the results on them optimistic."""
    keep_epochs: Literal["all"] | tuple[NaturalInt, ...] = ()
    """Epochs whose checkpoint is kept, in addition to 0 (the initialization) and the last."""

    @model_validator(mode="after")
    def _kept_epochs_exist(self) -> Schedule:
        for whose, last in self._last_epochs().items():
            if self.keep_epochs != "all" and any(epoch > last for epoch in self.keep_epochs):
                raise ValueError(f"keep_epochs {list(self.keep_epochs)} lie beyond {whose}, {last}")
        return self

    def _last_epochs(self) -> dict[str, int]:
        """The number of epochs, and the name of the setting for an error message."""
        return {"the last epoch": self.epochs}

    @model_validator(mode="after")
    def _parts_fit(self) -> Schedule:
        if self.best_by == "held_out" and not self.held_out:
            raise ValueError(
                "best_by: held_out needs held-out images: set held_out to a share of the training images such as 0.1"
            )
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(
                f"crop_scale {list(self.crop_scale)} must go from the least to the largest share"
            )
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate {self.accumulate} is more than batch_size, {self.batch_size}")
        if self.num_workers > self.batch_size // self.accumulate:
            raise ValueError(
                f"num_workers {self.num_workers} can't share a batch_size of {self.batch_size} in {self.accumulate} "
                "part(s) (accumulate): each needs an image of every part"
            )
        return self

    @property
    def kept_epochs(self) -> tuple[int, ...]:
        """Epochs with a checkpoint, in order: 0 is the init, the last is the final."""
        if self.keep_epochs == "all":
            return tuple(range(self.epochs + 1))
        return tuple(sorted({0, self.epochs, *self.keep_epochs}))


class Recipe(Schedule):
    """All settings of one training run."""

    learning_rate: Rate
    """Base learning rate."""


class Pretraining(Recipe):
    """The one pre-training run on the source. P is the network at its end, or with `best_by` that at its best epoch."""

    seed: NaturalInt = 0
    """Seed of the initialization and of the order of the batches."""


class LearningRates(Frozen):
    """A learning rate for each kind, so that neither kind is tuned better than the other."""

    p_t: Rate
    """Base learning rate of P-T."""
    ri_t: Rate
    """Base learning rate of RI-T."""
    layer_statistics: Rate | None = None
    """Base learning rate of the control whose weights are drawn with P's statistics; P-T's by default."""
    permuted_weights: Rate | None = None
    """Base learning rate of the control whose weights are P's, permuted; P-T's by default."""

    def of(self, kind: str) -> float:
        """The learning rate of a kind. A control without its own rate uses that of P-T, from which it differs only
        in its init."""
        return getattr(self, kind) or self.p_t


class RateSearch(Frozen):
    """A search of the learning rates with the same budget for every kind: rates, seeds and held-out images."""

    rates: tuple[Rate, ...] = Field(min_length=2)
    """The grid of rates. The report notes if the best rate is at its edge."""
    held_out: Fraction = 0.25
    """Share of the training images that is held out to compare the rates; see `Schedule.held_out`."""
    seeds: tuple[NaturalInt, ...] = Field(default=(1000,), min_length=1)
    """Seeds of the networks trained for the search; they must differ from the study's seeds."""
    epochs: PositiveInt | None = None
    """Epochs of each of these networks; default: the epochs of their kind in the study."""
    shared: bool = False
    """Choose one rate per kind for all targets, by the mean of their metrics, or one for each target."""

    @model_validator(mode="after")
    def _differ(self) -> RateSearch:
        for name, values in (("rates", self.rates), ("seeds", self.seeds)):
            if len(set(values)) != len(values):
                raise ValueError(f"{name} {list(values)} must differ from each other")
        return self

    @property
    def said(self) -> str:
        """How the rates are chosen, for the report."""
        rates, seeds = (", ".join(f"{value:g}" for value in values) for values in (self.rates, self.seeds))
        scope = "by the mean over the targets" if self.shared else "for each target"
        return (
            f"A search in this study: the same rates ({rates}) for all kinds, with seeds that the study does not use "
            f"({seeds}), judged by {100 * self.held_out:g} % of the training images, held out; the best was taken for "
            f"each kind, {scope}."
        )


class Training(Schedule):
    """How P-T and RI-T instances are trained on a target."""

    ri_t_epochs: PositiveInt | None = None
    """Epochs of RI-T, if it needs more than P-T (the paper's CheXpert: 400, and 200 for P-T); default: the epochs of
    P-T. Milestones are fractions of each network's epochs."""
    learning_rate: LearningRates | None = None
    """The base learning rate of each kind; omit it if you give a rate_search."""
    rate_search: RateSearch | None = None
    """Search the rates in the study itself, instead of giving them."""
    rates_chosen_by: str = "not said"
    """How the rates were chosen, for the report; default: the rate search, if there is one."""

    def schedule_of(self, kind: str) -> Training:
        """The schedule of a kind, with the epochs that it is trained for."""
        if kind != "ri_t" or self.ri_t_epochs is None:
            return self
        return self.model_copy(update={"epochs": self.ri_t_epochs})

    def _last_epochs(self) -> dict[str, int]:
        if self.ri_t_epochs is None:
            return super()._last_epochs()
        return {"P-T's last epoch": self.epochs, "RI-T's last epoch (ri_t_epochs)": self.ri_t_epochs}

    @model_validator(mode="after")
    def _rates_from_one_place(self) -> Training:
        if (self.learning_rate is None) == (self.rate_search is None):
            came = "both came" if self.rate_search is not None else "neither came"
            raise ValueError(
                f"expected either learning_rate or rate_search, {came}. learning_rate: {{p_t: 0.02, ri_t: 0.1}} gives "
                "the base rate of each kind; rate_search: {rates: [0.02, 0.05, 0.1]} searches them"
            )
        return self


class Weights(Frozen):
    """Pre-trained weights given by the user: P, without a head and without a history."""

    file: FilePath | None = None
    """A file written by safetensors or torch.save: a state dict, or a checkpoint that contains one."""
    package: str | None = None
    """An installed Python package that ships the weights; `file` is then a path in it. Nothing of it is imported."""
    hub: str | None = None
    """Published weights instead of a file: hf-hub:<organisation>/<name>. For networks of timm and torchvision also the
    name of their weights, such as a1_in1k or IMAGENET1K_V2, or `default`."""
    revision: str | None = None
    """Commit, tag or branch of an hf-hub: name; its main branch by default."""
    entry: str | None = None
    """Entry of the file that contains the state dict, as a dotted path; default: the usual names are tried."""
    key_map: Arguments | None = None
    """Regular expression -> replacement, applied in this order to the tensor names in the file; null drops a tensor."""
    allow_untrained: bool = False
    """True to accept weights that look untrained; the report then states this."""

    @model_validator(mode="after")
    def _one_place(self) -> Weights:
        if (self.file is None) == (self.hub is None):
            raise ValueError("give either file or hub")
        if self.revision is not None and not (self.hub or "").startswith("hf-hub:"):
            raise ValueError("revision belongs to a hub name that begins with hf-hub:")
        return self

    @property
    def place(self) -> str:
        """The location of the weights, as the user gave it."""
        return str(self.hub if self.file is None else self.file)

    @property
    def path(self) -> Path | None:
        """The path of the file; None for published weights.

        Raises:
            BadInput: the package is not installed.
        """
        if self.file is None or self.package is None:
            return self.file
        found = importlib.util.find_spec(self.package) if self.package.isidentifier() else None
        places = [] if found is None else list(found.submodule_search_locations or ())
        if not places:
            raise BadInput(f"the package {self.package}, which ships the weights, is not installed")
        return Path(places[0]) / self.file

    @model_validator(mode="after")
    def _package_has_a_file(self) -> Weights:
        if self.package is None:
            return self
        if self.file is None:
            raise ValueError("package needs the path of a file in it: give file too")
        if self.file.is_absolute() or ".." in self.file.parts:
            raise ValueError(f"file must be a path in the package {self.package}, not {self.file}")
        return self

    @model_validator(mode="after")
    def _patterns_are_regular_expressions(self) -> Weights:
        for pattern, replacement in (self.key_map or {}).items():
            if not (replacement is None or isinstance(replacement, str)):
                raise ValueError(f"key_map: '{pattern}' must become text, or null, not {replacement!r}")
            try:
                re.sub(pattern, replacement or "", "")
                re.compile(pattern)
            except (re.error, IndexError) as error:
                raise ValueError(f"key_map: '{pattern}' -> '{replacement}': {error}") from None
        return self


class Source(Frozen):
    """Where the pre-trained network comes from: trained here, on `data`, or given as `weights`."""

    name: str | None = None
    """Name in the report; default: the name of the data set."""
    data: SerializeAsAny[DatasetOptions] | None = None
    """The data for the pre-training; if the weights are given, only a description."""
    pretraining: Pretraining | None = None
    """The recipe of the pre-training."""
    weights: Weights | None = None
    """Existing pre-trained weights, instead of a pre-training."""

    @model_validator(mode="after")
    def _one_origin(self) -> Source:
        if self.weights is None and (self.data is None or self.pretraining is None):
            missing = [name for name in ("data", "pretraining") if getattr(self, name) is None]
            raise ValueError(
                f"{' and '.join(missing)} missing: give data and pretraining to pre-train here, or weights that there "
                "are already"
            )
        if self.weights is not None and self.pretraining is not None:
            raise ValueError(
                "weights that are given are not pre-trained here: leave out pretraining, or weights"
            )
        return self


class GivenInstance(Frozen):
    """A network that was trained elsewhere, including its head."""

    weights: Weights
    """Where its weights are."""
    kind: Literal["p_t", "ri_t"] = "p_t"
    """p_t: trained from the weights in `source.weights`, or from other pre-trained weights if that is not given. ri_t:
    trained from a random initialization."""
    expected: Share | None = None
    """Expected accuracy (multi-label: mean AUC) on the test images; the run warns if the actual value differs."""


class Target(Frozen):
    """A data set to which the network is transferred."""

    data: SerializeAsAny[DatasetOptions]
    """Its images and labels."""
    likeness_rank: PositiveInt | None = None
    """1 for the target that is most similar to the source, 2 for the next; a judgement of the study's author."""
    learning_rate: LearningRates | None = None
    """Learning rates for this target only, instead of those of `training`."""
    seeds: SeedChoice | None = None
    """At most how many of the study's seeds, or which of them, are used on this target; default: all."""
    keep_epochs: Literal["all"] | tuple[NaturalInt, ...] | None = None
    """Epochs whose checkpoint is kept on this target only, instead of those of `training`."""


class AnalysisConfig(Frozen):
    """Options of every analysis: which targets and seeds to measure."""

    targets: tuple[str, ...] | None = None
    """Names of the targets; default: all."""
    seeds: SeedChoice | None = None
    """At most how many of a target's seeds, or which of them, are measured; default: all."""


class Resources(Frozen):
    """Resources of one task on a cluster; used by `--engine ray`."""

    num_cpus: Annotated[float, Field(gt=0)] = 1
    """CPUs of a task; every task computes with one thread."""
    num_gpus: Annotated[float, Field(ge=0)] = 0
    """GPUs of a task; with a fraction 1/n, n tasks share one GPU."""


class Study(Frozen):
    """A whole study. See `transferscope init` for a commented file."""

    name: str
    """Short name, printed in the report."""
    description: str = ""
    """The question of the study, in one or two sentences; printed in the report."""
    variant: str | None = None
    """Name of the selected variant, printed in the report; set by `--variant`."""
    network: SerializeAsAny[NetworkOptions]
    """The architecture, the same for P-T and RI-T."""
    normalization: Normalization | Literal["pretrained"] = "per_image"
    """How pixels become the network's input: a name (see `transferscope.data.normalize`), the mean and std of each
    channel, or pretrained, which is replaced by the values that published weights state when the study is read."""
    source: Source | None = None
    """The data and recipe of the pre-training, or the weights of P."""
    instances: dict[str, GivenInstance] | None = Field(default=None, min_length=1)
    """Networks that were trained elsewhere, by name, instead of `training`. Nothing is trained then, and
    `source.weights`, if given, are the weights from which they were started."""
    targets: dict[str, Target] = Field(min_length=1)
    """The targets by name."""
    training: Training | None = None
    """How every P-T and RI-T is trained."""
    seeds: Seeds = Field(default=(), validate_default=False)
    """One instance of each kind per target and seed: a list, or a number such as 6 for the seeds 0 to 5. Targets and
    analyses may use fewer. Given instances are numbered from 0 instead."""
    analyses: dict[str, SerializeAsAny[AnalysisConfig]] = Field(min_length=1)
    """The analyses to run, each with its own options."""
    resources: Resources = Resources()
    """What a task takes of a cluster."""

    @model_validator(mode="before")
    @classmethod
    def _number_given_instances(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("instances"), dict) and not data.get("seeds"):
            return {**data, "seeds": tuple(range(len(data["instances"])))}
        return data

    @model_validator(mode="after")
    def _trained_here_or_given(self) -> Study:
        needed = {"source": self.source, "training": self.training, "seeds": self.seeds or None}
        if self.instances is None:
            missing = [name for name, value in needed.items() if value is None]
            if missing:
                raise ValueError(
                    f"a study needs source, training and seeds, or instances that are trained already; missing: "
                    f"{', '.join(missing)}"
                )
            return self
        if self.training is not None or (self.source is not None and self.source.weights is None):
            raise ValueError(
                "instances that are given are not trained here: leave out training and a source that is pre-trained"
            )
        if len(self.targets) > 1:
            raise ValueError(f"given instances are of one target, but there are {len(self.targets)}")
        if self.seeds != tuple(range(len(self.instances))):
            raise ValueError(f"seeds number the {len(self.instances)} given instances; leave them out")
        return self

    @field_validator("normalization")
    @classmethod
    def _one_name_for_the_same(cls, value: Normalization | str) -> Normalization | str:
        return named_normalization(value) if isinstance(value, MeanStd) else value

    @property
    def known_normalization(self) -> Normalization:
        """How pixels become the network's input. Raises ValueError if it has not been resolved yet."""
        if self.normalization == "pretrained":
            raise ValueError("what the weights state was not looked up")
        return self.normalization

    @property
    def own_training(self) -> Training:
        """How P-T and RI-T are trained. Raises ValueError if the instances are given."""
        if self.training is None:
            raise ValueError("the study's instances are given, not trained here")
        return self.training

    @model_validator(mode="after")
    def _kept_epochs_of_targets_exist(self) -> Study:
        for name, target in self.targets.items():
            if self.training is not None and target.keep_epochs is not None:
                last = min(self.training._last_epochs().values())
                if target.keep_epochs != "all" and any(epoch > last for epoch in target.keep_epochs):
                    raise ValueError(
                        f"targets.{name}.keep_epochs {list(target.keep_epochs)} lie beyond the last epoch, {last}"
                    )
        return self

    @model_validator(mode="after")
    def _search_has_seeds_of_its_own(self) -> Study:
        search = None if self.training is None else self.training.rate_search
        used = sorted({*search.seeds} & {*self.seeds}) if search is not None else []
        if search is not None and used:
            raise ValueError(
                f"training.rate_search.seeds {list(search.seeds)} holds {used[0]}, one of the study's seeds "
                f"{list(self.seeds)}: a rate must be chosen by other networks than it is chosen for. Give other seeds"
            )
        return self

    @model_validator(mode="after")
    def _seeds_differ(self) -> Study:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds {list(self.seeds)} must differ from each other")
        return self

    def _repr_html_(self) -> str:
        """The HTML shown in a notebook."""
        source = self.source
        origin = "given networks"
        if source is not None:
            origin = source.name or (source.data.dataset if source.data else "given weights")
        rows: list[tuple[str, object]] = [
            ("network", self.network.name),
            ("source", origin),
            (
                "targets",
                ", ".join(f"{name} ({target.data.dataset})" for name, target in self.targets.items()),
            ),
            ("epochs", "–" if self.training is None else self.training.epochs),
            ("seeds", ", ".join(map(str, self.seeds))),
            ("analyses", ", ".join(self.analyses)),
        ]
        return html_table(rows, caption=f"Study: {self.name}")
