import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfmri.augment.intensity import bias_field, gamma, intensity_range, log_gain, noise
from tfmri.augment.philox import normal

SHAPE = (14, 17, 12)
RNG = np.random.default_rng(5)
SEEDS = tf.constant([[i, -i] for i in range(40)], tf.int32)


def test_the_range_covers_image_and_background():
    images = tf.constant(RNG.normal(size=(2, *SHAPE)), tf.float16)
    low, high = intensity_range(images, tf.constant([-9.0, 0.0]))
    np.testing.assert_allclose(low, [-9, images[1].numpy().min()])
    np.testing.assert_allclose(high, images.numpy().max(axis=(1, 2, 3)))


@pytest.mark.parametrize("exponent", [0.5, 0.8, 2.0])
def test_gamma_bends_negative_intensities_within_the_scans_own_range(exponent):
    values = RNG.uniform(-2, 5, size=500).astype("float32")
    values[:2] = -2, 5
    bent = gamma(tf.constant(values), exponent, -2.0, 5.0).numpy()
    np.testing.assert_allclose(bent, ((values.astype(float) + 2) / 7) ** exponent * 7 - 2, atol=1e-5)
    assert (np.argsort(bent) == np.argsort(values)).all()
    np.testing.assert_allclose(bent[:2], [-2, 5], atol=1e-6)


def test_gamma_of_1_and_of_an_image_without_contrast_change_nothing():
    values = tf.constant(RNG.normal(size=50), tf.float32)
    np.testing.assert_array_equal(gamma(values, 1.0, -3.0, 3.0), values)
    np.testing.assert_array_equal(gamma(tf.fill([5], 2.5), 0.7, 2.5, 2.5), np.full(5, 2.5))


def test_the_logarithm_of_the_bias_field_has_mean_0_and_the_expected_spread():
    field = log_gain(normal(SEEDS, (5, 5, 5)), SHAPE).numpy()
    np.testing.assert_allclose(field.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    assert np.sqrt((field**2).mean()) == pytest.approx(1, rel=0.15)


def test_the_bias_field_is_smooth():
    """The step between voxels shrinks with their distance, as it does for a field that can be differentiated."""
    control = normal(SEEDS[:4], (4, 4, 4))
    steps = [np.abs(np.diff(log_gain(control, (n, 5, 5)).numpy(), axis=1)).max() for n in (17, 33, 65)]
    assert steps[0] / steps[1] == pytest.approx(2, rel=0.15) and steps[1] / steps[2] == pytest.approx(2, rel=0.1)


def test_the_bias_field_multiplies_what_is_above_the_background():
    images = RNG.uniform(1, 3, size=(2, *SHAPE)).astype("float32")
    images[:, :3] = background = -1.5
    control = normal(SEEDS[:2], (4, 4, 4))
    strength = tf.constant([0.3, 0.0])
    result = bias_field(tf.constant(images), strength, control, tf.constant([background] * 2)).numpy()
    assert (result[:, :3] == background).all()
    gain = (result[0, 3:] - background) / (images[0, 3:] - background)
    np.testing.assert_allclose(gain, np.exp(0.3 * log_gain(control, SHAPE)[0, 3:]), rtol=1e-4)
    np.testing.assert_array_equal(result[1], images[1])


def test_noise_is_white_gaussian_of_the_given_spread():
    images = tf.fill([3, 40, 40, 40], 2.0)
    result = noise(images, tf.constant([0.5, 0.1, 0.0]), SEEDS[:3]).numpy() - 2
    assert (result[2] == 0).all()
    for sample, sd in ((result[0], 0.5), (result[1], 0.1)):
        assert stats.kstest(sample.ravel() / sd, "norm").pvalue > 1e-3
        for axis in range(3):
            neighbours = np.corrcoef(sample.ravel(), np.roll(sample, 1, axis).ravel())[0, 1]
            assert abs(neighbours) < 5 / np.sqrt(sample.size)
    assert abs(np.corrcoef(result[0].ravel(), result[1].ravel())[0, 1]) < 5 / np.sqrt(result[0].size)
