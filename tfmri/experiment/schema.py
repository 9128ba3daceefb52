"""Every key of an experiment file, with its default, its range and what it means.

`experiments/template.yaml` shows them as a person writes them. Validating imports no TensorFlow.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tfmri.augment.recipe import Recipe, parse_recipe, recipe_to_config
from tfmri.errors import InputError, Problem
from tfmri.evaluation.metrics import Kind
from tfmri.images.prepare import Preparation
from tfmri.models.registry import check_model
from tfmri.tasks.registry import check_task
from tfmri.training.optimizers import check_optimizer
from tfmri.training.schedules import check_schedule
from tfmri.tuning.space import IN_THE_LOSS, check_space


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError(f"{str(value).lower()} is no number")
    return value


Whole = Annotated[int, BeforeValidator(_no_switch)]  # pydantic alone takes true for 1
Real = Annotated[float, BeforeValidator(_no_switch)]
Positive = Annotated[Real, Field(gt=0)]
NotNegative = Annotated[Real, Field(ge=0)]
Share = Annotated[Real, Field(gt=0, lt=1)]
Count = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]  # what NumPy, TensorFlow and Python all take


SPELLINGS = "{f: [f, female], m: [m, male]}"


class Section(BaseModel):
    """A part of the file: unknown keys, infinity and NaN are refused, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)


class Data(Section):
    """Which scans, and what is known of them."""

    labels: str  # a labels.csv (relative to the current folder), or `demo`, `demo:VARIANT`: the embedded phantom cohort
    columns: dict[str, str] = {}  # our name -> the file's name, where it is none of the usual ones
    where: str | None = None  # rows to keep, a pandas query
    shuffle_labels: bool = False  # targets of training and validation dealt out among subjects: nothing to be learnt


class Target(BaseModel):
    """What is learnt: a task of `tfmri.tasks.registry`, with the settings of that task beside it."""

    model_config = ConfigDict(extra="allow", frozen=True)

    task: str

    @property
    def settings(self) -> dict[str, Any]:
        """What stands beside `task`."""
        return dict(self.model_extra or {})

    @property
    def classes(self) -> dict[str, list[str]] | None:
        """The spellings of each class, in the order of the classes; None for a number."""
        return self.settings.get("classes")

    @property
    def kind(self) -> Kind:
        """What its predictions are measured as."""
        if self.classes is None:
            return "regression"
        return "ordinal" if self.task == "ordinal" else "classification"

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, target: Any) -> Any:
        """A list of classes stands for classes that are spelled as they are named; numbers are taken as text."""
        if not isinstance(target, dict) or "classes" not in target:
            return target
        classes = target["classes"]
        if not isinstance(classes, dict | list):
            raise ValueError(f"classes is {classes!r}; expected classes with their spellings, such as {SPELLINGS}")
        pairs = classes.items() if isinstance(classes, dict) else [(each, each) for each in classes]
        listed = [(name, each if isinstance(each, list) else [each]) for name, each in pairs]
        words = [word for name, spellings in listed for word in (name, *spellings)]
        if any(isinstance(word, bool) for word in words):
            raise ValueError("YAML reads a bare yes, no, on or off as true or false: put the word in quotes")
        if odd := [word for word in words if not isinstance(word, str | int | float)]:
            raise ValueError(f"{odd[0]!r} cannot be a class or a spelling; expected words, as in {SPELLINGS}")
        return target | {"classes": {str(name): [str(word) for word in spellings] for name, spellings in listed}}


