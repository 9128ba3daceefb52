"""SFCN and the small CNN: sizes against the paper and by hand, shapes, gradients, precision."""

from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmri.errors import InputError
from tfmri.models import sfcn, small_cnn

NARROW = {"sfcn": {"filters": (4, 6, 8, 4)}, "small_cnn": {"filters": (4, 6, 8)}}
BUILDERS = {"sfcn": sfcn.build, "small_cnn": small_cnn.build}
SMALLEST = {"sfcn": 8, "small_cnn": 7}


def count(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def test_sfcn_has_the_published_number_of_parameters():
    model = sfcn.build((160, 192, 160, 1), 40)
    assert count(model.trainable_variables) == 2_952_936
    assert model.count_params() == 2_954_536


def test_sfcn_for_sex_has_the_published_widths():
    model = sfcn.build((160, 192, 160, 1), 2, filters=(28, 58, 128, 256, 256, 64))
    widths = [1, 28, 58, 128, 256, 256]
    cubes = sum(27 * before * after + 3 * after for before, after in pairwise(widths))
    assert count(model.trainable_variables) == cubes + (256 * 64 + 3 * 64) + (64 * 2 + 2)


def test_sfcn_leaves_5_6_5_voxels_of_the_published_input_and_pools_before_relu():
    model = sfcn.build((160, 192, 160, 1), 40)
    assert tuple(model.get_layer("mean").input.shape) == (None, 5, 6, 5, 64)
    kinds = [type(layer).__name__ for layer in model.layers]
    block = ["Conv3D", "BatchNormalization", "MaxPooling3D", "ReLU"]
    last = ["Conv3D", "BatchNormalization", "ReLU", "GlobalAveragePooling3D", "Dropout", "Dense"]
    assert kinds == ["InputLayer", *block * 5, *last]


def test_the_small_cnn_has_as_many_parameters_as_one_counts_by_hand():
    convolutions = 125 * 1 * 24 + 27 * (24 * 48 + 48 * 96 + 96 * 96)
    normalisations = 2 * (24 + 48 + 96 + 96)
    assert count(small_cnn.build((56, 64, 56, 1), 2).trainable_variables) == convolutions + normalisations + 96 * 2 + 2


@pytest.mark.parametrize("shape", [(16, 24, 17, 1), (20, 16, 16, 2)])
@pytest.mark.parametrize("name", BUILDERS)
def test_gradients_reach_every_trainable_variable(name, shape):
    keras.utils.set_random_seed(1)
    model = BUILDERS[name](shape, 3, dropout=0.0, **NARROW[name])
    images = tf.random.stateless_normal((4, *shape), (1, 2))
    with tf.GradientTape() as tape:
        output = model(images, training=True)
        loss = tf.reduce_sum(tf.square(output - tf.random.stateless_normal((4, 3), (3, 4))))
    assert output.shape == (4, 3) and output.dtype == tf.float32
    for variable, gradient in zip(
        model.trainable_variables, tape.gradient(loss, model.trainable_variables), strict=True
    ):
        assert gradient is not None, variable.path
        if variable.path.endswith("_conv/bias"):  # normalisation takes away what a bias before it adds
            np.testing.assert_allclose(gradient, 0, atol=1e-3)
        else:
            assert np.abs(gradient).max() > 1e-6, variable.path


@pytest.mark.parametrize("name", BUILDERS)
def test_the_smallest_possible_shape_is_named(name):
    smallest = SMALLEST[name]
    model = BUILDERS[name]((smallest,) * 3 + (1,), 2, **NARROW[name])
    assert model(np.zeros((1, *(smallest,) * 3, 1), np.float32)).shape == (1, 2)
    with pytest.raises(InputError, match=rf"at least \[{smallest}, {smallest}, {smallest}\]"):
        BUILDERS[name]((32, smallest - 1, 32, 1), 2, **NARROW[name])


def test_the_default_sfcn_refuses_less_than_32_voxels():
    with pytest.raises(InputError, match=r"\[31, 64, 64\].*at least \[32, 32, 32\]"):
        sfcn.build((31, 64, 64, 1), 1)


@pytest.mark.parametrize("name", BUILDERS)
def test_an_image_of_nothing_gives_the_initial_bias(name):
    model = BUILDERS[name]((16, 16, 16, 1), 3, initial_bias=np.array([0.5, -1.0, 2.0]), **NARROW[name])
    output = model(np.zeros((2, 16, 16, 16, 1), np.float32))
    np.testing.assert_allclose(output, [[0.5, -1.0, 2.0]] * 2, atol=1e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_output_is_float32_under_mixed_precision(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = BUILDERS[name]((16, 16, 16, 1), 2, **NARROW[name])
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer(index=1).compute_dtype == "bfloat16"
    assert model(np.zeros((1, 16, 16, 16, 1), np.float32)).dtype == tf.float32


@pytest.mark.parametrize("name", BUILDERS)
def test_every_normalisation_follows_the_options(name):
    model = BUILDERS[name]((16, 16, 16, 1), 2, synchronized=True, momentum=0.8, epsilon=0.01, **NARROW[name])
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert [(layer.synchronized, layer.momentum, layer.epsilon) for layer in layers] == [(True, 0.8, 0.01)] * len(
        NARROW[name]["filters"]
    )


@pytest.mark.parametrize("name", BUILDERS)
def test_a_saved_model_predicts_the_same(name, tmp_path):
    model = BUILDERS[name]((16, 16, 16, 1), 2, initial_bias=[1.0, -1.0], **NARROW[name])
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 16, 1)).astype(np.float32)
    model(images, training=True)  # moves the running averages
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(images), model(images), atol=1e-6)
