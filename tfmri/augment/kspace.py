"""What goes wrong in k-space, the discrete Fourier transform of the image, in which a scanner measures.

The lines of k-space along an axis of n voxels are numbered from -(n // 2) on by their frequency, in periods over the
field of view: line 0 is the centre, the mean along the axis. What weights whole lines is a circular convolution along
the axis; the matrix of it costs less than three-dimensional Fourier transforms, and is real.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmri.augment.axis_matrices import along


def lines(voxels: int) -> np.ndarray:
    """Frequencies (voxels,) of the lines of k-space, in their order."""
    return np.arange(voxels) - voxels // 2


def circulant(weights: tf.Tensor, imaginary: bool = False) -> tf.Tensor:
    """Matrices (..., n, n) that multiply the lines of k-space by `weights` (..., n): the real or the imaginary part."""
    n = weights.shape[-1]
    angle = 2 * np.pi / n * (np.outer(lines(n), np.arange(n)) % n)
    waves = tf.constant((np.sin if imaginary else np.cos)(angle) / n, tf.float32)
    response = tf.reduce_sum(weights[..., :, None] * waves, axis=-2)  # to one voxel, at each distance from it
    return tf.gather(response, np.subtract.outer(np.arange(n), np.arange(n)) % n, axis=-1)


def weighted(image: tf.Tensor, axis: int, weights: tf.Tensor) -> tf.Tensor:
    """`image` (x, y, z) with its lines of k-space along `axis` (0 is x) multiplied by `weights` (n,): the real part."""
    return tf.where(tf.reduce_all(weights == 1), image, along(image[None], axis, circulant(weights)[None, None])[0])


def kept_lines(voxels: int, cutoff: tf.Tensor) -> tf.Tensor:
    """1 for lines whose frequency is at most `cutoff` () of the highest that voxels can show, 0 for those beyond."""
    return tf.cast(np.abs(lines(voxels)) <= cutoff * (voxels / 2), tf.float32)


def ghost_lines(voxels: int, ghosts: tf.Tensor, intensity: tf.Tensor, restore: tf.Tensor) -> tf.Tensor:
    """1 - `intensity` for every `ghosts`-th line, counted from the centre, and 1 for all others.

    The centre itself is 1, and so are the lines up to `restore` () of the highest frequency. `ghosts`, `intensity`: ().
    """
    number = tf.constant(lines(voxels), tf.float32)
    hit = (tf.math.floormod(number, ghosts) == 0) & (tf.abs(number) > restore * (voxels / 2))
    return tf.where(hit, 1 - intensity, 1.0)


def plane_waves(shape: Sequence[int], places: tf.Tensor, phases: tf.Tensor) -> tf.Tensor:
    """The sum of waves of amplitude 1, what single points of k-space look like in the image: real, (x, y, z) float32.

    Args:
        shape: (x, y, z) voxels.
        places: (waves, 3) of the points in k-space, 0 to 1 from one end of each axis to the other. Its centre gives 0.
        phases: (waves,) periods, of the wave at the first voxel.
    """
    size = np.array(shape, np.float32)
    frequency = tf.minimum(tf.floor(places * size), size - 1) - size // 2
    amplitude = tf.cast(tf.reduce_any(frequency != 0, axis=1), tf.float32)

    def turned(axis: int, start: tf.Tensor | float = 0.0) -> tuple[tf.Tensor, tf.Tensor]:
        turns = (
            tf.math.floormod(frequency[:, axis, None] * np.arange(shape[axis], dtype=np.float32), size[axis])
            / size[axis]
        )
        angle = 2 * np.pi * (turns + start)
        return tf.cos(angle), tf.sin(angle)

    (cos_x, sin_x), (cos_y, sin_y), (cos_z, sin_z) = turned(0, phases[:, None]), turned(1), turned(2)

    def product(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        return first[:, :, None] * second[:, None, :]

    real = amplitude[:, None, None] * (product(cos_x, cos_y) - product(sin_x, sin_y))
    imaginary = amplitude[:, None, None] * (product(sin_x, cos_y) + product(cos_x, sin_y))
    return tf.einsum("wxy,wz->xyz", real, cos_z) - tf.einsum("wxy,wz->xyz", imaginary, sin_z)
