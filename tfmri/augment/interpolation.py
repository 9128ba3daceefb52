"""Values of images at given places: trilinear, one gather for a whole batch."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf


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
