import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfmri.augment.philox import fold_in, normal, philox2x32, uniform


def seeds(count, start=0):
    return tf.constant([[i, 7 * i - 3] for i in range(start, start + count)], tf.int32)


@pytest.mark.parametrize(
    ("counter", "key", "answer"),  # the file kat_vectors of the authors' Random123 1.14, lines "philox2x32 10"
    [
        ((0x00000000, 0x00000000), 0x00000000, (0xFF1DAE59, 0x6CD10DF2)),
        ((0xFFFFFFFF, 0xFFFFFFFF), 0xFFFFFFFF, (0x2C3F628B, 0xAB4FD7AD)),
        ((0x243F6A88, 0x85A308D3), 0x13198A2E, (0xDD7CE038, 0xF62A4C12)),
    ],
)
def test_it_gives_the_published_known_answers(counter, key, answer):
    words = philox2x32(*(tf.constant(word, tf.uint32) for word in (*counter, key)))
    assert tuple(int(word) for word in words) == answer


def test_compiled_and_not_it_gives_the_same_bits():
    compiled = tf.function(lambda s: uniform(s, (5, 7)), jit_compile=True)
    np.testing.assert_array_equal(compiled(seeds(3)), uniform(seeds(3), (5, 7)))


def test_a_row_depends_on_its_own_seed_only():
    np.testing.assert_array_equal(uniform(seeds(5), (4, 3))[2:3], uniform(seeds(1, start=2), (4, 3)))


def test_uniform_numbers_are_uniform_and_never_reach_0_or_1():
    values = uniform(seeds(4), (100_001,)).numpy()
    assert values.shape == (4, 100_001) and values.min() > 0 and values.max() < 1
    assert stats.kstest(values.ravel(), "uniform").pvalue > 1e-3


def test_normal_numbers_are_normal():
    values = normal(seeds(4), (100_000,)).numpy()
    assert stats.kstest(values.ravel(), "norm").pvalue > 1e-3


def test_samples_and_streams_are_uncorrelated():
    streams = tf.reshape(fold_in(seeds(6), ["affine", "noise", "noise/fields"]), [-1, 2])
    correlation = np.corrcoef(uniform(streams, (20_000,)))
    assert np.abs(correlation - np.eye(18)).max() < 5 / np.sqrt(20_000)
