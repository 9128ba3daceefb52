"""What acts on an image along one axis and is linear: a small matrix, multiplied with every line of voxels."""

from collections.abc import Callable, Sequence

import tensorflow as tf

_PRODUCTS = ("skij,sjyz->kiyz", "skij,sxjz->kxiz", "skij,sxyj->kxyi")


def along(images: tf.Tensor, axis: int, matrices: tf.Tensor) -> tf.Tensor:
    """Sums of images, each multiplied with matrices along `axis` (0 is x), which has n voxels.

    Args:
        images: (s, x, y, z) float32.
        axis: 0 to 2.
        matrices: (s, k, n, n); for each image, k of them.

    Returns:
        (k, x, y, z) float32, the k-th sum over s of matrices[s, k] times images[s].
    """
    return tf.einsum(_PRODUCTS[axis], matrices, images)


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
