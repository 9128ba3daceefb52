"""Flip, affine and elastic as one field of coordinates and one trilinear resampling.

To the head it happens in this order: it is mirrored (F), scaled (S), rotated (R), moved (t), and then deformed (u).
Resampling asks the other way round, where a voxel of the output comes from in the input. With p the output voxel's
place in mm from the centre of the image (which lies at voxel (n - 1) / 2 on each axis)::

    place in the input = F S⁻¹ Rᵀ (p + u(p) - t),    R = Rz Ry Rx

Angles are anticlockwise seen from the positive end of their axis: about x the chin rises, about y the head tilts to
the right, about z it turns to the left. Fields and coordinates are float32. Parameters that change nothing give back
the input exactly.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmri.augment.control_grid import upsample
from tfmri.augment.sampling import Parameters

SPATIAL = ("flip", "affine", "elastic")


def rotation_matrix(degrees: tf.Tensor) -> tf.Tensor:
    """Rz Ry Rx, (batch, 3, 3), of angles (batch, 3) in degrees about x, y and z."""
    radians = degrees * (np.pi / 180)
    (a, b, c), (i, j, k) = tf.unstack(tf.cos(radians), axis=1), tf.unstack(tf.sin(radians), axis=1)
    rows = [
        [c * b, c * j * i - k * a, c * j * a + k * i],
        [k * b, k * j * i + c * a, k * j * a - c * i],
        [-j, b * i, b * a],
    ]
    return tf.stack([tf.stack(row, axis=1) for row in rows], axis=1)


def coordinates(
    parameters: Parameters, shape: Sequence[int], spacing: Sequence[float], batch: tf.Tensor
) -> list[tf.Tensor]:
    """Where each output voxel comes from.

    Args:
        parameters: of which `flip`, `affine` and `elastic` count, where they are there.
        shape: of the images, in voxels.
        spacing: of the images, in mm.
        batch: how many samples there are.

    Returns:
        Three of (batch, x, y, z) float32: input voxel coordinates along x, y and z.
    """
    back = tf.eye(3, batch_shape=[batch])  # mm in the output to mm in the input, about the centre
    shift = tf.zeros([batch, 3])
    if "affine" in parameters:
        affine = parameters["affine"]
        back = tf.linalg.matrix_transpose(rotation_matrix(affine["rotation"])) / affine["scale"][:, :, None]
        shift = affine["translation"]
    if "flip" in parameters:
        back = parameters["flip"]["sign"][:, :, None] * back
    moved = tf.einsum("bij,bj->bi", back, shift)

    centre = (np.array(shape) - 1) / 2
    offsets = [
        tf.reshape(tf.constant(np.arange(n) - c, tf.float32), np.roll([1, 1, n], axis + 1))
        for axis, (n, c) in enumerate(zip(shape, centre, strict=True))
    ]
    field = None
    if "elastic" in parameters:
        in_input = tf.einsum("bij,bjklm->biklm", back, parameters["elastic"]["displacement"])
        field = upsample(in_input / tf.reshape(tf.constant(spacing, tf.float32), [3, 1, 1, 1]), shape)

    def per_sample(values: tf.Tensor) -> tf.Tensor:
        return values[:, None, None, None]

    result = []
    for i in range(3):
        # the ratio of spacings is exactly 1 on the diagonal, and the parts are added so that the identity is exact
        along = sum(per_sample(back[:, i, j] * (spacing[j] / spacing[i])) * offsets[j] for j in range(3))
        along = along - per_sample(moved[:, i] / spacing[i]) + centre[i]
        result.append(along if field is None else along + field[:, i])
    return result


def resample(images: tf.Tensor, places: Sequence[tf.Tensor], background: tf.Tensor) -> tf.Tensor:
    """Trilinear interpolation of each image at its places; outside it, voxels of `background` continue the image.

    Args:
        images: (batch, x, y, z).
        places: three of (batch, x, y, z) float32, voxel coordinates.
        background: (batch,) float32.

    Returns:
        (batch, x, y, z) float32. SciPy calls this ``map_coordinates(order=1, mode="grid-constant")``.
    """
    shape = images.shape[1:]
    voxels = tf.reshape(images, [-1])
    starts = tf.range(tf.shape(images)[0]) * int(np.prod(shape))
    strides = (shape[1] * shape[2], shape[2], 1)
    near: list[list[tf.Tensor]] = []  # per axis, of the two neighbours: offset into `voxels`, weight (0 outside)
    weight: list[list[tf.Tensor]] = []
    for place, size, stride in zip(places, shape, strides, strict=True):
        # far outside is as good as just outside, and a float beyond int32 has no floor there
        place = tf.clip_by_value(place, -2.0, size + 1.0)
        below = tf.floor(place)
        share = place - below
        index = tf.cast(below, tf.int32)
        near.append([tf.clip_by_value(index + k, 0, size - 1) * stride for k in (0, 1)])
        weight.append([tf.where((index + k >= 0) & (index + k < size), share if k else 1 - share, 0.0) for k in (0, 1)])

    total = 0.0
    for i in (0, 1):
        plane = 0.0
        for j in (0, 1):
            row = starts[:, None, None, None] + near[0][i] + near[1][j]
            line = sum(weight[2][k] * tf.cast(tf.gather(voxels, row + near[2][k]), tf.float32) for k in (0, 1))
            plane += weight[1][j] * line
        total += weight[0][i] * plane
    (x0, x1), (y0, y1), (z0, z1) = weight
    return total + background[:, None, None, None] * (1 - (x0 + x1) * (y0 + y1) * (z0 + z1))
