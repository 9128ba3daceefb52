"""The names of the tasks. Adding one takes a file with a subclass of `Task`, and a line here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tfmri.options import check_options, load_named

if TYPE_CHECKING:
    import pandas as pd

    from tfmri.tasks.task import Task

TASKS = {
    "classification": "tfmri.tasks.classification:Classification",
    "ordinal": "tfmri.tasks.ordinal:Ordinal",
    "regression": "tfmri.tasks.regression:Regression",
    "soft_labels": "tfmri.tasks.soft_labels:SoftLabels",
}


def check_task(kind: str, settings: Mapping[str, Any], where: str = "target") -> dict[str, Any]:
    """The settings as the task `kind` takes them, without importing TensorFlow.

    Raises:
        InputError: an unknown task, or one problem for each unknown or wrong setting.
    """
    return check_options(load_named(kind, TASKS, f"{where}.task").fit, settings, where)


def make_task(kind: str, values: "pd.Series", **settings: Any) -> "Task":
    """The task `kind`, learned from the training targets `values`, whose name messages use.

    Raises:
        InputError: an unknown task or setting, a wrong value, or training targets it cannot learn from.
    """
    where = f"targets.{values.name}"
    return load_named(kind, TASKS, f"{where}.task").fit(values, **check_task(kind, settings, where))


def load_task(config: Mapping[str, Any]) -> "Task":
    """The task that `Task.to_config` described."""
    return load_named(config["task"], TASKS, "task").from_config(dict(config))
