"""Regression: one number, learned in units of its standard deviation over the training samples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field

from tfmri.errors import InputError, Problem
from tfmri.tasks.task import Task, numbers, require_shapes, target_name

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Regression(Task):
    """A number, standardised as (value - mean) / sd.

    Args:
        mean: of the training targets, in their unit.
        sd: their standard deviation (of the sample itself: divided by n).
        penalty: 'mae' |e|, 'mse' e², or 'huber': e²/2 up to |e| = delta and delta (|e| - delta/2) beyond.
        delta: of the Huber loss, in standard deviations of the target.
    """

    kind: ClassVar[str] = "regression"
    mean: float
    sd: float
    penalty: str = "mae"
    delta: float = 1.0

    @classmethod
    def fit(
        cls,
        values: pd.Series,
        *,
        loss: Literal["mae", "mse", "huber"] = "mae",
        delta: Annotated[float, Field(gt=0)] = 1.0,
    ) -> Self:
        """The task for training targets `values`, (n,) numbers; `loss` is the class's `penalty`.

        Raises:
            InputError: a value that is no finite number, or all values the same.
        """
        array = numbers(values)
        mean, sd = float(np.mean(array)), float(np.std(array))
        if not sd > 1e-9 * abs(mean):
            found = f"all {len(array)} training values are {mean:g}"
            raise InputError(Problem(target_name(values), found, "values that differ", "There is nothing to learn."))
        return cls(mean, sd, loss, delta)

    @property
    def outputs(self) -> int:
        """One standardised number."""
        return 1

    def encode(self, values: pd.Series) -> np.ndarray:
        """(n,) float32, standardised."""
        return ((numbers(values) - self.mean) / self.sd).astype(np.float32)

    def loss(self, target: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """The penalty for `output` (batch, 1) against `target` (batch,), both standardised: (batch,)."""
        import tensorflow as tf

        require_shapes(target, output, outputs=1)
        error = tf.abs(tf.cast(output[:, 0], tf.float32) - tf.cast(target, tf.float32))
        if self.penalty == "mae":
            return error
        if self.penalty == "mse":
            return tf.square(error)
        inside = tf.minimum(error, self.delta)
        return 0.5 * tf.square(inside) + self.delta * (error - inside)

    def decode(self, output: np.ndarray) -> pd.DataFrame:
        """Column `prediction`, in the target's unit."""
        return pd.DataFrame({"prediction": np.asarray(output, float)[:, 0] * self.sd + self.mean})

    def metrics(self, truth: pd.Series, output: np.ndarray) -> dict[str, float]:
        """`mae` and `rmse`, in the target's unit."""
        error = self.decode(output)["prediction"].to_numpy() - numbers(truth)
        return {"mae": float(np.mean(np.abs(error))), "rmse": float(np.sqrt(np.mean(error**2)))}
