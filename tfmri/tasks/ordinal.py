"""Ordered classes, stages of a disease above all, by cumulative logits: how likely each stage is passed.

With stages 0 < 1 < ... < K - 1 the network gives K - 1 numbers a, from which

    z_1 = a_1,   z_k = z_(k-1) - softplus(a_k),   P(stage >= k) = sigmoid(z_k):

the further stage is never the likelier one to be passed, and no class has a negative probability, whatever the network
gives. In CORAL (Cao, Mirjalili & Raschka 2020, Pattern Recognition Letters 140) as in the proportional odds model
(McCullagh 1980, JRSS B 42) the differences of the z are the same for all samples, and at the optimum in order; here
they may depend on the scan, and are in order from the first step on.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd

from tfmri.tasks.classes import balanced_weights, codes, counted, decoded, measured, shares
from tfmri.tasks.task import Task, require_shapes

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Ordinal(Task):
    """Classes in their order, the lowest first.

    Args:
        classes: their names.
        counts: how many training samples each has.
        class_weights: 'none', or 'balanced': a sample of class c counts n / (classes * count of c).
        penalty: 'likelihood', -log of the probability of the true class, or 'coral', the sum of the binary
            cross-entropies of the questions whether each stage is reached.
    """

    kind: ClassVar[str] = "ordinal"
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    class_weights: str = "none"
    penalty: str = "likelihood"

    @classmethod
    def fit(
        cls,
        values: pd.Series,
        *,
        classes: Any,
        class_weights: Literal["none", "balanced"] = "none",
        loss: Literal["likelihood", "coral"] = "likelihood",
    ) -> Self:
        """The task for training targets `values`; `loss` is the class's `penalty`.

        Args:
            values: (n,) class of each training sample.
            classes: names from the lowest to the highest (keys, where it is a mapping).
            class_weights: see the class.
            loss: see the class.

        Raises:
            InputError: fewer than two classes, a class without training samples, a value that is no class.
        """
        return cls(*counted(values, classes), class_weights, loss)

    @property
    def outputs(self) -> int:
        """One number for each step between neighbouring classes."""
        return len(self.classes) - 1

    def encode(self, values: pd.Series) -> np.ndarray:
        """(n,) int32, places in `classes`."""
        return codes(values, self.classes)

    def weights(self, values: pd.Series) -> np.ndarray:
        """(n,) float32: 1, or n / (classes * count) with balanced class weights, whose training mean is 1."""
        if self.class_weights == "none":
            return super().weights(values)
        return balanced_weights(self.counts)[self.encode(values)].astype(np.float32)

    def initial_bias(self) -> np.ndarray:
        """What gives each class its share in the training loss: (classes - 1,) float32."""
        from scipy.special import logit

        passed = logit(shares(self.counts, self.class_weights)[::-1].cumsum()[-2::-1])
        return np.append(passed[:1], np.log(np.expm1(-np.diff(passed)))).astype(np.float32)

    def loss(self, target: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """The penalty for `output` (batch, classes - 1) of classes `target` (batch,): (batch,).

        Source of 'coral': Cao et al. 2020, equation 4, with all importances 1.
        """
        import tensorflow as tf

        require_shapes(target, output, outputs=self.outputs)
        if self.penalty == "likelihood":
            labels = tf.one_hot(target, len(self.classes), dtype=tf.float32)
            return -tf.reduce_sum(labels * self.log_probabilities(output), axis=1)
        reached = tf.cast(tf.cast(target, tf.int32)[:, None] > tf.range(self.outputs), tf.float32)
        logits = self._cumulative_logits(output)[0]
        return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(reached, logits), axis=1)

    def log_probabilities(self, output: "tf.Tensor") -> "tf.Tensor":
        """Logarithm of the probability of each class, of `output` (batch, classes - 1): (batch, classes).

        sigmoid(z) - sigmoid(z - gap) is taken as sigmoid(z) sigmoid(gap - z) (1 - exp(-gap)), which loses no digits.
        """
        import tensorflow as tf

        logits, gaps = self._cumulative_logits(output)
        between = tf.math.log(-tf.math.expm1(-gaps))
        passed, stayed = tf.math.log_sigmoid(logits), tf.math.log_sigmoid(-logits)
        return tf.concat([stayed[:, :1], passed[:, :-1] + stayed[:, 1:] + between, passed[:, -1:]], axis=1)

    def _cumulative_logits(self, output: "tf.Tensor") -> "tuple[tf.Tensor, tf.Tensor]":
        """z (batch, classes - 1), descending, and by how much each is below the one before."""
        import tensorflow as tf

        output = tf.cast(output, tf.float32)
        gaps = tf.maximum(tf.nn.softplus(output[:, 1:]), 1e-7)  # 0 in float32 would have no logarithm
        return tf.cumsum(tf.concat([output[:, :1], -gaps], axis=1), axis=1), gaps

    def decode(self, output: np.ndarray) -> pd.DataFrame:
        """Columns `prediction`, the most probable class, and p_<class>, its probability."""
        return decoded(self._probabilities(output), self.classes)

    def _probabilities(self, output: np.ndarray) -> np.ndarray:
        """(n, classes) float64, each row with the sum 1; NaN where an output is no finite number."""
        from scipy.special import expit

        output = np.asarray(output, float)
        output = np.where(np.isfinite(output).all(axis=1, keepdims=True), output, np.nan)
        with np.errstate(invalid="ignore"):
            logits = np.cumsum(np.column_stack([output[:, 0], -np.logaddexp(0, output[:, 1:])]), axis=1)
        passed = np.pad(expit(logits), [(0, 0), (1, 1)], constant_values=(1, 0))
        return np.maximum(-np.diff(passed, axis=1), 0)

    def metrics(self, truth: pd.Series, output: np.ndarray) -> dict[str, float]:
        """`balanced_accuracy`, `accuracy`, and of stages counted from 0 `stage_mae` and `quadratic_kappa`."""
        from sklearn.metrics import cohen_kappa_score

        correct, found = self.encode(truth), self._probabilities(output).argmax(axis=1)
        places = list(range(len(self.classes)))
        kappa = np.nan  # of two constants that agree
        if len(np.union1d(correct, found)) > 1:
            kappa = cohen_kappa_score(correct, found, labels=places, weights="quadratic")
        stages = {"stage_mae": float(np.mean(np.abs(correct - found))), "quadratic_kappa": float(kappa)}
        return measured(correct, found) | stages