class Image(Section):
    """How a scan is prepared before it reaches the network."""

    channels: list[str] = ["path"]  # columns of labels.csv that name the images of a scan; the first one leads
    spacing: tuple[Positive, Positive, Positive] = (3.0, 3.0, 3.0)  # mm; one number stands for all three axes
    shape: tuple[Count, Count, Count] = (56, 64, 56)  # voxels along x, y, z
    orientation: Literal["world", "scan"] = "world"  # the axes that the image is parallel to
    bias_correction: Literal["none", "n4"] = "none"
    registration: Literal["none", "mni152"] = "none"  # affine, into the template's mm
    mask: str = "none"  # or head, a column of labels.csv, a command with {scan} and {mask}; outside is background
    normalise: Literal["zscore", "percentiles", "mean", "none", "histogram"] = "zscore"

    @field_validator("spacing", mode="before")
    @classmethod
    def _isotropic(cls, spacing: Any) -> Any:
        return (spacing,) * 3 if isinstance(spacing, int | float | str) else spacing

    @field_validator("channels")
    @classmethod
    def _named_once(cls, channels: list[str]) -> list[str]:
        if not channels or len(set(channels)) < len(channels):
            raise ValueError(f"{channels} are no channels; expected columns of labels.csv, each once: [t1w, flair]")
        return channels

    @field_validator("mask")
    @classmethod
    def _whole_command(cls, mask: str) -> str:
        if ("{" in mask or "}" in mask) and not ("{scan}" in mask and "{mask}" in mask):
            example = "mri_synthstrip -i {scan} -m {mask}"
            raise ValueError(f"'{mask}' does not say where scan and mask go; expected both, as in '{example}'")
        return mask

    @model_validator(mode="after")
    def _sound(self) -> "Image":
        _ = self.preparation  # for its mistakes
        return self

    @property
    def mask_column(self) -> str | None:
        """The column of labels.csv that names the masks, where masks are given."""
        return None if self.mask in ("none", "head") or "{scan}" in self.mask else self.mask

    @property
    def preparation(self) -> Preparation:
        """The same settings as the room of images takes them."""
        settings = self.model_dump() | {"channels": len(self.channels)}
        return Preparation(**settings | ({"mask": "file"} if self.mask_column else {}))


class Split(Section):
    """Who trains, who chooses the best epoch, who is only tested on. A `split` column in labels.csv wins."""

    test: Share = 0.2  # share of the subjects
    validation: Share = 0.2  # share of the subjects
    folds: Annotated[Whole, Field(ge=2)] | None = None  # what is not test cut into so many; each validates one fit
    stratify: list[str] | None = None  # columns kept in proportion; none: the target, and site where there is one
    seed: Seed = 0

    @model_validator(mode="after")
    def _some_are_left(self) -> "Split":
        if self.folds is None and self.test + self.validation >= 1:
            raise ValueError(f"test {self.test} and validation {self.validation} leave nobody to train on")
        return self


class Augment(Section):
    """How training scans are changed at random; `augment: standard` and a list stand for their recipe."""

    recipe: list[dict[str, dict[str, Any]]] = Field(default="standard", validate_default=True)
    on: Literal["auto", "device", "host"] = "auto"  # inside the training step, or before it, in what reads the scans
    padding: Literal["background", "border", "reflect"] = "background"  # what comes into view from outside the image

    @model_validator(mode="before")
    @classmethod
    def _short(cls, augment: Any) -> Any:
        if not isinstance(augment, dict):
            return {"recipe": augment}
        named = {"on" if key is True else key: value for key, value in augment.items()}  # YAML reads a bare on as true
        return named if not named or named.keys() & cls.model_fields.keys() else {"recipe": augment}

    @field_validator("recipe", mode="before")
    @classmethod
    def _known_recipe(cls, recipe: Any) -> list[dict[str, dict[str, Any]]]:
        """Ranges and probabilities written out, so that a run keeps them when a named recipe changes."""
        return recipe_to_config(parse_recipe(recipe))

    @property
    def transforms(self) -> Recipe:
        """The recipe as the room of augmentation takes it."""
        return parse_recipe(self.recipe)


class Named(BaseModel):
    """A function of a registry, or `package.module:function`, with the options of its signature beside its name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside `name`."""
        return dict(self.model_extra or {})


class Model(Named):
    """An architecture of `tfmri.models.registry`."""

    name: str = "sfcn"


class Optimizer(Named):
    """An optimizer of `tfmri.training.optimizers`; its options are Keras' arguments."""

    name: str = "adamw"


class Schedule(Named):
    """How the learning rate moves: a schedule of `tfmri.training.schedules`."""

    name: str = "cosine"


class WarmStart(Section):
    """Weights of another run, or published ones, to begin with."""

    run: str | None = None  # EXP/NAME, EXP/latest, or a folder
    fit: str = "whole"  # or fold-3, fold-3_seed-2, ...: which of its fits
    weights: str | None = None  # instead of run: a file of PyTorch with SFCN's weights, as Peng et al. 2021 published
    head: Literal["renew", "keep"] = "renew"  # the last layer: new, or theirs
    freeze: list[str] = []  # names of layers that do not train, with * and ?: [block1_*, block2_*]

    @model_validator(mode="after")
    def _one_source(self) -> "WarmStart":
        if (self.run is None) == (self.weights is None):
            raise ValueError("expected either `run`, another run, or `weights`, a file of published ones")
        return self


