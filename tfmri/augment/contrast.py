"""New intensities for old ones, the same wherever they stand: pointwise, rising functions of an intensity.

Intensities are those of prepared scans, in whatever units the normalisation has left; they may be negative. What the
functions need to know of a scan is its range. Numbers are (batch, 1, 1, 1) and broadcast against the voxels.
"""

import tensorflow as tf


def gamma(values: tf.Tensor, exponent: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """``low + (high - low) ((values - low) / (high - low)) ** exponent``; an exponent of 1 gives `values` exactly.

    Args:
        values: (batch, ...) intensities from `low` to `high`.
        exponent, low, high: that broadcast against `values`.

    Source: nnU-Net's and MONAI's gamma, which map each image by its own range too (Isensee et al. 2021, Nature
    Methods 18, supplement).
    """
    share = tf.maximum(tf.math.divide_no_nan(values - low, high - low), 0.0)  # interpolation may round below `low`
    # not tf.pow, which XLA does not vectorise on a CPU: log(0) is -inf and exp(-inf) is 0, as it should be
    return tf.where(exponent == 1.0, values, low + (high - low) * tf.exp(exponent * tf.math.log(share)))
