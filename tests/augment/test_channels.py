import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment.apply import apply_parameters, make_augment
from tfmri.augment.recipe import Affine, BiasField, Elastic, Flip, Gamma, Noise
from tfmri.augment.sampling import sample_parameters

SHAPE, SPACING = (10, 12, 8), (9.0, 9.0, 10.0)
RNG = np.random.default_rng(5)
IMAGES = RNG.normal(size=(3, *SHAPE, 2)).astype("float16")
SEEDS = np.array([[1, 2], [1, 3], [-5, 7]], "int32")
BACKGROUND = np.array([[-3, 1], [-1, 0], [0, -2]], "float32")
SPATIAL = (Flip(probability=1), Affine(probability=1), Elastic(probability=1, displacement=4))


@pytest.mark.parametrize("recipe", [SPATIAL, (Gamma(probability=1), BiasField(probability=1))], ids=["moved", "shaded"])
def test_every_channel_is_changed_as_it_would_be_alone(recipe):
    parameters = sample_parameters(recipe, tf.constant(SEEDS))
    apply = tf.function(apply_parameters, jit_compile=True)
    together = apply(tf.constant(IMAGES), parameters, tf.constant(BACKGROUND), SPACING).numpy()
    assert together.shape == IMAGES.shape and together.dtype == np.float32
    for channel in range(2):
        part = slice(channel, channel + 1)
        alone = apply(tf.constant(IMAGES[..., part]), parameters, tf.constant(BACKGROUND[:, channel]), SPACING)
        np.testing.assert_allclose(together[..., part], alone, atol=1e-5)
        assert np.abs(together[..., part] - IMAGES[..., part]).mean() > 0.05


def test_the_same_anatomy_in_two_channels_stays_together():
    twice = np.repeat(IMAGES[..., :1], 2, axis=-1)
    result = make_augment(SPATIAL, SHAPE, SPACING)(twice, SEEDS, np.repeat(BACKGROUND[:, :1], 2, axis=1)).numpy()
    np.testing.assert_array_equal(result[..., 0], result[..., 1])


def test_noise_is_each_channels_own():
    twice = np.repeat(IMAGES[..., :1], 2, axis=-1)
    noisy = make_augment((Noise(probability=1, sd=0.2),), SHAPE, SPACING)
    result = noisy(twice, SEEDS, np.repeat(BACKGROUND[:, :1], 2, axis=1)).numpy() - twice
    alone = noisy(twice[..., :1], SEEDS, BACKGROUND[:, 0]).numpy() - twice[..., :1]
    np.testing.assert_allclose(result[..., :1], alone, atol=1e-5)
    for one, other in zip(result[..., 0], result[..., 1], strict=True):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1
        assert one.std() == pytest.approx(other.std(), rel=0.1)
