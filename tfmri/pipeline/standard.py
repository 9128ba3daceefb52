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
    segment = tf.clip_by_value(tf.searchsorted(own, by_channel, side="right") - 1, 0, own.shape[1] - 2)
    slope = (standard[:, 1:] - standard[:, :-1]) / (own[:, 1:] - own[:, :-1])
    start, scale, end = (tf.gather(each, segment, batch_dims=1) for each in (own, slope, standard))
    moved = end + scale * (by_channel - start)
    return tf.cast(tf.reshape(tf.transpose(moved), tf.shape(values)), values.dtype)
