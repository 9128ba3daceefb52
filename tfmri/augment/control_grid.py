"""Smooth fields from coarse grids of control values, upsampled axis by axis: cubic B-splines, or straight lines.

Of splines, a control grid of k points along an axis spans its voxels with k - 3 equal intervals; the first and the last
point lie one interval outside. Of straight lines, it spans them with k - 1 intervals, from the first voxel to the last.
Weights are positive and sum to 1: a field never leaves the range of its control values, and equal control values give
that value everywhere.
Source: Rueckert et al. 1999, IEEE Transactions on Medical Imaging 18(8), equation 3.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf


def spline_weights(voxels: int, points: int) -> np.ndarray:
    """Weights (voxels, points) float64 of `points` (at least 4) control values at `voxels` positions along one axis."""
    position = np.linspace(0, points - 3, voxels)
    first = np.minimum(position.astype(int), points - 4)
    t = position - first
    four = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    weights = np.zeros((voxels, points))
    np.put_along_axis(weights, first[:, None] + np.arange(4), four, axis=1)
    return weights


def linear_weights(voxels: int, points: int) -> np.ndarray:
    """As `spline_weights`, of `points` (at least 2) with straight lines between them."""
    position = np.linspace(0, points - 1, voxels)
    return np.maximum(0, 1 - np.abs(position[:, None] - np.arange(points)))


def upsample(
    control: tf.Tensor, shape: Sequence[int], weights_of: Callable[[int, int], np.ndarray] = spline_weights
) -> tf.Tensor:
    """The field of `control` (batch, fields, i, j, k) at the voxels of `shape`: (batch, fields, x, y, z) float32."""
    weights = [weights_of(n, points).astype("float32") for n, points in zip(shape, control.shape[-3:], strict=True)]
    field = tf.einsum("bcijk,xi->bcxjk", control, weights[0])
    field = tf.einsum("bcxjk,yj->bcxyk", field, weights[1])
    if control.shape[-1] > _SUMMED:
        return tf.einsum("bcxyk,zk->bcxyz", field, weights[2])
    # a sum that XLA computes where the field is used, in place of a matrix product that goes through memory
    return tf.add_n([field[..., k, None] * along_z for k, along_z in enumerate(weights[2].T)])


_SUMMED = 12  # points
