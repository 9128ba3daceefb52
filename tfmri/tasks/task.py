"""What every task offers. A task is learned from the training targets (`fit`), and is data: JSON and back.

Targets come and go as pandas Series in a person's units (classes, years); in between are encoded targets and outputs.
Outputs are what the model's linear head gives, (batch, outputs) float32.
"""

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tfmri.errors import InputError, Problem

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Task(ABC):
    """How one target is learned. Subclasses add `fit(values, *, settings)`: a task from the training targets."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Length of the model's output."""

    @abstractmethod
    def encode(self, values: "pd.Series") -> np.ndarray:
        """What the dataset carries as `target`: (n, ...) int32 or float32. Raises InputError for what has no code."""

    def weights(self, values: "pd.Series") -> np.ndarray:
        """(n,) float32, how much each sample's loss counts; mean 1 over the training targets."""
        return np.ones(len(values), np.float32)

    def initial_bias(self) -> np.ndarray:
        """(outputs,) float32, a bias of the head that starts the model at what is known without an image."""
        return np.zeros(self.outputs, np.float32)

    @abstractmethod
    def loss(self, target: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """(batch,) float32, the loss of each sample. Raises ValueError where the shapes do not belong together."""

    @abstractmethod
    def decode(self, output: np.ndarray) -> "pd.DataFrame":
        """(n, outputs) to a table of n rows with the column `prediction`, in classes or in the target's unit."""

    @abstractmethod
    def metrics(self, truth: "pd.Series", output: np.ndarray) -> dict[str, float]:
        """A few cheap measures for the log of each epoch, named as scikit-learn names them. `truth` is not encoded."""

    def to_config(self) -> dict[str, Any]:
        """All there is to know of the task, as JSON takes it."""
        return {"task": self.kind, **dataclasses.asdict(self)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The task that `to_config` described."""
        fields = {key: tuple(value) if isinstance(value, list) else value for key, value in config.items()}
        fields.pop("task", None)
        return cls(**fields)


def target_name(values: "pd.Series") -> str:
    """What messages call the target: 'target 'age''."""
    return f"target '{values.name}'"


def numbers(values: "pd.Series") -> np.ndarray:
    """(n,) float64, or an InputError that names what is no finite number."""
    import pandas as pd

    array = pd.to_numeric(values, errors="coerce").to_numpy(float)
    wrong = ~np.isfinite(array)
    if wrong.any():
        examples = ", ".join(str(value) for value in values[wrong].unique()[:5])
        raise InputError(Problem(target_name(values), f"found {examples}", "finite numbers"))
    return array


def require_shapes(target: "tf.Tensor", output: "tf.Tensor", *target_axes: int, outputs: int) -> None:
    """Refuses a target that is not (batch, *target_axes) beside an output that is not (batch, outputs).

    Without this, a target (B, 1) beside an output (B,) broadcasts to (B, B) and trains on nonsense. What is known when
    a graph is built is checked there; the rest when it runs.

    Raises:
        ValueError: wrong shapes (InvalidArgumentError where they are known only when the graph runs).
    """
    import tensorflow as tf

    tf.debugging.assert_shapes(
        [(target, ("batch", *target_axes)), (output, ("batch", outputs))],
        message="target and output do not belong together",
    )
