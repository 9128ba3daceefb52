"""Noise of the receiver, drawn voxel by voxel at full resolution."""

import tensorflow as tf

from tfmri.augment.philox import normal


def gaussian(images: tf.Tensor, sd: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """`images` (batch, x, y, z) with white Gaussian noise of `sd` (batch, 1, 1, 1), from `seeds` (batch, 2) int32."""
    return images + sd * normal(seeds, images.shape[1:])
