"""Regression: one number, learned in units of its standard deviation over the training samples.

With the Gaussian loss the network says how sure it is, too: it gives a mean and the logarithm of a variance.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field

from tfmri.errors import InputError, Problem
from tfmri.tasks.task import Task, numbers, require_shapes, target_name

if TYPE_CHECKING:
    import tensorflow as tf


GAUSSIAN = "gaussian"
LOG_VARIANCE = -10.0, 10.0  # beyond these an output counts as their end: standard deviations of 0.0067 to 148


@dataclass(frozen=True)
class Regression(Task):
    """A number, standardised as (value - mean) / sd.

    Args:
        mean: of the training targets, in their unit.
        sd: their standard deviation (of the sample itself: divided by n).
        penalty: 'mae' |e|, 'mse' e², 'huber': e²/2 up to |e| = delta and delta (|e| - delta/2) beyond, or 'gaussian':
            -log of the normal density with the mean and the variance that the network gives.
        delta: of the Huber loss, in standard deviations of the target.
        beta: of the Gaussian loss: a sample's gradient counts variance^beta, so that those which are badly known are
            not given up; 0 to 1.
    """

    kind: ClassVar[str] = "regression"
    mean: float
    sd: float
    penalty: str = "mae"
    delta: float = 1.0
    beta: float = 0.0

    @classmethod
    def fit(
        cls,
        values: pd.Series,
        *,
        loss: Literal["mae", "mse", "huber", "gaussian"] = "mae",
        delta: Annotated[float, Field(gt=0)] = 1.0,
        beta: Annotated[float, Field(ge=0, le=1)] = 0.0,
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
        return cls(mean, sd, loss, delta, beta)

    @property
    def outputs(self) -> int:
        """One standardised number; with the Gaussian loss the logarithm of its variance, too."""
        return 2 if self.penalty == GAUSSIAN else 1

    def encode(self, values: pd.Series) -> np.ndarray:
        """(n,) float32, standardised."""
        return ((numbers(values) - self.mean) / self.sd).astype(np.float32)

    def loss(self, target: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """The penalty for `output` (batch, outputs) against `target` (batch,), both standardised: (batch,).

        Sources: of 'gaussian' Nix & Weigend 1994, ICNN; of beta Seitzer et al. 2022, ICLR, equation 4. The value is
        the negative log-likelihood whatever beta, for epochs to be compared by it; beta changes the gradient.
        """
        import tensorflow as tf

        require_shapes(target, output, outputs=self.outputs)
        error = tf.abs(tf.cast(output[:, 0], tf.float32) - tf.cast(target, tf.float32))
        if self.penalty == GAUSSIAN:
            log_variance = tf.clip_by_value(tf.cast(output[:, 1], tf.float32), *LOG_VARIANCE)
            scaled = tf.square(error) * tf.exp(-log_variance)
            loss = 0.5 * (scaled + log_variance + float(np.log(2 * np.pi)))
            if self.beta == 0:
                return loss
            fixed = tf.stop_gradient(loss)
            return fixed + tf.stop_gradient(tf.exp(self.beta * log_variance)) * (loss - fixed)
        if self.penalty == "mae":
            return error
        if self.penalty == "mse":
            return tf.square(error)
        inside = tf.minimum(error, self.delta)
        return 0.5 * tf.square(inside) + self.delta * (error - inside)

    def decode(self, output: np.ndarray) -> pd.DataFrame:
        """Column `prediction`, and with the Gaussian loss `sd`, its standard deviation; in the target's unit."""
        output = np.asarray(output, float)
        table = pd.DataFrame({"prediction": output[:, 0] * self.sd + self.mean})
        if self.penalty == GAUSSIAN:
            table["sd"] = np.exp(0.5 * np.clip(output[:, 1], *LOG_VARIANCE)) * self.sd
        return table

    def metrics(self, truth: pd.Series, output: np.ndarray) -> dict[str, float]:
        """`mae` and `rmse`, in the target's unit."""
        error = self.decode(output)["prediction"].to_numpy() - numbers(truth)
        return {"mae": float(np.mean(np.abs(error))), "rmse": float(np.sqrt(np.mean(error**2)))}
