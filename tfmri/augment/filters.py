"""Linear filters along the axes of an image, each sample with a kernel of its own.

Beyond its border an image is continued by its outermost voxels.
"""

from collections.abc import Sequence

import tensorflow as tf


def blur(images: tf.Tensor, sigma: tf.Tensor, spacing: Sequence[float], reach: Sequence[int]) -> tf.Tensor:
    """Gaussian smoothing.

    Args:
        images: (batch, x, y, z) float32.
        sigma: (batch, 3) standard deviation in mm along x, y, z; 0 leaves the axis as it is.
        spacing: (x, y, z) mm.
        reach: (x, y, z) voxels of the kernel to either side.

    Returns:
        (batch, x, y, z) float32. SciPy calls this ``gaussian_filter(mode="nearest", radius=reach)``.
    """
    for axis, (mm, radius) in enumerate(zip(spacing, reach, strict=True)):
        images = along(images, axis, gaussian_kernel(sigma[:, axis] / mm, radius))
    return images


def gaussian_kernel(sigma: tf.Tensor, reach: int) -> tf.Tensor:
    """The middle and one side, (batch, reach + 1), of normalised kernels of `sigma` (batch,) voxels."""
    distance = tf.range(reach + 1, dtype=tf.float32)
    # 0 / 0 in the middle is 0 and 1 / 0 elsewhere infinite, so that a sigma of 0 gives 1, 0, 0, ...
    side = tf.exp(-0.5 * tf.square(tf.where(distance > 0, distance / sigma[:, None], 0.0)))
    return side / (2 * tf.reduce_sum(side, axis=1, keepdims=True) - side[:, :1])


def along(images: tf.Tensor, axis: int, kernel: tf.Tensor) -> tf.Tensor:
    """`images` (batch, x, y, z) filtered along `axis` (0 is x) by symmetric kernels, given as middle and one side."""
    reach = kernel.shape[1] - 1
    if not reach:
        return images
    size = images.shape[axis + 1]
    images = materialised(images)
    first, last = tf.gather(images, [0], axis=axis + 1), tf.gather(images, [size - 1], axis=axis + 1)
    longer = materialised(tf.concat([*[first] * reach, images, *[last] * reach], axis=axis + 1))

    def moved(by: int) -> tf.Tensor:
        begin = [0, 0, 0, 0]
        begin[axis + 1] = reach + by
        return tf.slice(longer, begin, [-1 if k != axis + 1 else size for k in range(4)])

    def weight(distance: int) -> tf.Tensor:
        return kernel[:, distance, None, None, None]

    result = weight(0) * images
    for distance in range(1, reach + 1):
        result += weight(distance) * (moved(-distance) + moved(distance))
    return result


def materialised(images: tf.Tensor) -> tf.Tensor:
    """`images`, computed once and kept: XLA would otherwise compute them again for each tap of a filter."""
    if tf.executing_eagerly():  # the barrier is an instruction of XLA alone
        return images
    from tensorflow.compiler.tf2xla.python import xla

    (kept,) = xla.optimization_barrier(images)
    return kept


def sharpen(
    images: tf.Tensor, amount: tf.Tensor, sigma: tf.Tensor, spacing: Sequence[float], reach: Sequence[int]
) -> tf.Tensor:
    """Unsharp mask: ``images + amount (images - blur(images, sigma))``; an amount of 0 gives `images` exactly.

    Arguments as of `blur`, and `amount` (batch, 1, 1, 1).
    """
    return images + amount * (images - blur(images, sigma, spacing, reach))
