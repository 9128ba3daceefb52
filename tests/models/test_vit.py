"""The vision transformer: its size by hand and against the planar one, patches, attention, gradients, precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfmri.errors import InputError
from tfmri.models import vit
from tfmri.models.registry import check_model

NARROW = {"patch": 4, "width": 8, "depth": 2, "heads": 2}
VIT_B_16 = 86_567_656  # torchvision's documentation, 224² pixels and 1000 classes


def count(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def parameters_of_vit(patches, values, width, depth, outputs):
    """Counted by hand.

    Args:
        patches: number of them.
        values: of each: voxels times channels.
        width, depth, outputs: as those of the model.
    """
    normalisation, attention = 2 * width, 4 * (width * width + width)
    linear = 4 * width * width + 4 * width + 4 * width * width + width
    block = 2 * normalisation + attention + linear
    return values * width + patches * width + depth * block + normalisation + width * outputs + outputs


def test_the_number_of_parameters_is_that_of_the_planar_one_but_for_class_token_and_a_bias():
    token_and_bias = 768 + 768  # the token has a place of its own as well
    assert parameters_of_vit(14 * 14 + 1, 16 * 16 * 3, 768, 12, 1000) + token_and_bias == VIT_B_16
    model = vit.build((12, 8, 4, 2), 3, **NARROW)
    assert count(model.trainable_variables) == parameters_of_vit(3 * 2 * 1, 4**3 * 2, 8, 2, 3)
    default = check_model("vit", {})
    assert (default["patch"], default["width"], default["depth"], default["heads"]) == (16, 384, 12, 6)
    assert parameters_of_vit(6**3, 16**3, 384, 12, 2) == 22_950_914


def test_a_patch_becomes_its_voxels_times_the_kernel_and_the_vector_of_its_place():
    random = np.random.default_rng(0)
    images = random.normal(size=(2, 8, 12, 4, 2)).astype(np.float32)
    model = vit.build(images.shape[1:], 1, **NARROW)
    embedding = model.get_layer("embedding")
    tokens = keras.Model(model.inputs, model.get_layer("tokens").output)([images]).numpy()
    kernel, places = embedding.kernel.numpy().reshape(-1, 8), embedding.bias.numpy()
    assert tokens.shape == (2, 2 * 3 * 1, 8) and places.shape == (2, 3, 1, 8)
    for i, j in np.ndindex(2, 3):
        patch = images[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4, 0:4].reshape(2, -1)
        np.testing.assert_allclose(tokens[:, 3 * i + j], patch @ kernel + places[i, j, 0], atol=1e-5)


def test_attention_is_that_of_the_paper():
    random = np.random.default_rng(0)
    model = vit.build((8, 8, 4, 1), 1, **NARROW)
    layer = model.get_layer("block1_attention")
    weights = {w.path.split("/")[-2] + "/" + w.name: random.normal(size=w.shape) for w in layer.trainable_variables}
    for variable in layer.trainable_variables:
        variable.assign(weights[variable.path.split("/")[-2] + "/" + variable.name])
    x = random.normal(size=(4, 8)).astype(np.float32)
    query, key, value = (
        np.einsum("td,dhk->htk", x, weights[f"{part}/kernel"]) + weights[f"{part}/bias"][:, None]
        for part in ("query", "key", "value")
    )
    likeness = np.exp(query @ key.transpose(0, 2, 1) / np.sqrt(4))
    heads = likeness / likeness.sum(-1, keepdims=True) @ value
    output = weights["attention_output/kernel"], weights["attention_output/bias"]
    expected = np.einsum("htk,hkd->td", heads, output[0]) + output[1]
    np.testing.assert_allclose(layer(x[None], x[None])[0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 12, 4, 1), (8, 8, 8, 2)])
def test_gradients_reach_every_trainable_variable(shape):
    keras.utils.set_random_seed(1)
    model = vit.build(shape, 3, **NARROW)
    images = tf.random.stateless_normal((4, *shape), (1, 2))
    with tf.GradientTape() as tape:
        output = model(images, training=True)
        loss = tf.reduce_sum(tf.square(output - tf.random.stateless_normal((4, 3), (3, 4))))
    assert output.shape == (4, 3) and output.dtype == tf.float32
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        if variable.path.endswith("key/bias"):  # adds the same to all that softmax compares
            np.testing.assert_allclose(gradient, 0, atol=1e-5)
        else:
            assert np.abs(gradient).max() > 1e-6, variable.path


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_the_output_is_float32_and_finite_under_mixed_precision(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = vit.build((8, 8, 8, 1), 2, **NARROW)
    finally:
        keras.config.set_dtype_policy(before)
    low = policy.removeprefix("mixed_")
    assert {model.get_layer("block1_attention").compute_dtype, model.get_layer("mean").input.dtype} == {low}
    output = model(np.random.default_rng(0).normal(size=(2, 8, 8, 8, 1)).astype(np.float32), training=True)
    assert output.dtype == tf.float32 and np.isfinite(output).all()


def test_a_shape_that_is_not_of_whole_patches_is_refused_with_the_nearest_that_is():
    with pytest.raises(InputError, match=r"\[91, 109, 91\] is not whole patches of 16 voxels.*Take \[96, 112, 96\]"):
        vit.build((91, 109, 91, 1), 2)
    with pytest.raises(InputError, match=r"\[96, 15, 96\] is too small.*at least \[16, 16, 16\]"):
        vit.build((96, 15, 96, 1), 2)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(InputError, match=r"model\.heads: 3, and model\.width is 8; expected a divisor of the width"):
        vit.build((8, 8, 8, 1), 2, **NARROW | {"heads": 3})


def test_a_saved_model_predicts_the_same(tmp_path):
    model = vit.build((8, 12, 4, 1), 2, initial_bias=[1.0, -1.0], **NARROW)
    images = np.random.default_rng(0).normal(size=(3, 8, 12, 4, 1)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(images), model(images), atol=1e-6)
