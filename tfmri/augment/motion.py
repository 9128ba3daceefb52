"""A head that moves during the scan: k-space put together from the head in several poses."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmri.augment import affine
from tfmri.augment.axis_matrices import along, along_drawn
from tfmri.augment.coordinates import voxel_places
from tfmri.augment.interpolation import resample
from tfmri.augment.kspace import circulant, lines


def motion(
    images: tf.Tensor,
    axes: Sequence[int],
    axis: tf.Tensor,
    rotation: tf.Tensor,
    translation: tf.Tensor,
    times: tf.Tensor,
    background: tf.Tensor,
    spacing: Sequence[float],
) -> tf.Tensor:
    """One scan whose segments of k-space were measured in poses of their own.

    1. The lines of k-space along `axis` are measured one after another, from one end to the other.
    2. At each of `times` the head takes another pose. In the pose that it has in the centre of k-space it lies as in
       `images`, so that what is known of the scan stays where it is.
    3. The image in each pose, less the background, goes to k-space, and its segment is taken there.
    4. The result is the magnitude of what comes back, above the background, as scanners store it.

    Args:
        images: (1, x, y, z) float32.
        axes: along which phases may be encoded, 0 for x.
        axis: the one along which they are, one int32.
        rotation: (segments, 3) degrees about x, y and z.
        translation: (segments, 3) mm.
        times: (segments - 1,) rising, from 0 to 1.
        background: (1, 1, 1, 1).
        spacing: (x, y, z) mm.

    Returns:
        (1, x, y, z) float32; `images` exactly if no pose differs.
    """
    shape = images.shape[1:]
    segments = rotation.shape[0]
    still = (tf.range(segments) == tf.reduce_sum(tf.cast(times <= 0.5, tf.int32)))[:, None]
    rotation, translation = tf.where(still, 0.0, rotation), tf.where(still, 0.0, translation)

    back = affine.affine(tf.ones([segments, 3]), tf.zeros([segments, 3]), rotation, translation)
    # one image at the places of all poses, one pose after another along x
    places = [tf.reshape(place, [1, -1, *shape[1:]]) for place in voxel_places(back, shape, spacing)]
    moved = tf.reshape(resample(images, places, tf.reshape(background, [1])), [segments, *shape]) - background

    def measured(poses: tf.Tensor, phase: int) -> tf.Tensor:
        segment = segment_of_lines(shape[phase], times)
        weights = tf.cast(segment == tf.range(segments)[:, None], tf.float32)
        matrices = tf.stack([circulant(weights), circulant(weights, imaginary=True)], axis=1)
        # in place of the first two: XLA takes out of a loop, and always computes, what does not depend on its state
        return tf.concat([along(poses, phase, matrices), poses[2:]], axis=0)

    parts = along_drawn(moved, axes, axis, measured)[:2]
    result = background + tf.sqrt(tf.reduce_sum(tf.square(parts), axis=0, keepdims=True))
    return tf.where(tf.reduce_all((rotation == 0) & (translation == 0)), images, result)


def segment_of_lines(voxels: int, times: tf.Tensor) -> tf.Tensor:
    """Number (voxels,) int32 of the segment in which each line of k-space is measured; the pose changes at `times`."""
    changes = (times - 0.5) * voxels  # the centre, line 0, at 0.5
    return tf.reduce_sum(tf.cast(lines(voxels)[:, None].astype(np.float32) >= changes, tf.int32), axis=1)


def times_of_change(perturbations: tf.Tensor) -> tf.Tensor:
    """Equally spaced times (n,), moved by up to 0.3 of their distance by `perturbations` (n,), all from 0 to 1."""
    step = 1 / (perturbations.shape[0] + 1)
    return step * (tf.range(1, perturbations.shape[0] + 1, dtype=tf.float32) + 0.3 * (2 * perturbations - 1))
