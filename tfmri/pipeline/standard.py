"""Histogram standardisation inside the graph: the twin of `images.histogram.map_to_standard`, tested to be equal.

Float16 has but 65,536 values: each of them is mapped once for a scan, and its voxels look theirs up.
"""

import numpy as np
import tensorflow as tf

VALUES = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)  # by their bits; infinite and NaN among


def map_to_standard(values: tf.Tensor, own: tf.Tensor, standard: tf.Tensor) -> tf.Tensor:
    """Intensities with their landmarks `own` moved onto `standard`, linear between them and beyond.

    Args:
        values: (..., channel) float16 of one scan.
        own: (channel, k) float32, ascending.
        standard: (channel, k) float32, ascending.

    Returns:
        float16 of the same shape.
    """
    channels = standard.shape[0]
    source, target = tf.cast(own, tf.float64), tf.cast(standard, tf.float64)
    slopes = tf.cast((target[:, 1:] - target[:, :-1]) / (source[:, 1:] - source[:, :-1]), tf.float32)
    every = tf.tile(tf.constant(VALUES)[None], [channels, 1])
    piece = tf.searchsorted(own[:, 1:-1], every, side="right")
    start, slope, goal = (tf.gather(each, piece, batch_dims=1) for each in (own, slopes, standard))
    table = tf.reshape(tf.cast(goal + (every - start) * slope, tf.float16), [-1])
    bits = tf.cast(tf.bitcast(values, tf.uint16), tf.int32)
    return tf.gather(table, bits + len(VALUES) * tf.range(channels))
