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


def polynomial_bias(
    images: tf.Tensor, strength: tf.Tensor, coefficients: tf.Tensor, background: tf.Tensor
) -> tf.Tensor:
    """``background + (images - background) exp(strength · polynomial(coefficients))``: air stays air.

    Args:
        images: (batch, x, y, z) float32.
        strength: (batch, 1, 1, 1); 0 gives `images` exactly.
        coefficients: (batch, order + 1, order + 1, order + 1).
        background: (batch, 1, 1, 1) float32.
    """
    return images + (images - background) * tf.math.expm1(strength * polynomial(coefficients, images.shape[1:]))


def polynomial(coefficients: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """``Σ coefficients[i, j, k] x^i y^j z^k`` of all i + j + k ≤ order, (batch, x, y, z) float32.

    Args:
        coefficients: (batch, order + 1, order + 1, order + 1); those of higher terms do not count.
        shape: of the images, in voxels; along each axis the outermost lie at -1 and 1.
    """
    terms = coefficients.shape[1]
    powers = [tf.constant(np.linspace(-1, 1, n)[:, None] ** np.arange(terms), tf.float32) for n in shape]
    counts = np.indices((terms,) * 3).sum(axis=0) < terms
    return tf.einsum("bijk,xi,yj,zk->bxyz", tf.where(counts, coefficients, 0.0), *powers)


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
