"""Histogram standardisation inside the graph: the twin of `images.histogram.map_to_standard`, tested to be equal."""

import tensorflow as tf


def map_to_standard(values: tf.Tensor, own: tf.Tensor, standard: tf.Tensor) -> tf.Tensor:
    """Intensities with their landmarks `own` moved onto `standard`, linear between them and beyond, as `values` typed.

    Args:
        values: (..., channel) of one scan.
        own: (channel, k) float32, ascending.
        standard: (channel, k) float32, ascending.
    """
    channels = standard.shape[0]
    by_channel = tf.transpose(tf.reshape(tf.cast(values, tf.float32), [-1, channels]))
    source, target = tf.cast(own, tf.float64), tf.cast(standard, tf.float64)
    slopes = tf.cast((target[:, 1:] - target[:, :-1]) / (source[:, 1:] - source[:, :-1]), tf.float32)
    piece = tf.searchsorted(own[:, 1:-1], by_channel, side="right")
    start, slope, goal = (tf.gather(each, piece, batch_dims=1) for each in (own, slopes, standard))
    moved = goal + (by_channel - start) * slope
    return tf.cast(tf.reshape(tf.transpose(moved), tf.shape(values)), values.dtype)
