"""Classification: one of two or more classes, by softmax and cross-entropy, or the focal loss."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field

from tfmri.tasks.classes import balanced_weights, codes, counted, decoded, measured, shares
from tfmri.tasks.task import Task, require_shapes

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Classification(Task):
    """Classes in a fixed order, which is the order of the outputs.

    Args:
        classes: their names.
        counts: how many training samples each has.
        class_weights: 'none', or 'balanced': a sample of class c counts n / (classes * count of c).
        label_smoothing: share of the target's mass that is spread evenly over all classes.
        focal_gamma: of the focal loss; 0 is the cross-entropy.
    """

    kind: ClassVar[str] = "classification"
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    class_weights: str = "none"
    label_smoothing: float = 0.0
    focal_gamma: float = 0.0

    @classmethod
    def fit(
        cls,
        values: pd.Series,
        *,
        classes: Any = None,
        class_weights: Literal["none", "balanced"] = "none",
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        focal_gamma: Annotated[float, Field(ge=0)] = 0.0,
    ) -> Self:
        """The task for training targets `values`.

        Args:
            values: (n,) class of each training sample.
            classes: names in the order of the outputs (keys, where it is a mapping); sorted values where None.
            class_weights: see the class.
            label_smoothing: see the class.
            focal_gamma: see `loss`.

        Raises:
            InputError: fewer than two classes, a class without training samples, a value that is no class.
        """
        names, counts = counted(values, sorted(values.unique()) if classes is None else classes)
        return cls(names, counts, class_weights, label_smoothing, focal_gamma)

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return len(self.classes)

    def encode(self, values: pd.Series) -> np.ndarray:
        """(n,) int32, places in `classes`."""
        return codes(values, self.classes)

    def weights(self, values: pd.Series) -> np.ndarray:
        """(n,) float32: 1, or n / (classes * count) with balanced class weights, whose training mean is 1."""
        if self.class_weights == "none":
            return super().weights(values)
        return balanced_weights(self.counts)[self.encode(values)].astype(np.float32)

    def initial_bias(self) -> np.ndarray:
        """Logarithms of the classes' shares in the training loss: (classes,) float32."""
        return np.log(self._smoothed(shares(self.counts, self.class_weights))).astype(np.float32)

    def loss(self, target: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """-Σ y (1 - p)^focal_gamma log p over the classes, of logits `output` (batch, classes): (batch,).

        `target` (batch,) are classes, y their smoothed labels. With label smoothing every class has its own factor
        (1 - p)^gamma, as in Keras' CategoricalFocalCrossentropy.

        Source: Lin et al. 2017, ICCV, equation 4; alpha there are the class weights.
        """
        import tensorflow as tf

        require_shapes(target, output, outputs=self.outputs)
        labels = self._smoothed(tf.one_hot(target, self.outputs, dtype=tf.float32))
        output = tf.cast(output, tf.float32)
        if self.focal_gamma == 0:
            return tf.nn.softmax_cross_entropy_with_logits(labels, output)
        log_p = tf.nn.log_softmax(output)
        unsure = tf.maximum(-tf.math.expm1(log_p), 1e-7)  # at 0 a power below 1 has no gradient
        return -tf.reduce_sum(labels * unsure**self.focal_gamma * log_p, axis=1)

    def decode(self, output: np.ndarray) -> pd.DataFrame:
        """Columns `prediction`, the most probable class, and p_<class>, its probability."""
        from scipy.special import softmax

        with np.errstate(invalid="ignore"):  # infinite outputs have no softmax
            return decoded(softmax(np.asarray(output, float), axis=1), self.classes)

    def metrics(self, truth: pd.Series, output: np.ndarray) -> dict[str, float]:
        """`balanced_accuracy`, over the classes that `truth` has, and `accuracy`."""
        return measured(self.encode(truth), np.asarray(output).argmax(axis=1))

    def _smoothed(self, share: Any) -> Any:
        return (1 - self.label_smoothing) * share + self.label_smoothing / self.outputs
