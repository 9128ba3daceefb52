"""Every key of an experiment file, with its default, its range and what it means.

`experiments/template.yaml` shows them as a person writes them. Validating imports no TensorFlow.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tfmri.augment.recipe import parse_recipe
from tfmri.models.registry import check_options

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A part of the file: unknown keys are refused, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Data(Section):
    """Which scans, and what is known of them."""

    labels: str  # a labels.csv (relative to the current folder), or `demo`, `demo:null`: the embedded phantom cohort
    columns: dict[str, str] = {}  # our name -> the file's name, where it is none of the usual ones
    where: str | None = None  # rows to keep, a pandas query


class Classification(Section):
    """A target with two or more classes."""

    task: Literal["classification"]
    classes: dict[str, list[str]]  # in this order; the spellings of each that may stand in labels.csv
    class_weights: Literal["none", "balanced"] = "none"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @field_validator("classes", mode="before")
    @classmethod
    def _spellings(cls, classes: Any) -> Any:
        """A list of names is taken as classes that are spelled as they are named; numbers are taken as text."""
        if isinstance(classes, list):
            classes = {name: [name] for name in classes}
        if not isinstance(classes, dict):
            return classes
        if any(isinstance(name, bool) for name in classes):
            raise ValueError("YAML reads a bare yes, no, on or off as true or false: put the class name in quotes")
        named = {str(name): spellings for name, spellings in classes.items()}
        return {
            name: [str(spelling) for spelling in (spellings if isinstance(spellings, list) else [spellings])]
            for name, spellings in named.items()
        }

    @field_validator("classes")
    @classmethod
    def _two_or_more(cls, classes: dict[str, list[str]]) -> dict[str, list[str]]:
        if len(classes) < 2:
            raise ValueError(f"{len(classes)} class given, and telling classes apart takes two or more")
        return classes


class Regression(Section):
    """A number, learnt standardised by the training subjects' mean and standard deviation."""

    task: Literal["regression"]
    loss: Literal["mae", "mse", "huber"] = "mse"
    unit: str = "years"


class SoftLabels(Section):
    """A number, learnt as a distribution over bins (Peng et al. 2021)."""

    task: Literal["soft_labels"]
    bin_width: Positive = 1.0  # in the target's unit
    sigma: Positive = 1.0  # spread of a label over the bins, in the target's unit
    range: tuple[float, float] | None = None  # of the bins; none: the training subjects' range with a margin
    unit: str = "years"


Target = Annotated[Classification | Regression | SoftLabels, Field(discriminator="task")]


class Image(Section):
    """How a scan is prepared before it reaches the network."""

    spacing: tuple[Positive, Positive, Positive] = (3.0, 3.0, 3.0)  # mm; one number stands for all three axes
    shape: tuple[Count, Count, Count] = (56, 64, 56)  # voxels along x, y, z
    normalise: Literal["zscore", "minmax", "mean", "none"] = "zscore"

    @field_validator("spacing", mode="before")
    @classmethod
    def _isotropic(cls, spacing: Any) -> Any:
        return (spacing,) * 3 if isinstance(spacing, int | float | str) else spacing


class Split(Section):
    """Who trains, who chooses the best epoch, who is only tested on. A `split` column in labels.csv wins."""

    test: Share = 0.2  # share of the subjects
    validation: Share = 0.2  # share of the subjects
    stratify: list[str] | None = None  # columns kept in proportion; none: the target, and site where there is one
    seed: int = 0

    @model_validator(mode="after")
    def _some_are_left(self) -> "Split":
        if self.test + self.validation >= 1:
            raise ValueError(f"test {self.test} and validation {self.validation} leave nobody to train on")
        return self


class Model(BaseModel):
    """An architecture of `tfmri.models.registry`, or `package.module:function`, with the options of its builder."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "sfcn"

    @property
    def options(self) -> dict[str, Any]:
        """What stands beside `name`: keyword arguments of the builder."""
        return dict(self.model_extra or {})

    @model_validator(mode="after")
    def _known(self) -> "Model":
        check_options(self.name, self.options)
        return self


class Optimizer(Section):
    """How the weights follow the gradient."""

    name: Literal["adam", "adamw", "sgd"] = "adamw"
    learning_rate: Positive = 1e-3  # the highest of the schedule
    weight_decay: NotNegative = 1e-4  # decoupled; of every weight but biases and normalisation
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9  # of sgd


class Schedule(Section):
    """How the learning rate moves during training."""

    name: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: NotNegative = 1.0  # the rate rises linearly from zero over these


class Training(Section):
    """The course of training and the machine it runs on."""

    epochs: Count = 12
    batch_size: Count = 8  # over all devices together
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    monitor: str = "validation_loss"  # the column of history.csv that chooses the best epoch
    devices: list[str] | None = None  # such as [GPU:0, GPU:1]; none: all GPUs, else the CPU
    threads: Count | None = None  # of one operation; none: one per core this process may use
    deterministic: bool = True  # the same seed gives the same weights, bit for bit on CPU


class Evaluation(Section):
    """How results are summed up."""

    resamples: Annotated[int, Field(ge=100)] = 1000  # of the subjects, for the 95 % intervals


class Cluster(Section):
    """What a Grid Engine job of this experiment asks for."""

    gpus: Count = 1
    tmem: str = "16G"  # memory of the whole job
    h_rt: Annotated[str, Field(pattern=r"^\d+:\d{1,2}:\d{1,2}$")] = "12:00:00"


class Experiment(Section):
    """A whole experiment file, every default written out."""

    seed: int = 0
    data: Data
    targets: dict[str, Target]
    image: Image = Image()
    split: Split = Split()
    augment: str | list[dict[str, Any]] = "standard"
    model: Model = Model()
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    cluster: Cluster = Cluster()

    @field_validator("targets")
    @classmethod
    def _one_target(cls, targets: dict[str, Target]) -> dict[str, Target]:
        if len(targets) != 1:
            raise ValueError(f"{len(targets)} targets given, and a model has one: write one experiment file for each")
        return targets

    @field_validator("augment")
    @classmethod
    def _known_recipe(cls, augment: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
        parse_recipe(augment)
        return augment

    @property
    def target(self) -> str:
        """The name of the target, which is its column in the table of scans."""
        return next(iter(self.targets))
