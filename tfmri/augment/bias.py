"""Smooth brightness, as a receive coil makes it: fields that multiply what lies above the background."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmri.augment.control_grid import spline_weights, upsample


def bias_field(images: tf.Tensor, strength: tf.Tensor, control: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
    """``background + (images - background) exp(strength · log_gain(control))``: air stays air.

    Args:
        images: (batch, x, y, z) float32.
        strength: (batch, 1, 1, 1) standard deviation of the field's logarithm; 0 gives `images` exactly.
        control: (batch, i, j, k) standard normal.
        background: (batch, 1, 1, 1) float32.
    """
    return images + (images - background) * tf.math.expm1(strength * log_gain(control, images.shape[1:]))


def log_gain(control: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """A smooth field (batch, x, y, z) with mean 0 and, expected, variance 1 over the voxels of each image.

    Args:
        control: (batch, i, j, k), standard normal.
        shape: of the images, in voxels.
    """
    weights = [spline_weights(n, k) for n, k in zip(shape, control.shape[1:], strict=True)]
    means = [w.mean(axis=0) for w in weights]
    power = np.prod([(w**2).sum(axis=1).mean() for w in weights])  # expected mean square of the field
    sd = np.sqrt(power - np.prod([(mean**2).sum() for mean in means]))  # less that of its mean
    mean = tf.einsum("bijk,i,j,k->b", control, *(tf.constant(mean, tf.float32) for mean in means))
    return upsample((control - mean[:, None, None, None])[:, None] / sd, shape)[:, 0]
