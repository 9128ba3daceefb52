"""What acts on an image along one axis and is linear: a small matrix, multiplied with every line of voxels."""

from collections.abc import Callable, Sequence

import tensorflow as tf

_PRODUCTS = ("kij,jyz->kiyz", "kij,xjz->kxiz", "kij,xyj->kxyi")


def along(image: tf.Tensor, axis: int, matrices: tf.Tensor) -> tf.Tensor:
    """`image` (x, y, z) multiplied along `axis` (0 is x), which has n voxels, by each of `matrices` (k, n, n).

    Returns:
        (k, x, y, z) float32.
    """
    return tf.einsum(_PRODUCTS[axis], matrices, image)


def along_drawn(
    image: tf.Tensor, axes: Sequence[int], axis: tf.Tensor, change: Callable[[tf.Tensor, int], tf.Tensor]
) -> tf.Tensor:
    """``change(image, axis)`` of an `axis`, one int32, that is one of `axes` and known only when the program runs.

    For each of `axes` a loop of one turn or none: XLA does not compute in parallel on a CPU what stands behind a
    condition.
    """
    for each in axes:
        turns = tf.cast(tf.reshape(axis, []) == each, tf.int32)
        _, image = tf.while_loop(
            lambda turn, _: turn < turns,  # noqa: B023
            lambda turn, kept: (turn + 1, change(kept, each)),  # noqa: B023
            (0, image),
        )
    return image
