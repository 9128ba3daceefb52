"""Thick slices: what a scan loses that was taken with slices thicker than its voxels are now."""

import math

import tensorflow as tf

from tfmri.augment.axis_matrices import along

_SIGMA_OF_FWHM = 1 / math.sqrt(8 * math.log(2))


def thick_slices(image: tf.Tensor, axis: int, thickness: tf.Tensor, spacing: float) -> tf.Tensor:
    """`image` (x, y, z) as if acquired in slices of `thickness` along `axis` (0 is x), and interpolated to its voxels.

    Args:
        image: (x, y, z) float32.
        axis: across the slices.
        thickness: () mm, which is the distance between slices too; up to `spacing` it changes nothing.
        spacing: mm between the image's voxels along `axis`.
    """
    matrix = slice_matrix(image.shape[axis], thickness / spacing)
    return tf.where(thickness <= spacing, image, along(image[None], axis, matrix[None, None])[0])


def slice_matrix(voxels: int, ratio: tf.Tensor) -> tf.Tensor:
    """Rows of weights, (voxels, voxels), of slices `ratio` () times as thick as a voxel, at least 1. Rows sum to 1.

    Blurred, down to the slices and up again: voxels are averaged with a Gaussian of their distance (what is beyond the
    border is left out); slices lie at 0, ratio, 2 ratio ... voxels and are interpolated linearly from that average, the
    last from the last voxel; voxels are interpolated linearly from the slices. The slice profile's full width at half
    maximum is the thickness. A voxel counts as a slice of its own size, so that the Gaussian makes up the difference:
    FWHM² = thickness² - spacing².
    """
    ratio = tf.maximum(ratio, 1.0)
    places = tf.range(voxels, dtype=tf.float32)
    distance = tf.abs(places[:, None] - places)
    sigma = _SIGMA_OF_FWHM * tf.sqrt(tf.square(ratio) - 1)
    profile = tf.exp(-0.5 * tf.square(tf.where(distance > 0, distance / sigma, 0.0)))
    blur = profile / tf.reduce_sum(profile, axis=1, keepdims=True)
    down = _linear(tf.minimum(places * ratio, voxels - 1.0), places)
    up = _linear(places / ratio, places)
    return up @ (down @ blur)


def _linear(places: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Weights (places, points) of values at `points`, which are one apart, for linear interpolation at `places`."""
    return tf.maximum(1 - tf.abs(places[:, None] - points), 0.0)
