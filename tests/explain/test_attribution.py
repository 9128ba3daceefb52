import keras
import numpy as np
import pytest

from tfmri.explain.attribution import (
    gradcam,
    gradient,
    integrated_gradients,
    last_layer_in_space,
    layers_in_space,
    occlusion,
    smoothgrad,
    upsampled,
)
from tfmri.models.registry import build_model

SHAPE = (12, 8, 10, 2)  # anisotropic: axes that are mixed up show


def second(outputs):
    return outputs[:, 1]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    built = build_model("small_cnn", SHAPE, 3, filters=[4, 6])
    for variable in built.non_trainable_variables:
        if "moving" in variable.path:
            variable.assign(np.random.default_rng(1).uniform(0.5, 1.5, variable.shape))
    return built


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)


def linear():
    """The sum of the voxels of the first channel, times 1 to 12 along x, as one of two outputs."""
    weights = np.zeros((*SHAPE, 2), np.float32)
    weights[..., 0, 1] = np.arange(1, 13)[:, None, None]
    source = keras.Input(SHAPE)
    dense = keras.layers.Dense(2, use_bias=False)
    built = keras.Model(source, dense(keras.layers.Flatten()(source)))
    dense.set_weights([weights.reshape(-1, 2)])
    return built


def test_a_linear_model_is_explained_by_its_weights(images):
    along_x = np.broadcast_to(np.arange(1.0, 13)[:, None, None], SHAPE[:3])
    for found in (gradient(linear(), images, second), smoothgrad(linear(), images, second)):
        np.testing.assert_allclose(found, np.broadcast_to(along_x, found.shape), rtol=1e-4)
    found, _ = integrated_gradients(linear(), images, second, np.float32(0))
    np.testing.assert_allclose(found, along_x * images[..., 0], rtol=1e-4, atol=1e-5)


def test_the_gradient_is_that_of_differences(model, images):
    found, step = gradient(model, images, second), 1e-2
    for place in [(3, 4, 5), (11, 0, 9)]:
        moved = [images.copy(), images.copy()]
        moved[0][(0, *place)] += step
        moved[1][(0, *place)] -= step
        numbers = [float(model(each, training=False)[0, 1]) for each in moved]
        assert found[(0, *place)] == pytest.approx((numbers[0] - numbers[1]) / (2 * step), abs=2e-3)


def test_integrated_gradients_sum_to_the_difference_of_the_scores_and_tell_what_is_missing(model, images):
    baseline = np.array([-0.5, 0.3], np.float32)
    scores = second(model(images, training=False)) - second(model(np.zeros_like(images) + baseline, training=False))
    errors = []
    for points in ((2,), (32, 128)):
        found, missing = integrated_gradients(model, images, second, baseline, points)
        expected = np.abs(found.sum(axis=(1, 2, 3)) - scores) / np.abs(scores)
        np.testing.assert_allclose(missing, expected, atol=1e-3)
        errors.append(missing)
    assert errors[1].max() < 0.1 * errors[0].max()


def test_where_a_score_is_that_of_the_background_nothing_can_be_missing(model, images):
    found, missing = integrated_gradients(model, images[:1], second, images[0])
    assert not found.any() and np.isnan(missing).all()


def test_class_activation_maps_by_hand_pooled_over_all_three_axes_and_rectified():
    """Features are the image itself and its negative; the head weighs their means by 2 and 3."""
    source = keras.Input((4, 6, 2, 1))
    both = keras.layers.Conv3D(2, 1, use_bias=False, name="features")
    pooled = keras.layers.GlobalAveragePooling3D()(both(source))
    dense = keras.layers.Dense(2, use_bias=False)
    built = keras.Model(source, dense(pooled))
    both.set_weights([np.array([1.0, -1.0]).reshape(1, 1, 1, 1, 2)])
    dense.set_weights([np.array([[0.0, 2.0], [0.0, 3.0]])])
    images = np.random.default_rng(0).normal(size=(1, 4, 6, 2, 1)).astype(np.float32)
    found = gradcam(built, images, second, "features")
    np.testing.assert_allclose(found[0], np.maximum((2 - 3) / 48 * images[0, ..., 0], 0), rtol=1e-4, atol=1e-7)
    slopes = np.broadcast_to(np.array([2.0, 3.0]) / 48, (4, 6, 2, 2))
    features = np.concatenate([images[0], -images[0]], axis=-1)
    alpha = slopes**2 / (2 * slopes**2 + features.sum(axis=(0, 1, 2)) * slopes**3)
    weights = (alpha * slopes).sum(axis=(0, 1, 2))
    expected = np.maximum((weights * features).sum(axis=-1), 0)
    np.testing.assert_allclose(gradcam(built, images, second, "features", plus=True)[0], expected, rtol=1e-3, atol=1e-6)


def test_the_last_layer_in_space_is_found_and_its_map_is_brought_to_the_grid(model, images):
    sizes = layers_in_space(model)
    assert min(sizes[last_layer_in_space(model)]) > 1 and max(sizes.values()) == (6, 4, 5)
    found = gradcam(model, images, second)
    assert found.shape == (2, *SHAPE[:3]) and (found >= 0).all()
    ramp = np.arange(4.0)[None, :, None, None] * np.ones((1, 4, 2, 3))
    grown = upsampled(ramp, (8, 2, 3))
    np.testing.assert_allclose(grown[0, :, 0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])


def test_occlusion_finds_the_only_voxels_that_count_and_by_how_much():
    weights = np.zeros((*SHAPE, 2), np.float32)
    weights[8:10, 2:4, 4:6, 0, 1] = 1  # whole in each window that touches it
    source = keras.Input(SHAPE)
    dense = keras.layers.Dense(2, use_bias=False)
    built = keras.Model(source, dense(keras.layers.Flatten()(source)))
    dense.set_weights([weights.reshape(-1, 2)])
    images = np.full((1, *SHAPE), 3.0, np.float32)
    found = occlusion(built, images, second, np.array([[1.0, 1.0]]), (4, 4, 4))
    assert found[0, :6].max() == 0 and found[0].max() == pytest.approx(8 * (3 - 1))
    np.testing.assert_allclose(found[0, 8:10, 2:4, 4:6], 16)
