"""Deformations without folds: where points are carried that follow a velocity for a unit of time.

The velocity is smooth and does not change with time (stationary); the field of displacements is the exponential of the
velocity, by scaling and squaring: for 2⁻ⁿ of the time points move as the velocity says, u = v / 2ⁿ, and n times the
movement is followed by itself, u(p) + u(p + u(p)). The opposite velocity undoes it.
Source: Arsigny et al. 2006, MICCAI, LNCS 4190; as in VoxelMorph (Dalca et al. 2019, Medical Image Analysis 57).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmri.augment.control_grid import spline_weights, upsample
from tfmri.augment.interpolation import continued, resample

_SQUARINGS = 7
_FINER = 4  # points at which the flow is integrated, per interval of the control grid
_BETWEEN = 2  # of these intervals each is parted in as many, by cubic splines, before linear interpolation


def displacement(control: tf.Tensor, shape: Sequence[int], spacing: Sequence[float]) -> tf.Tensor:
    """Where the velocity of a control grid of cubic B-splines carries each voxel; beyond the image it is the border's.

    Args:
        control: (batch, 3, i, j, k) mm per unit of time, on a grid as in control_grid.py.
        shape: of the images, in voxels.
        spacing: of the images, in mm.

    Returns:
        (batch, 3, x, y, z) float32 mm.
    """
    grid = [_FINER * (points - 3) + 1 for points in control.shape[-3:]]
    finer = [_BETWEEN * (points - 1) + 1 for points in grid]
    points = [np.reshape(np.arange(n, dtype="float32"), np.roll([1, 1, n], axis + 1)) for axis, n in enumerate(grid)]
    per_mm = [(g - 1) / ((n - 1) * mm) for g, n, mm in zip(grid, shape, spacing, strict=True)]

    def squared(turn: int, u: tf.Tensor) -> tuple[int, tf.Tensor]:
        places = [_BETWEEN * (points[axis] + per_mm[axis] * u[:, axis]) for axis in range(3)]
        places = [tf.repeat(place, 3, axis=0) for place in continued(places, finer, "border")]
        images = tf.reshape(upsample(u, finer, through_weights), [-1, *finer])
        return turn + 1, u + tf.reshape(resample(images, places, tf.zeros_like(images[:, 0, 0, 0])), [-1, 3, *grid])

    u = upsample(control, grid, spline_weights) * 2.0**-_SQUARINGS
    _, u = tf.while_loop(lambda turn, _: turn < _SQUARINGS, squared, (0, u))  # a loop is compiled once
    return upsample(u, shape, through_weights)


def through_weights(voxels: int, points: int) -> np.ndarray:
    """Weights (voxels, points) float64 of the cubic spline that goes through `points`, the ends on the ends."""
    from scipy.interpolate import make_interp_spline

    return make_interp_spline(np.arange(points), np.eye(points), k=3)(np.linspace(0, points - 1, voxels))
