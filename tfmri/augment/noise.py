"""Noise of the receiver, drawn voxel by voxel at full resolution."""

import tensorflow as tf

from tfmri.augment import moments
from tfmri.augment.philox import normal


def unit(of: str, images: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """(batch, 1, 1, 1), what the noise is a share `of`: the scan's `range`, or the images' own standard `deviation`."""
    return moments.deviation(images) if of == "deviation" else high - low


def gaussian(images: tf.Tensor, sd: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """`images` (batch, x, y, z) with white Gaussian noise of `sd` (batch, 1, 1, 1), from `seeds` (batch, 2) int32."""
    return images + sd * normal(seeds, images.shape[1:])


def rician(images: tf.Tensor, sd: tf.Tensor, seeds: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
    """Magnitude of a complex signal with Gaussian noise of `sd` in its real and its imaginary part.

    The signal is what lies above the background. A magnitude cannot be negative: what lies below the background, as
    some of the air does, counts as no signal, and ends as far below as it was.

    Args:
        images: (batch, x, y, z) float32.
        sd: (batch, 1, 1, 1); 0 gives `images` exactly.
        seeds: (batch, 2) int32.
        background: (batch, 1, 1, 1) float32.

    Source: Gudbjartsson and Patz 1995, Magnetic Resonance in Medicine 34(6), equation 1.
    """
    real, imaginary = tf.unstack(normal(seeds, (2, *images.shape[1:])), axis=1)
    signal = tf.maximum(images - background, 0.0)
    below = tf.minimum(images, background)
    magnitude = tf.sqrt(tf.square(signal + sd * real) + tf.square(sd * imaginary))
    return tf.where(sd == 0.0, images, below + magnitude)
