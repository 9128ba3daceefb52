"""Where places of the output come from when a head is mirrored, scaled, sheared, rotated and moved.

Each function gives a matrix (batch, 3, 3) and a shift (batch, 3) mm: the place p of the output, in mm from the centre
of the image, comes from matrix·p + shift. That is the inverse of what happens to the head. Both are float64, so that in
the end whole voxels are whole and right angles right. No matrix products through `einsum`: on a GPU they may be rounded
to ten bits, and places must not be.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmri.augment.settings import AXES

Source = tuple[tf.Tensor, tf.Tensor]


def identity(batch: tf.Tensor) -> Source:
    """Nothing moves, in any of `batch` samples."""
    return tf.eye(3, batch_shape=[batch], dtype=tf.float64), tf.zeros([batch, 3], tf.float64)


def followed_by(first: Source, then: Source) -> Source:
    """Where places come from when to the head happens `first` and `then`."""
    (a, s), (b, t) = first, then
    return product(a, b), times(a, t) + s


def product(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """a·b of matrices (batch, 3, 3), in full precision."""
    return tf.reduce_sum(a[:, :, :, None] * b[:, None, :, :], axis=2)


def times(a: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
    """a·v of matrices (batch, 3, 3) and vectors (batch, 3), in full precision."""
    return tf.reduce_sum(a * v[:, None, :], axis=2)


def mirroring(mirrored: tf.Tensor, axes: tuple[str, ...]) -> Source:
    """Of `axes`, those that are True in `mirrored` (batch, 3)."""
    sign = tf.cast(tf.where(mirrored & tf.constant([axis in axes for axis in AXES]), -1, 1), tf.float64)
    return tf.linalg.diag(sign), tf.zeros_like(sign)


def affine(scale: tf.Tensor, shear: tf.Tensor, rotation: tf.Tensor, translation: tf.Tensor) -> Source:
    """The head is scaled (S), sheared (H), rotated (R) and then moved by t: p comes from S⁻¹ H⁻¹ Rᵀ (p - t).

    Args:
        scale: (batch, 3).
        shear: (batch, 3) degrees: of x by y, of x by z, of y by z.
        rotation: (batch, 3) degrees about x, y and z, anticlockwise seen from the positive end: about x the chin rises,
            about y the head tilts to the right, about z it turns to the left. R = Rz Ry Rx.
        translation: (batch, 3) mm.
    """
    scale, shear, rotation, translation = (tf.cast(each, tf.float64) for each in (scale, shear, rotation, translation))
    matrix = product(unsheared(shear), tf.linalg.matrix_transpose(rotation_matrix(rotation))) / scale[:, :, None]
    return matrix, -times(matrix, translation)


def moved(voxels: tf.Tensor, spacing: Sequence[float]) -> Source:
    """The head is moved by `voxels` (batch, 3) of `spacing` mm."""
    return identity(tf.shape(voxels)[0])[0], -tf.cast(voxels, tf.float64) * np.asarray(spacing, float)


def window(factor: tf.Tensor, position: tf.Tensor, extent: Sequence[float]) -> Source:
    """A window of the image, smaller by `factor`, enlarged to all of it.

    Args:
        factor: (batch,), at least 1.
        position: (batch, 3) of the window along x, y and z, from 0, at the low end of the image, to 1, at the high end.
        extent: mm from the first to the last voxel along x, y and z.
    """
    share = 1 / tf.cast(factor, tf.float64)[:, None]
    free = (1 - share) * np.asarray(extent, float)
    return identity(tf.shape(share)[0])[0] * share[:, :, None], (tf.cast(position, tf.float64) - 0.5) * free


def rotation_matrix(degrees: tf.Tensor) -> tf.Tensor:
    """Rz Ry Rx, (batch, 3, 3), of angles (batch, 3) in degrees about x, y and z."""
    radians = degrees * (np.pi / 180)
    (a, b, c), (i, j, k) = tf.unstack(tf.cos(radians), axis=1), tf.unstack(tf.sin(radians), axis=1)
    return _matrix(
        [
            [c * b, c * j * i - k * a, c * j * a + k * i],
            [k * b, k * j * i + c * a, k * j * a - c * i],
            [-j, b * i, b * a],
        ]
    )


def unsheared(degrees: tf.Tensor) -> tf.Tensor:
    """H⁻¹, (batch, 3, 3), of the shear H with the tangents of `degrees` (batch, 3) above its diagonal."""
    xy, xz, yz = tf.unstack(tf.tan(degrees * (np.pi / 180)), axis=1)
    one, zero = tf.ones_like(xy), tf.zeros_like(xy)
    return _matrix([[one, -xy, xy * yz - xz], [zero, one, -yz], [zero, zero, one]])


def _matrix(rows: list[list[tf.Tensor]]) -> tf.Tensor:
    return tf.stack([tf.stack(row, axis=1) for row in rows], axis=1)