class Training(Section):
    """The course of training and the machine it runs on."""

    epochs: Count = 12
    batch_size: Count = 8  # over all devices together
    accumulation: Count = 1  # parts into which each device cuts its share of a batch, one after another: less memory
    optimizer: Optimizer = Field(default=Optimizer(), validate_default=True)
    schedule: Schedule = Field(default=Schedule(), validate_default=True)
    clip_norm: Positive | None = None  # the longest that the gradient may be; none: no limit
    ema: Share | None = None  # momentum of a running average of the weights, which is evaluated and saved; none: none
    sampling: Literal["shuffled", "balanced"] = "shuffled"  # each scan once an epoch, or each class equally often
    monitor: str = "validation_loss"  # the column of history.csv that chooses the best epoch
    patience: Count | None = None  # epochs without a better one after which it stops; none: runs through all
    warm_start: WarmStart | None = None
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    xla: Literal["auto", "on", "off"] = "auto"  # compile the step: auto: on one GPU; augmentation always is
    devices: list[str] | None = None  # such as [GPU:0, GPU:1]; none: all GPUs, else the CPU
    reduction: Literal["auto", "nccl", "hierarchical", "one_device", "ring"] = "auto"  # how devices sum gradients
    memory_growth: bool = True  # take memory of a GPU as it is needed
    threads: Count | None = None  # of one operation; none: one per core this process may use
    deterministic: bool = True  # the same seed gives the same weights, bit for bit on CPU
    checkpoint_minutes: Positive = 15.0  # at most so long from one checkpoint to the next; one stands after each epoch
    profile_steps: tuple[Count, Count] | None = None  # first and last step that TensorBoard's profiler records

    @field_validator("xla", mode="before")
    @classmethod
    def _switch(cls, xla: Any) -> Any:
        return {True: "on", False: "off"}[xla] if isinstance(xla, bool) else xla  # YAML reads a bare on as true

    @field_validator("optimizer")
    @classmethod
    def _known_optimizer(cls, optimizer: Optimizer) -> Optimizer:
        return Optimizer(name=optimizer.name, **check_optimizer(optimizer.name, optimizer.options))

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, schedule: Schedule) -> Schedule:
        return Schedule(name=schedule.name, **check_schedule(schedule.name, schedule.options))

    @field_validator("devices")
    @classmethod
    def _each_once(cls, devices: list[str] | None) -> list[str] | None:
        names = [name.upper() for name in devices or ()]
        if again := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{again} stands there more than once; name each device once")
        return devices


class Evaluation(Section):
    """How results are summed up."""

    resamples: Annotated[Whole, Field(ge=100)] = 1000  # of the subjects, for the 95 % intervals


Memory = Annotated[str, Field(pattern=r"^\d+(\.\d+)?[KMGT]$")]  # as Grid Engine writes it: 16G
JobTime = Annotated[str, Field(pattern=r"^\d+:[0-5]?\d:[0-5]?\d$")]  # hours, minutes, seconds


def bytes_of(memory: str) -> float:
    """`16G` in bytes, as Grid Engine counts."""
    return float(memory[:-1]) * 1024 ** (1 + "KMGT".index(memory[-1]))


def seconds_of(time: str) -> int:
    """`HH:MM:SS` in seconds."""
    hours, minutes, seconds = (int(part) for part in time.split(":"))
    return 3600 * hours + 60 * minutes + seconds


class ProcessorJob(Section):
    """What a job without a GPU asks for."""

    slots: Count = 1
    tmem: Memory = "8G"  # of the whole job
    h_rt: JobTime = "1:00:00"


class Cluster(Section):
    """What the Grid Engine jobs of this experiment ask for: one that prepares, those that train, one that evaluates."""

    gpus: Whole = Field(default=1, ge=0)  # of each fit
    slots: Count = 1  # processors of each fit, where they do not come with the GPUs
    tmem: Memory = "16G"  # of the whole job
    h_rt: JobTime = "12:00:00"
    gpu_type: str = ""  # in the site's words: !(titanxp|gtx1080ti)
    scratch: Memory | None = None  # disk of the node, for the prepared scans of a fit
    prepare: ProcessorJob = ProcessorJob(slots=4, tmem="16G", h_rt="4:00:00")
    evaluate: ProcessorJob = ProcessorJob()


