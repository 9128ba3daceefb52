"""Gamma, bias field and noise, in this order: contrast of the tissue, sensitivity of the coil, noise of the receiver.

Intensities are those of prepared scans, in whatever units the normalisation has left; they may be negative. What the
transforms need to know of a scan is its range and its background, the intensity of air, with which padding pads.
The background stays what it is wherever it is the scan's minimum, as after most normalisations; where it is not, gamma
moves it as it moves every other intensity. The bias field never changes it. Noise lies over everything.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfmri.augment.control_grid import spline_weights, upsample
from tfmri.augment.philox import normal


def intensity_range(images: tf.Tensor, background: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Lowest and highest intensity, (batch,) float32 each, of images (batch, x, y, z) with backgrounds (batch,)."""
    low = tf.cast(tf.reduce_min(images, axis=[1, 2, 3]), tf.float32)
    high = tf.cast(tf.reduce_max(images, axis=[1, 2, 3]), tf.float32)
    return tf.minimum(low, background), tf.maximum(high, background)


def gamma(values: tf.Tensor, exponent: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """``low + (high - low) ((values - low) / (high - low)) ** exponent``; an exponent of 1 gives `values` exactly.

    Args:
        values: any shape; intensities from `low` to `high`.
        exponent, low, high: that broadcast against `values`.

    Source: nnU-Net's and MONAI's gamma, which map each image by its own range too (Isensee et al. 2021, Nature
    Methods 18, supplement).
    """
    share = tf.maximum(tf.math.divide_no_nan(values - low, high - low), 0.0)  # interpolation may round below `low`
    # not tf.pow, which XLA does not vectorise on a CPU: log(0) is -inf and exp(-inf) is 0, as it should be
    return tf.where(exponent == 1.0, values, low + (high - low) * tf.exp(exponent * tf.math.log(share)))


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


def bias_field(images: tf.Tensor, strength: tf.Tensor, control: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
    """``background + (images - background) exp(strength · log_gain(control))``: air stays air.

    Args:
        images: (batch, x, y, z) float32.
        strength: (batch,) standard deviation of the field's logarithm; 0 gives `images` exactly.
        control: (batch, i, j, k) standard normal.
        background: (batch,) float32.
    """
    field = strength[:, None, None, None] * log_gain(control, images.shape[1:])
    return images + (images - background[:, None, None, None]) * tf.math.expm1(field)


def noise(images: tf.Tensor, sd: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """`images` (batch, x, y, z) with white Gaussian noise of `sd` (batch,), drawn from `seeds` (batch, 2) int32."""
    return images + sd[:, None, None, None] * normal(seeds, images.shape[1:])
