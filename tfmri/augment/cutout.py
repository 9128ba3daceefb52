"""Boxes cut out of images."""

from collections.abc import Sequence
from functools import reduce

import tensorflow as tf


def in_boxes(shape: Sequence[int], spacing: Sequence[float], size: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
    """Which voxels have their centres in a box: (batch, x, y, z) bool.

    Args:
        shape: (x, y, z) voxels.
        spacing: (x, y, z) mm.
        size: (batch, 3) mm of the boxes of a sample. Longer than the image is as long as the image.
        places: (batch, boxes, 3), 0 to 1: from the lowest to the highest place along each axis at which the box is
            inside the image.
    """
    sides = []
    for axis, (n, mm) in enumerate(zip(shape, spacing, strict=True)):
        extent = tf.minimum(size[:, axis] / mm, float(n))[:, None, None]
        start = places[:, :, axis, None] * (n - extent)
        centre = tf.range(n, dtype=tf.float32) + 0.5
        sides.append((centre >= start) & (centre < start + extent))  # (batch, boxes, n)
    x, y, z = sides
    boxes = range(places.shape[1])
    return reduce(tf.logical_or, (x[:, b, :, None, None] & y[:, b, None, :, None] & z[:, b, None, None] for b in boxes))
