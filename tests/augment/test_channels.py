import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment.apply import apply_parameters
from tfmri.augment.sampling import sample_parameters
from tfmri.augment.transforms.intensity import BiasField, Blur, Gamma, Noise
from tfmri.augment.transforms.spatial import Affine, Elastic, Flip

SHAPE, SPACING = (10, 12, 8), (9.0, 9.0, 10.0)
RNG = np.random.default_rng(5)
IMAGES = RNG.normal(size=(3, *SHAPE, 2)).astype("float16")
SEEDS = np.array([[1, 2], [1, 3], [-5, 7]], "int32")
BACKGROUND = np.array([[-3, 1], [-1, 0], [0, -2]], "float32")
SPATIAL = (Flip(probability=1), Affine(probability=1), Elastic(probability=1, displacement=(4.0, 4.0)))
SHADED = (Gamma(probability=1), BiasField(probability=1), Blur(probability=1, sigma=(4.0, 8.0)))


def changed(recipe, images, background):
    parameters = sample_parameters(recipe, tf.constant(SEEDS))
    bare = tuple(each.without_numbers(SPACING) for each in recipe)
    channels = tf.unstack(tf.constant(images), axis=-1)
    return np.stack(apply_parameters(bare, channels, parameters, tf.constant(background), SPACING), axis=-1)


@pytest.mark.parametrize("recipe", [SPATIAL, SHADED], ids=["moved", "shaded"])
def test_every_channel_is_changed_as_it_would_be_alone(recipe):
    together = changed(recipe, IMAGES, BACKGROUND)
    assert together.shape == IMAGES.shape and together.dtype == np.float32
    for channel in range(2):
        part = slice(channel, channel + 1)
        alone = changed(recipe, IMAGES[..., part], BACKGROUND[:, channel])
        np.testing.assert_allclose(together[..., part], alone, atol=1e-5)
        assert np.abs(together[..., part] - IMAGES[..., part]).mean() > 0.05


def test_the_same_anatomy_in_two_channels_stays_together():
    twice = np.repeat(IMAGES[..., :1], 2, axis=-1)
    result = changed(SPATIAL + SHADED, twice, np.repeat(BACKGROUND[:, :1], 2, axis=1))
    np.testing.assert_array_equal(result[..., 0], result[..., 1])


def test_noise_is_each_channels_own():
    twice = np.repeat(IMAGES[..., :1], 2, axis=-1)
    noisy = (Noise(probability=1, sd=(0.2, 0.2)),)
    result = changed(noisy, twice, np.repeat(BACKGROUND[:, :1], 2, axis=1)) - twice
    alone = changed(noisy, twice[..., :1], BACKGROUND[:, 0]) - twice[..., :1]
    np.testing.assert_allclose(result[..., :1], alone, atol=1e-5)
    for one, other in zip(result[..., 0], result[..., 1], strict=True):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.15  # five errors of 960 voxels
        assert one.std() == pytest.approx(other.std(), rel=0.1)
