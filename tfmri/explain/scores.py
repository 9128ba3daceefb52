"""The one number of a network that is explained."""

from collections.abc import Callable
from typing import Any

from tfmri.tasks.ordinal import Ordinal
from tfmri.tasks.soft_labels import SoftLabels
from tfmri.tasks.task import Task


def score_of(task: Task, place: int | None = None) -> Callable[[Any], Any]:
    """A function from outputs (n, outputs) to (n,).

    Args:
        task: of the model.
        place: of a class, whose logit (of ordered classes the logarithm of its probability, which differs from a logit
            by what is the same for all) it is, less the mean of the others'; None for a number, in the target's unit.
    """
    import tensorflow as tf

    if place is not None:
        if isinstance(task, Ordinal):
            return lambda outputs: _above_others(task.log_probabilities(outputs), place)
        return lambda outputs: _above_others(outputs, place)
    if isinstance(task, SoftLabels):
        centres = tf.constant(task.centres, tf.float32)
        return lambda outputs: tf.linalg.matvec(tf.nn.softmax(outputs), centres)
    sd = float(getattr(task, "sd", 1.0))
    return lambda outputs: outputs[:, 0] * sd


def _above_others(logits: Any, place: int) -> Any:
    """(n,) one column of (n, classes), less the mean of the others."""
    import tensorflow as tf

    own = logits[:, place]
    return own - (tf.reduce_sum(logits, axis=1) - own) / (logits.shape[1] - 1)
