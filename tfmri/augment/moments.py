"""Mean and standard deviation of images.

Axis by axis: a sum of millions of float32 in a row would lose digits.
"""

import tensorflow as tf


def mean(images: tf.Tensor) -> tf.Tensor:
    """(batch, 1, 1, 1), of `images` (batch, x, y, z) float32."""
    for axis in (3, 2, 1):
        images = tf.reduce_mean(images, axis=axis, keepdims=True)
    return images


def deviation(images: tf.Tensor) -> tf.Tensor:
    """(batch, 1, 1, 1), of `images` (batch, x, y, z) float32."""
    return tf.sqrt(mean(tf.square(images - mean(images))))


def ends(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lowest and highest intensity, (batch, 1, 1, 1) each, of `images` (batch, x, y, z)."""
    axes = [1, 2, 3]
    return tf.reduce_min(images, axis=axes, keepdims=True), tf.reduce_max(images, axis=axes, keepdims=True)
