"""The course of the learning rate: for every step a factor of the optimizer's rate.

A schedule is a function of (step, history), and of nothing else: nothing of it has to be saved, and a training that
goes on after it was stopped has the same rates. Each is made by a function of its options, named in `SCHEDULES`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from tfmri.evaluation.metrics import LOWER_IS_BETTER
from tfmri.options import check_options, load_named

SCHEDULES = {name: f"tfmri.training.schedules:{name}" for name in ("constant", "step", "cosine", "plateau")}

NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Epochs = Annotated[int, Field(ge=1)]
History = Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Course:
    """What a schedule may know of the training.

    Args:
        epochs: of the whole training.
        steps_per_epoch: optimizer's steps.
        monitor: the column of the history that chooses the best epoch.
    """

    epochs: int
    steps_per_epoch: int
    monitor: str


Schedule = Callable[[int, History], float]  # (step from 0, finished epochs) -> factor in [0, 1]


def constant(course: Course, *, warmup_epochs: NotNegative = 0.0) -> Schedule:
    """The full rate after a linear rise over `warmup_epochs`."""
    return lambda step, history: _warmup(step, course, warmup_epochs)


def step(
    course: Course, *, factor: Fraction = 0.3, every_epochs: Epochs = 30, warmup_epochs: NotNegative = 0.0
) -> Schedule:
    """The rate times `factor` after every `every_epochs`: 0.3 and 30 in SFCN's training (Peng et al. 2021)."""

    def at(step: int, history: History) -> float:
        return _warmup(step, course, warmup_epochs) * factor ** (step // course.steps_per_epoch // every_epochs)

    return at


def cosine(course: Course, *, warmup_epochs: NotNegative = 1.0, lowest: Fraction = 0.0) -> Schedule:
    """A linear rise over `warmup_epochs`, then half a cosine down to `lowest`, a share of the highest rate.

    Source: Loshchilov & Hutter 2017, SGDR, equation 5, without restarts.
    """
    steps = course.epochs * course.steps_per_epoch
    rise = min(round(warmup_epochs * course.steps_per_epoch), steps - 1)

    def at(step: int, history: History) -> float:
        if step < rise:
            return step / rise
        done = min((step - rise) / max(steps - rise, 1), 1.0)
        return lowest + (1 - lowest) * 0.5 * (1 + math.cos(math.pi * done))

    return at


def plateau(
    course: Course,
    *,
    factor: Fraction = 0.3,
    patience: Epochs = 10,
    lowest: Fraction = 0.001,
    warmup_epochs: NotNegative = 0.0,
) -> Schedule:
    """The rate times `factor` whenever `patience` epochs in a row have brought no better monitored value."""

    def at(step: int, history: History) -> float:
        drops, waited, best = 0, 0, None
        for row in history:
            if better(row[course.monitor], best, course.monitor):
                best, waited = row[course.monitor], 0
            else:
                waited += 1
            if waited == patience:
                drops, waited = drops + 1, 0
        return _warmup(step, course, warmup_epochs) * max(factor**drops, lowest)

    return at


def better(value: float, best: float | None, monitor: str) -> bool:
    """Whether `value` of the history's column `monitor` beats the best so far; losses and errors are better lower."""
    if math.isnan(value) or best is None:
        return not math.isnan(value)
    return value < best if monitor.removeprefix("validation_") in LOWER_IS_BETTER else value > best


def epochs_without_gain(history: History, monitor: str) -> int:
    """How many finished epochs stand after the best one."""
    best, since = None, 0
    for row in history:
        if better(row[monitor], best, monitor):
            best, since = row[monitor], 0
        else:
            since += 1
    return since


def at_end(history: History, epochs: int, patience: int | None, monitor: str) -> bool:
    """Whether a training with these finished epochs has come to its end, the last epoch or early stopping."""
    return len(history) >= epochs or (patience is not None and epochs_without_gain(history, monitor) >= patience)


def check_schedule(name: str, options: Mapping[str, Any], where: str = "training.schedule") -> dict[str, Any]:
    """Every option of the schedule `name`, checked, with defaults.

    Raises:
        InputError: an unknown name, or one problem for each unknown or wrong option.
    """
    return check_options(load_named(name, SCHEDULES, f"{where}.name"), options, where)


def make_schedule(name: str, options: Mapping[str, Any], course: Course) -> Schedule:
    """The schedule `name`: a key of `SCHEDULES`, or 'module:function' of one's own from a `Course` and options."""
    return load_named(name, SCHEDULES, "training.schedule.name")(course, **check_schedule(name, options))


def _warmup(step: int, course: Course, epochs: float) -> float:
    rise = round(epochs * course.steps_per_epoch)
    return 1.0 if step >= rise else step / rise
