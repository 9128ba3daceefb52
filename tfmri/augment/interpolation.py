"""Values at given places of images, trilinear, and of label maps, of the nearest voxel: one gather for a whole batch.

What continues an image beyond its border is one of three: `background`, which is `resample`'s (0 for labels), or, after
the places have gone through `continued`, the image's own voxels: `border`, the outermost, SciPy's mode "nearest" and
NumPy's "edge", or `reflect`, mirrored about the centre of the outermost one, SciPy's "mirror" and NumPy's "reflect".
"""

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
    strides = (shape[1] * shape[2], shape[2], 1)
    axes = [_neighbours(place, size) for place, size in zip(places, shape, strict=True)]
    voxels = tf.reshape(images, [-1])
    starts = tf.range(tf.shape(images)[0]) * int(np.prod(shape))
    # one index a voxel: the other seven corners lie at constant distances from it
    corner = starts[:, None, None, None] + sum(
        below * stride for (below, _, _), stride in zip(axes, strides, strict=True)
    )
    (_, *x), (_, *y), (_, *z) = axes

    def line(offset: int) -> tf.Tensor:
        return sum(z[k] * tf.cast(tf.gather(voxels, corner + (offset + k)), tf.float32) for k in (0, 1))

    def plane(offset: int) -> tf.Tensor:
        return sum(y[j] * line(offset + j * strides[1]) for j in (0, 1))

    inside = (x[0] + x[1]) * (y[0] + y[1]) * (z[0] + z[1])
    return sum(x[i] * plane(i * strides[0]) for i in (0, 1)) + background[:, None, None, None] * (1 - inside)


def continued(places: Sequence[tf.Tensor], shape: Sequence[int], padding: str) -> list[tf.Tensor]:
    """Where the voxels are that stand for those outside an image of `shape`: places inside stay as they are.

    Args:
        places: three of (batch, x, y, z) float32, voxel coordinates.
        shape: of the image.
        padding: `background` leaves all places; `border` and `reflect` move those outside into the image.
    """
    if padding == "background":
        return list(places)
    reflected = {"border": False, "reflect": True}[padding]
    return [_inside(place, size - 1, reflected) for place, size in zip(places, shape, strict=True)]


def _inside(place: tf.Tensor, last: int, reflected: bool) -> tf.Tensor:
    if reflected and last:
        place = tf.abs(place)
        place -= 2 * last * tf.floor(place / (2 * last))
        place = tf.minimum(place, 2 * last - place)
    return tf.clip_by_value(place, 0.0, float(last))


def nearest(labels: tf.Tensor, places: Sequence[tf.Tensor]) -> tf.Tensor:
    """The label of the voxel nearest to each place; halfway between two the one with the higher index; outside 0.

    Args:
        labels: (batch, x, y, z) or (batch, x, y, z, channel) of any type.
        places: three of (batch, x, y, z) float32, voxel coordinates.

    Returns:
        As `labels`. SciPy calls this ``map_coordinates(order=0, mode="grid-constant")``.
    """
    shape = labels.shape[1:4]
    voxel = tf.range(tf.shape(labels)[0])[:, None, None, None]
    inside = tf.constant(True)
    for place, size in zip(places, shape, strict=True):
        place = tf.clip_by_value(place, -2.0, size + 1.0)
        below = tf.floor(place)
        index = tf.cast(below, tf.int32) + tf.cast(place - below >= 0.5, tf.int32)
        inside &= (index >= 0) & (index < size)
        voxel = voxel * size + tf.clip_by_value(index, 0, size - 1)
    values = tf.gather(tf.reshape(labels, [-1, *labels.shape[4:]]), voxel)
    return tf.where(inside[..., None] if labels.shape.rank == 5 else inside, values, tf.zeros_like(values))


def _neighbours(place: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Along an axis of `size` (at least 2) voxels: a voxel before the last, int32, its weight and the next one's."""
    # far outside is as good as just outside, and a float beyond int32 has no floor there
    place = tf.clip_by_value(place, -2.0, size + 1.0)
    below = tf.floor(place)
    share = place - below
    index = tf.cast(below, tf.int32)
    voxel = tf.clip_by_value(index, 0, size - 2)
    between = index == voxel
    return (
        voxel,
        tf.where(between, 1 - share, tf.where(index == -1, share, 0.0)),
        tf.where(between, share, tf.where(index == size - 1, 1 - share, 0.0)),
    )
