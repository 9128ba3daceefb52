"""Random numbers for many samples at once: Philox2x32-10, counter-based, so that value i of a seed is always the same.

Why not `tf.random.stateless_*` with ``alg="philox"``: those take one seed per call, so that a batch of seeds becomes
a loop, XLA and plain graphs draw different values from the same seed, and under XLA on a CPU normal numbers take five
times as long. Here the seeds are a batch dimension, and every way of running gives the same bits.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", SC11. The tests hold the published
known answers.
"""

import math
import zlib
from collections.abc import Sequence

import tensorflow as tf

_ROUNDS = 10
_MULTIPLIER = 0xD256D193
_KEY_STEP = 0x9E3779B9


def philox2x32(low: tf.Tensor, high: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Two random words for each counter (`low`, `high`) under `key`; all uint32, shapes broadcast."""
    for _ in range(_ROUNDS):
        product = tf.cast(low, tf.uint64) * tf.constant(_MULTIPLIER, tf.uint64)
        carried = tf.cast(tf.bitwise.right_shift(product, tf.constant(32, tf.uint64)), tf.uint32)
        low, high = tf.bitwise.bitwise_xor(tf.bitwise.bitwise_xor(carried, key), high), tf.cast(product, tf.uint32)
        key = key + tf.constant(_KEY_STEP, tf.uint32)
    return low, high


def fold_in(seeds: tf.Tensor, names: Sequence[str]) -> tf.Tensor:
    """Seeds (batch, names, 2) int32 for a stream of each name, of each of `seeds` (batch, 2) int32."""
    words = tf.bitcast(seeds, tf.uint32)[:, None, :]
    streams = tf.constant([zlib.crc32(name.encode()) for name in names], tf.uint32)
    return tf.bitcast(tf.stack(philox2x32(streams, words[..., 1], words[..., 0]), axis=-1), tf.int32)


def uniform(seeds: tf.Tensor, shape: Sequence[int] = ()) -> tf.Tensor:
    """Uniform numbers strictly between 0 and 1.

    Args:
        seeds: (batch, 2) int32.
        shape: of what one seed gives.

    Returns:
        (batch, *shape) float32; a row is a function of its seed and `shape` alone.
    """
    count = math.prod(shape)
    words = tf.bitcast(seeds, tf.uint32)
    counters = tf.bitcast(tf.range((count + 1) // 2), tf.uint32)
    pair = philox2x32(counters[None], words[:, 1:], words[:, :1])
    bits = tf.bitcast(tf.bitwise.right_shift(tf.concat(pair, axis=1)[:, :count], tf.constant(9, tf.uint32)), tf.int32)
    # 23 bits and a half: the sum is exact in float32, so that neither 0 nor 1 can come out
    return tf.reshape((tf.cast(bits, tf.float32) + 0.5) * 2.0**-23, [-1, *shape])


def normal(seeds: tf.Tensor, shape: Sequence[int] = ()) -> tf.Tensor:
    """Standard normal numbers, by inversion of `uniform`; arguments and result as there. None is beyond ±5.3."""
    return math.sqrt(2) * tf.math.erfinv(2 * uniform(seeds, shape) - 1)
