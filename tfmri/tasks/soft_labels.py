"""Soft labels: a number, age above all, as a distribution over bins; the prediction is the distribution's mean.

Source: Peng et al. 2021, Medical Image Analysis 68, 101871, section 2.3. There: ages 42 to 82 in bins of one year, a
sigma of one year, and the loss KL(label ‖ softmax) summed over the bins, which is here the loss of a sample.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import numpy as np
import pandas as pd
from pydantic import Field

from tfmri.errors import InputError, Problem
from tfmri.tasks.task import Task, numbers, require_shapes, target_name

if TYPE_CHECKING:
    import tensorflow as tf

MARGIN = 3.0  # standard deviations of a label between the outermost training ages and the ends of the bins
UNIFORM_SHARE = 0.1  # of the distribution the model starts from, so that no bin starts as impossible


@dataclass(frozen=True)
class SoftLabels(Task):
    """Bins of equal width and the spread of a label over them, in the target's unit.

    Args:
        lowest: lower edge of the first bin.
        bin_width: of every bin.
        bins: how many.
        sigma: standard deviation of a label.
        prior: (bins,) mean label of the training samples.
    """

    kind: ClassVar[str] = "soft_labels"
    lowest: float
    bin_width: float
    bins: int
    sigma: float
    prior: tuple[float, ...]

    @classmethod
    def fit(
        cls,
        values: pd.Series,
        *,
        bin_width: Annotated[float, Field(gt=0)] = 1.0,
        sigma: Annotated[float, Field(gt=0)] = 1.0,
        range: tuple[float, float] | None = None,
    ) -> Self:
        """The task for training targets `values`.

        Args:
            values: (n,) numbers.
            bin_width: in the target's unit, as are the two that follow.
            sigma: standard deviation of a label.
            range: lower edge of the first bin and upper edge of the last; where None, from `MARGIN` sigma below the
                lowest training value to as far above the highest, outwards to whole multiples of `bin_width`.

        Raises:
            InputError: no finite number, all values the same, a range that is no whole number of at least two bins,
                or training values outside it.
        """
        array = numbers(values)
        where = target_name(values)
        if array.min() == array.max():
            raise InputError(Problem(where, f"all {len(array)} training values are {array[0]:g}", "values that differ"))
        if range is None:
            lowest = float(np.floor((array.min() - MARGIN * sigma) / bin_width)) * bin_width
            highest = float(np.ceil((array.max() + MARGIN * sigma) / bin_width)) * bin_width
        else:
            lowest, highest = range
        bins = round((highest - lowest) / bin_width)
        if bins < 2 or not np.isclose(bins * bin_width, highest - lowest):
            found = f"range {lowest:g} to {highest:g} in bins of {bin_width:g}"
            raise InputError(Problem(where, found, "two or more whole bins", "Change `range` or `bin_width`."))
        task = cls(float(lowest), float(bin_width), bins, float(sigma), ())
        prior = task.encode(values).mean(axis=0, dtype=float)
        return cls(float(lowest), float(bin_width), bins, float(sigma), tuple(prior.tolist()))

    @property
    def outputs(self) -> int:
        """One logit for each bin."""
        return self.bins

    @property
    def edges(self) -> np.ndarray:
        """(bins + 1,) edges of the bins, ascending."""
        return self.lowest + self.bin_width * np.arange(self.bins + 1)

    @property
    def centres(self) -> np.ndarray:
        """(bins,) centres of the bins, ascending."""
        return self.lowest + self.bin_width * (np.arange(self.bins) + 0.5)

    def encode(self, values: pd.Series) -> np.ndarray:
        """(n, bins) float32: the mass of N(value, sigma²) in each bin, each row scaled to the sum 1.

        Raises:
            InputError: values outside the bins.
        """
        array = numbers(values)
        edges = self.edges
        outside = (array < edges[0]) | (array > edges[-1])
        if outside.any():
            found = "outside the bins: " + ", ".join(f"{value:g}" for value in np.unique(array[outside]))
            advice = "Give the target a wider `range`, or leave these rows out with data.where."
            raise InputError(Problem(target_name(values), found, f"{edges[0]:g} to {edges[-1]:g}", advice))
        return soft_labels(array, edges, self.sigma).astype(np.float32)

    def initial_bias(self) -> np.ndarray:
        """Logarithm of the mean training label, mixed with a little of the uniform distribution: (bins,) float32."""
        mixed = (1 - UNIFORM_SHARE) * np.array(self.prior) + UNIFORM_SHARE / self.bins
        return np.log(mixed).astype(np.float32)

    def loss(self, target: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """KL(target ‖ softmax(output)) in nats, of labels and logits (batch, bins): (batch,)."""
        import tensorflow as tf

        require_shapes(target, output, self.bins, outputs=self.bins)
        target = tf.cast(target, tf.float32)
        log_ratio = tf.math.xlogy(target, target) - target * tf.nn.log_softmax(tf.cast(output, tf.float32))
        return tf.reduce_sum(log_ratio, axis=1)

    def decode(self, output: np.ndarray) -> pd.DataFrame:
        """Column `prediction`: the mean of the predicted distribution over the centres of the bins."""
        from scipy.special import softmax

        with np.errstate(invalid="ignore"):  # infinite outputs have no softmax
            return pd.DataFrame({"prediction": softmax(np.asarray(output, float), axis=1) @ self.centres})

    def metrics(self, truth: pd.Series, output: np.ndarray) -> dict[str, float]:
        """`mae` and `rmse`, in the target's unit."""
        error = self.decode(output)["prediction"].to_numpy() - numbers(truth)
        return {"mae": float(np.mean(np.abs(error))), "rmse": float(np.sqrt(np.mean(error**2)))}


def soft_labels(values: np.ndarray, edges: np.ndarray, sigma: float) -> np.ndarray:
    """Probability mass of N(value, sigma²) in each bin, (n, bins); what lies outside all bins is shared out.

    Args:
        values: (n,) numbers between the first and the last edge.
        edges: (bins + 1,) ascending, in the same unit.
        sigma: standard deviation, in the same unit.

    Source: Peng et al. 2021, section 2.3, where the rows are not scaled to the sum 1.
    """
    from scipy.special import ndtr

    mass = np.diff(ndtr((edges[None, :] - values[:, None]) / sigma), axis=1)
    return mass / mass.sum(axis=1, keepdims=True)