class Tune(Section):
    """What `tfmri tune` searches, and how."""

    trials: Count = 30  # in all
    metric: str | None = None  # the trials' training.monitor, by which they are compared; none: that of the experiment
    space: dict[str, Any] = {}  # what `--set` may set -> [choices], or {low, high, log, step}
    sampler: Literal["tpe", "random"] = "tpe"  # what chooses the next trial
    pruner: Literal["median", "hyperband", "none"] = "median"  # what stops a trial that is behind the others
    warmup_trials: Annotated[Whole, Field(ge=1)] = 5  # that median lets come to their end before it stops one
    warmup_epochs: Annotated[Whole, Field(ge=0)] = 1  # of every trial, in which it is not stopped

    @field_validator("metric")
    @classmethod
    def _of_validation(cls, metric: str | None) -> str | None:
        if metric is not None and not metric.startswith("validation_"):
            raise ValueError(f"'{metric}' is not measured on validation; expected validation_loss, validation_mae, ...")
        return metric

    @field_validator("space", mode="before")
    @classmethod
    def _sound(cls, space: Any) -> dict[str, Any]:
        return check_space({} if space is None else space, "tune.space")


@dataclass(frozen=True)
class FitPlan:
    """One of the models that an experiment trains.

    Args:
        name: of its folder in the run: `whole`, or `fold-3`, with `_seed-2` where there are several seeds.
        fold: the part that it is validated on, from 1; None for the validation split.
        seed: of its weights, the order of its scans, augmentation and dropout.
    """

    name: str
    fold: int | None
    seed: int


class Experiment(Section):
    """A whole experiment file, every default written out."""

    seed: Seed = 0
    seeds: Count = 1  # fits of the same split, each from a seed of its own: seed, seed + 1, ...
    data: Data
    targets: dict[str, Target]
    image: Image = Image()
    split: Split = Split()
    augment: Augment = Augment()
    model: Model = Field(default=Model(), validate_default=True)
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    tune: Tune = Tune()
    cluster: Cluster = Cluster()

    @field_validator("targets")
    @classmethod
    def _known_task(cls, targets: dict[str, Target]) -> dict[str, Target]:
        if len(targets) != 1:
            raise ValueError(f"{len(targets)} targets given, and a model has one: write one experiment file for each")
        from tfmri.evaluation.summary import RESERVED  # here, for reading a file takes no pandas otherwise

        for name in targets.keys() & RESERVED:
            raise ValueError(
                f"'{name}' cannot be a target's name, since metrics.json has other things under it: rename the column, "
                f"or call the target otherwise and give its column with data.columns"
            )
        return {name: _with_every_setting(target, f"targets.{name}") for name, target in targets.items()}

    @field_validator("model")
    @classmethod
    def _known_model(cls, model: Model) -> Model:
        return Model(name=model.name, **check_model(model.name, model.options))

    @model_validator(mode="after")
    def _every_seed_is_one(self) -> "Experiment":
        if self.seed + self.seeds > 2**32:
            raise ValueError(f"the last of {self.seeds} seeds from {self.seed} on is not below {2**32}")
        return self

    @model_validator(mode="after")
    def _trials_can_be_compared(self) -> "Experiment":
        if (self.tune.metric or self.training.monitor) == "validation_loss":
            odd = [each for each in self.tune.space if each.startswith(IN_THE_LOSS)]
            if odd:
                advice = "Compare the trials by a metric: tune.metric: validation_balanced_accuracy, say"
                found = "validation_loss is another quantity with each of its values"
                raise InputError(Problem(f"tune.space.{odd[0]}", found, advice=advice))
        return self

    @property
    def folds(self) -> list[int | None]:
        """The number of each fold, from 1; [None] without folds."""
        return [None] if self.split.folds is None else [*range(1, self.split.folds + 1)]

    @property
    def fits(self) -> list[FitPlan]:
        """What a run trains: each fold with each seed. The split is the same for all seeds."""
        return [
            FitPlan(
                ("whole" if fold is None else f"fold-{fold}") + (f"_seed-{seed}" if self.seeds > 1 else ""), fold, seed
            )
            for fold in self.folds
            for seed in range(self.seed, self.seed + self.seeds)
        ]

    def of_fit(self, plan: FitPlan) -> "Experiment":
        """The experiment as one fit trains it: with that fit's seed."""
        return self.model_copy(update={"seed": plan.seed})

    @property
    def target(self) -> str:
        """The name of the target, which is its column in the table of scans."""
        return next(iter(self.targets))


def _with_every_setting(target: Target, where: str) -> Target:
    if target.task in ("classification", "ordinal") and len(target.classes or {}) < 2:
        expected = f"two or more, such as {SPELLINGS}"
        raise InputError(Problem(f"{where}.classes", f"{len(target.classes or {})} classes", expected))
    return Target(task=target.task, **check_task(target.task, target.settings, where))
