"""The one number of a network that is explained."""

from collections.abc import Callable
from typing import Any

from tfmri.tasks.task import Task


def score_of(task: Task, place: int | None = None) -> Callable[[Any], Any]:
    """A function from outputs (n, outputs) to (n,).

    Args:
        task: of the model.
        place: of a class, whose logit it is, less the mean of the others'; None for a number, in the target's unit.
    """
    import tensorflow as tf

    if place is not None:
        others = max(1, task.outputs - 1)
        return lambda outputs: outputs[:, place] - (tf.reduce_sum(outputs, axis=1) - outputs[:, place]) / others
    if task.kind == "soft_labels":
        centres = tf.constant(getattr(task, "centres"), tf.float32)  # noqa: B009 (of this task alone)
        return lambda outputs: tf.linalg.matvec(tf.nn.softmax(outputs), centres)
    sd = float(getattr(task, "sd", 1.0))
    return lambda outputs: outputs[:, 0] * sd
