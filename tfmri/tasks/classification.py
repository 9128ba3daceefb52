"""Classification: one of two or more classes, by softmax and cross-entropy."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field

from tfmri.errors import InputError, Problem
from tfmri.tasks.task import Task, require_shapes, target_name

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
    """

    kind: ClassVar[str] = "classification"
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    class_weights: str = "none"
    label_smoothing: float = 0.0

    @classmethod
    def fit(
        cls,
        values: pd.Series,
        *,
        classes: Any = None,
        class_weights: Literal["none", "balanced"] = "none",
        label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> Self:
        """The task for training targets `values`.

        Args:
            values: (n,) class of each training sample.
            classes: names in the order of the outputs (keys, where it is a mapping); sorted values where None.
            class_weights: see the class.
            label_smoothing: see the class.

        Raises:
            InputError: fewer than two classes, a class without training samples, a value that is no class.
        """
        names = tuple(str(name) for name in (sorted(values.unique()) if classes is None else classes))
        where = target_name(values)
        if len(names) < 2:
            raise InputError(Problem(where, f"{len(names)} class: {', '.join(names)}", "two or more"))
        counts = np.bincount(_codes(values, names), minlength=len(names))
        if not counts.all():
            absent = [name for name, count in zip(names, counts, strict=True) if not count]
            advice = "Leave the class out, label more scans, or cut the splits differently."
            raise InputError(Problem(where, f"no training scan of {', '.join(absent)}", "some of every class", advice))
        return cls(names, tuple(int(count) for count in counts), class_weights, label_smoothing)

    @property
    def outputs(self) -> int:
        """One logit for each class."""
        return len(self.classes)

    def encode(self, values: pd.Series) -> np.ndarray:
        """(n,) int32, places in `classes`."""
        return _codes(values, self.classes)

    def weights(self, values: pd.Series) -> np.ndarray:
        """(n,) float32: 1, or n / (classes * count) with balanced class weights, whose training mean is 1."""
        if self.class_weights == "none":
            return super().weights(values)
        of_class = sum(self.counts) / (len(self.classes) * np.array(self.counts))
        return of_class[self.encode(values)].astype(np.float32)

    def initial_bias(self) -> np.ndarray:
        """Logarithms of the classes' shares in the training loss: (classes,) float32."""
        counts = np.array(self.counts, float)
        share = counts / counts.sum() if self.class_weights == "none" else np.full(len(counts), 1 / len(counts))
        return np.log(self._smoothed(share)).astype(np.float32)

    def loss(self, target: "tf.Tensor", output: "tf.Tensor") -> "tf.Tensor":
        """Cross-entropy of logits `output` (batch, classes) with classes `target` (batch,): (batch,)."""
        import tensorflow as tf

        require_shapes(target, output, outputs=self.outputs)
        labels = self._smoothed(tf.one_hot(target, self.outputs, dtype=tf.float32))
        return tf.nn.softmax_cross_entropy_with_logits(labels, tf.cast(output, tf.float32))

    def decode(self, output: np.ndarray) -> pd.DataFrame:
        """Columns `prediction`, the most probable class, and p_<class>, its probability."""
        from scipy.special import softmax

        with np.errstate(invalid="ignore"):  # infinite outputs have no softmax
            probability = softmax(np.asarray(output, float), axis=1)
        table = pd.DataFrame(probability, columns=[f"p_{name}" for name in self.classes])
        table.insert(0, "prediction", np.array(self.classes, dtype=object)[probability.argmax(axis=1)])
        return table

    def metrics(self, truth: pd.Series, output: np.ndarray) -> dict[str, float]:
        """`balanced_accuracy`, over the classes that `truth` has, and `accuracy`."""
        from sklearn.metrics import recall_score

        correct, found = self.encode(truth), np.asarray(output).argmax(axis=1)
        recall = recall_score(correct, found, labels=np.unique(correct), average=None)
        return {"balanced_accuracy": float(np.mean(recall)), "accuracy": float(np.mean(correct == found))}

    def _smoothed(self, share: Any) -> Any:
        return (1 - self.label_smoothing) * share + self.label_smoothing / self.outputs


def _codes(values: pd.Series, classes: tuple[str, ...]) -> np.ndarray:
    codes = pd.Index(classes).get_indexer(pd.Index(values.astype(str)))
    if (codes < 0).any():
        unknown = ", ".join(repr(value) for value in values[codes < 0].unique()[:5])
        expected = "one of " + ", ".join(classes)
        advice = "Add it to the target's `classes`, or leave these rows out with data.where."
        raise InputError(Problem(target_name(values), f"unknown class {unknown}", expected, advice))
    return codes.astype(np.int32)
