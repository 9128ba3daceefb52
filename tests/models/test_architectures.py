"""The architectures: sizes against papers, peers and by hand, shapes, gradients, precision, the options they share."""

from functools import partial
from itertools import pairwise

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import correlate
from scipy.stats import norm as standard_normal

from tfmri.errors import InputError
from tfmri.models import cole, convnext, densenet, resnet, sfcn, small_cnn
from tfmri.models.blocks import Layers
from tfmri.models.registry import build_model, check_model
from tfmri.training.step import make_train_step

BUILDERS = {
    "sfcn": sfcn.build,
    "cole": cole.build,
    "small_cnn": small_cnn.build,
    "resnet10": resnet.resnet10,
    "preactivated": partial(resnet.resnet10, preactivation=True),
    "excited": partial(resnet.resnet10, se=2),
    "densenet121": densenet.build,
    "convnext": convnext.build,
}
NARROW = {
    "sfcn": {"filters": (4, 6, 8, 4)},
    "cole": {"filters": (4, 6, 8)},
    "small_cnn": {"filters": (4, 6, 8)},
    "resnet10": {"filters": (4, 6, 8, 8), "stem_stride": 1, "stem_pool": False},
    "preactivated": {"filters": (4, 4, 6, 8), "stem_pool": False, "stem_stride": 1},
    "excited": {"filters": (4, 6, 8, 8), "stem_stride": 1, "stem_pool": False},
    "densenet121": {"blocks": (1, 1, 1), "growth": 8, "bottleneck": 2, "stem_filters": 8, "stem_pool": False},
    "convnext": {"blocks": (1, 1), "filters": (4, 8), "kernel": 3, "layer_scale": 1.0},
}
SMALLEST = {"small_cnn": 7} | {name: 8 for name in BUILDERS if name != "small_cnn"}
# Trainable parameters of MONAI 1.6.1 (torch 2.13) with spatial_dims=3, one channel, two outputs: `nets.DenseNet121`,
# `nets.resnet10` and so on with bias_downsample=False. MONAI's default gives each of the projections before a
# normalisation a bias, of no effect: 896 more in ResNet-10, -18 and -34, 3840 more in ResNet-50.
MONAI = {
    "resnet10": 14_356_546,
    "resnet18": 33_161_026,
    "resnet34": 63_470_658,
    "resnet50": 46_159_170,
    "densenet121": 11_244_674,
}
# Parameters of the planar ones, of three channels and 1000 outputs: torchvision's documentation of `densenet121`,
# `densenet169`, `resnet50`, `convnext_tiny`, and timm's of `seresnet50`.
PLANAR = {
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    "resnet50": 25_557_032,
    "seresnet50": 28_088_024,
    "convnext_tiny": 28_589_128,
}
IMAGENET = {"axes": 2, "channels": 3, "outputs": 1000}


def count(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


def test_sfcn_has_the_published_number_of_parameters():
    model = sfcn.build((160, 192, 160, 1), 40)
    assert count(model.trainable_variables) == 2_952_936
    assert model.count_params() == 2_954_536


def test_sfcn_for_sex_has_the_published_widths():
    model = sfcn.sfcn_sex((160, 192, 160, 1), 2)
    widths = [1, 28, 58, 128, 256, 256]
    cubes = sum(27 * before * after + 3 * after for before, after in pairwise(widths))
    total = cubes + (256 * 64 + 3 * 64) + (64 * 2 + 2)
    assert count(model.trainable_variables) == total == 2_918_144


def test_cole_has_the_published_layers_and_as_many_parameters_as_one_counts_by_hand():
    model = cole.build((182, 218, 182, 1), 1)
    block = ["Conv3D", "ReLU", "Conv3D", "BatchNormalization", "ReLU", "MaxPooling3D"]
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", *block * 5, "Flatten", "Dropout", "Dense"]
    widths = [1, 8, 16, 32, 64, 128]
    blocks = sum(27 * (before + after) * after + 3 * after for before, after in pairwise(widths))
    assert count(model.trainable_variables) == blocks + 5 * 6 * 5 * 128 + 1 == 903_169


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


@pytest.fixture(scope="module")
def resnet18():
    with keras.StatelessScope(initialize_variables=False):  # shapes without numbers, which take seconds to draw
        return resnet.resnet18((64, 64, 64, 1), 2)


@pytest.fixture(scope="module")
def densenet121():
    with keras.StatelessScope(initialize_variables=False):
        return densenet.build((64, 64, 64, 1), 2)


def parameters_of_resnet(
    depth, filters=(64, 128, 256, 512), preactivation=False, outputs=2, se=None, axes=3, channels=1
):
    """Counted by hand: kernels, two numbers per normalised feature, the linear layers."""
    bottleneck, features = depth == 50, filters[0]
    units = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}[depth]
    total = 7**axes * channels * features + 2 * features
    for stage, (width, repeats) in enumerate(zip(filters, units, strict=True)):
        last = 4 * width if bottleneck else width
        for unit in range(repeats):
            inside = [features, width, width, last] if bottleneck else [features, width, last]
            cubes = [1, 3**axes, 1] if bottleneck else [3**axes, 3**axes]
            total += sum(size * a * b for size, (a, b) in zip(cubes, pairwise(inside), strict=True))
            total += 2 * sum(inside[:-1] if preactivation else inside[1:])
            if se:
                squeezed = max(1, last // se)
                total += last * squeezed + squeezed + squeezed * last + last
            if preactivation and stage == unit == 0:
                total -= 2 * features  # the stem's normalisation is this one
            if features != last or (stage > 0 and unit == 0):
                total += features * last + (0 if preactivation else 2 * last)
            features = last
    return total + (2 * features if preactivation else 0) + features * outputs + outputs


def parameters_of_densenet(growth, stem, bottleneck=4, outputs=2, blocks=(6, 12, 24, 16), axes=3, channels=1):
    """Counted by hand, as above."""
    total, features = 7**axes * channels * stem + 2 * stem, stem
    for block, layers in enumerate(blocks):
        if block:
            total += 2 * features + features * (features // 2)
            features //= 2
        for _ in range(layers):
            inside = bottleneck * growth
            total += 2 * features + features * inside + 2 * inside + 3**axes * inside * growth
            features += growth
    return total + 2 * features + features * outputs + outputs


def parameters_of_convnext(blocks, filters, kernel=7, outputs=2, axes=3, channels=1):
    """Counted by hand, as above; every convolution has a bias."""
    total = 4**axes * channels * filters[0] + 3 * filters[0]
    for before, after in pairwise(filters):
        total += 2 * before + 2**axes * before * after + after
    for repeats, width in zip(blocks, filters, strict=True):
        depthwise, normalisation, scale = kernel**axes * width + width, 2 * width, width
        linear = 4 * width * width + 4 * width + 4 * width * width + width
        total += repeats * (depthwise + normalisation + linear + scale)
    return total + 2 * filters[-1] + filters[-1] * outputs + outputs


def test_what_is_counted_by_hand_is_what_is_published_of_the_planar_ones():
    assert parameters_of_densenet(32, 64, **IMAGENET) == PLANAR["densenet121"]
    assert parameters_of_densenet(32, 64, blocks=(6, 12, 32, 32), **IMAGENET) == PLANAR["densenet169"]
    assert parameters_of_resnet(50, **IMAGENET) == PLANAR["resnet50"]
    assert parameters_of_resnet(50, se=16, **IMAGENET) == PLANAR["seresnet50"]
    assert parameters_of_convnext((3, 3, 9, 3), (96, 192, 384, 768), **IMAGENET) == PLANAR["convnext_tiny"]


def test_convnext_has_as_many_parameters_as_one_counts_by_hand():
    options = {"blocks": (1, 2), "filters": (4, 8), "kernel": 7}
    model = convnext.build((32, 32, 32, 1), 2, **options)
    assert count(model.trainable_variables) == parameters_of_convnext(**options)
    assert model.get_layer("stage1_block1_depthwise_conv").kernel.shape == (7, 7, 7, 1, 4)


def test_the_sizes_in_the_docs_are_those_that_one_counts_by_hand():  # and those of the code: test_table_of_models.py
    options = check_model("convnext", {})
    assert parameters_of_convnext(options["blocks"], options["filters"], options["kernel"]) == 3_604_122
    blocks = check_model("densenet169", {})["blocks"]
    assert parameters_of_densenet(32, 64, blocks=blocks) == 18_546_050
    assert 2 * sum(blocks) + len(blocks) + 1 == 169


@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize("depth", [18, 50])
def test_resnet_that_is_excited_has_as_many_parameters_as_one_counts_by_hand(depth, preactivation):
    filters = (4, 6, 8, 10)
    options = {"filters": filters, "preactivation": preactivation, "se": 2}
    model = build_model(f"resnet{depth}", (32, 32, 32, 1), 2, **options)
    assert count(model.trainable_variables) == parameters_of_resnet(depth, filters, preactivation, se=2)


def test_squeeze_and_excitation_is_that_of_numpy():
    random = np.random.default_rng(0)
    images = random.normal(size=(2, 3, 4, 5, 6)).astype(np.float32)
    image = keras.Input(images.shape[1:])
    model = keras.Model(image, Layers().squeeze_and_excite(image, 3, "some"))
    weights = [random.normal(size=variable.shape) for variable in model.trainable_variables]
    model.set_weights(weights)
    first, first_bias, second, second_bias = weights
    hidden = np.maximum(images.mean((1, 2, 3), dtype=np.float64) @ first + first_bias, 0)
    scale = 1 / (1 + np.exp(-(hidden @ second + second_bias)))
    assert hidden.shape == (2, 2)
    np.testing.assert_allclose(model(images), images * scale[:, None, None, None], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        ("relu", lambda x: np.maximum(x, 0)),
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
        ("elu", lambda x: np.where(x > 0, x, np.expm1(x))),
        ("gelu", lambda x: x * standard_normal.cdf(x)),
        ("silu", lambda x: x / (1 + np.exp(-x))),
    ],
)
def test_an_activation_is_that_of_numpy(activation, expected):
    x = np.linspace(-4, 4, 41, dtype=np.float32)[None]
    image = keras.Input(x.shape[1:])
    model = keras.Model(image, Layers(activation=activation).bend(image, "some"))
    np.testing.assert_allclose(model(x), expected(x.astype(np.float64)), atol=1e-6)


@pytest.mark.parametrize("name", BUILDERS)
def test_an_activation_is_taken_wherever_there_is_one(name):
    model = BUILDERS[name]((16, 16, 16, 1), 2, activation="leaky_relu", **NARROW[name])
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("LeakyReLU") == sum(layer.name.endswith("_leaky_relu") for layer in model.layers) >= 2
    assert not {"ReLU", "Activation"} & set(kinds)


def test_a_convolution_of_as_many_groups_as_features_is_depthwise():
    random = np.random.default_rng(0)
    images = random.normal(size=(1, 6, 5, 7, 3)).astype(np.float32)
    image = keras.Input(images.shape[1:])
    model = keras.Model(image, Layers().convolution(image, 3, 3, "some", groups=3))
    kernel = model.get_layer("some_conv").kernel.numpy()
    for feature in range(3):
        expected = correlate(images[0, ..., feature], kernel[..., 0, feature], mode="constant")
        np.testing.assert_allclose(model(images)[0, ..., feature], expected, atol=1e-5)


def test_layer_scale_is_a_factor_for_each_feature_and_begins_at_almost_nothing():
    model = convnext.build((32, 32, 32, 1), 2, blocks=(1, 1), filters=(4, 8), kernel=3)
    scale = model.get_layer("stage2_block1_scale")
    np.testing.assert_allclose(scale.kernel, [1e-6] * 8)
    scale.kernel.assign(np.arange(8.0))
    x = np.random.default_rng(0).normal(size=(2, 2, 3, 2, 8)).astype(np.float32)
    np.testing.assert_allclose(scale(x), x * np.arange(8.0), rtol=1e-6)


def test_convnext_wants_as_many_widths_as_stages():
    with pytest.raises(InputError, match=r"model\.blocks: 4 stages, and model\.filters 2; expected the same number"):
        convnext.build((32, 32, 32, 1), 2, filters=(4, 8))


def test_resnet_18_and_densenet_121_have_as_many_parameters_as_those_of_monai(resnet18, densenet121):
    assert count(resnet18.trainable_variables) == MONAI["resnet18"]
    assert count(densenet121.trainable_variables) == MONAI["densenet121"] == parameters_of_densenet(32, 64)


@pytest.mark.parametrize("preactivation", [False, True])
@pytest.mark.parametrize("depth", [10, 18, 34, 50])
def test_resnet_has_as_many_parameters_as_one_counts_by_hand_and_monai_has(depth, preactivation):
    filters = (2, 3, 4, 5)
    model = build_model(f"resnet{depth}", (32, 32, 32, 1), 2, filters=filters, preactivation=preactivation)
    assert count(model.trainable_variables) == parameters_of_resnet(depth, filters, preactivation)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv3D)]
    assert sum("shortcut" not in layer.name for layer in convolutions) + 1 == depth  # with the linear layer
    default = check_model(f"resnet{depth}", {})["filters"]
    assert parameters_of_resnet(depth, default) == MONAI[f"resnet{depth}"]


def test_densenet_121_has_121_layers_besides_normalisation(densenet121):
    kinds = keras.layers.Conv3D | keras.layers.Dense
    assert sum(isinstance(layer, kinds) for layer in densenet121.layers) == 121


@pytest.mark.parametrize(
    ("preactivation", "unit"),
    [
        (False, ["Conv3D", "BatchNormalization", "ReLU", "Conv3D", "BatchNormalization", "Add", "ReLU"]),
        (True, ["BatchNormalization", "ReLU", "Conv3D", "BatchNormalization", "ReLU", "Conv3D", "Add"]),
    ],
)
def test_the_order_in_a_residual_unit_is_that_of_its_paper(preactivation, unit, resnet18):
    model = resnet18
    if preactivation:
        model = resnet.resnet18((32, 32, 32, 1), 2, filters=(4, 4, 4, 4), preactivation=True)
    layers = [layer for layer in model.layers if layer.name.startswith("stage1_unit2_")]
    assert [type(layer).__name__ for layer in layers] == unit
    kinds = [type(layer).__name__ for layer in model.layers[-5:]]
    assert kinds[:2] == (["BatchNormalization", "ReLU"] if preactivation else ["Add", "ReLU"])


def test_the_usual_stem_leaves_2_voxels_of_64(resnet18, densenet121):
    for stage, (size, width) in enumerate([(16, 64), (8, 128), (4, 256), (2, 512)], start=1):
        assert resnet18.get_layer(f"stage{stage}_unit2_relu").output.shape == (None, size, size, size, width)
        layers, features = [(6, 256), (12, 512), (24, 1024), (16, 1024)][stage - 1]
        assert densenet121.get_layer(f"block{stage}_layer{layers}_concat").output.shape == (None, *[size] * 3, features)


@pytest.mark.parametrize(
    ("stem", "left"), [({"stem_stride": 1}, 4), ({"stem_pool": False}, 4), ({"stem_stride": 1, "stem_pool": False}, 8)]
)
def test_the_stem_sets_the_size_of_the_features(stem, left):
    residual = resnet.resnet10((64, 64, 64, 1), 2, filters=(4, 4, 4, 4), **stem)
    dense = densenet.build((64, 64, 64, 1), 2, blocks=(1, 1, 1, 1), **stem)
    assert residual.get_layer("mean").input.shape[1:4] == dense.get_layer("mean").input.shape[1:4] == (left,) * 3


def test_odd_shapes_are_rounded_up_by_resnet_and_down_by_the_transitions_of_densenet():
    shape = (65, 80, 79, 1)
    assert resnet.resnet10(shape, 2, filters=(4,) * 4).get_layer("mean").input.shape[1:4] == (3, 3, 3)
    assert densenet.build(shape, 2, blocks=(1,) * 4).get_layer("mean").input.shape[1:4] == (2, 2, 2)


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_at_their_usual_stem_resnet_and_densenet_refuse_less_than_32_voxels(name):
    with pytest.raises(InputError, match=r"\[31, 64, 64\].*too small.*at least \[32, 32, 32\]"):
        build_model(name, (31, 64, 64, 1), 1)


@pytest.mark.parametrize("shape", [(17, 24, 16, 2), (16, 16, 16, 1)])
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
        if name == "sfcn" and variable.path.endswith("_conv/bias"):  # normalisation takes away what it adds
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


@pytest.mark.parametrize(("policy", "norm"), [("mixed_bfloat16", "batch"), ("mixed_float16", "group")])
@pytest.mark.parametrize("name", BUILDERS)
def test_the_output_is_float32_and_finite_under_mixed_precision(name, policy, norm):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = BUILDERS[name]((16, 16, 16, 1), 2, norm=norm, groups=2, **NARROW[name])
    finally:
        keras.config.set_dtype_policy(before)
    low = policy.removeprefix("mixed_")
    last = model.get_layer("flat" if name == "cole" else "mean")
    assert {model.get_layer(index=1).compute_dtype, last.input.dtype} == {low}
    assert model.outputs[0].dtype == "float32"
    if low == "float16" and any("pool" in layer.name for layer in model.layers):
        return  # TensorFlow pools no float16 in three dimensions on a CPU
    output = model(np.random.default_rng(0).normal(size=(2, 16, 16, 16, 1)).astype(np.float32), training=True)
    assert output.dtype == tf.float32 and np.isfinite(output).all()


@pytest.mark.parametrize("name", BUILDERS)
def test_every_normalisation_follows_the_options(name):
    given = {"synchronized": True, "momentum": 0.8, "epsilon": 0.01}
    model = BUILDERS[name]((16, 16, 16, 1), 2, norm="batch", **given, **NARROW[name])
    layers = [layer for layer in model.layers if layer.name.endswith("_norm")]
    assert len(layers) >= 3
    assert all((layer.synchronized, layer.momentum, layer.epsilon) == (True, 0.8, 0.01) for layer in layers)
    model = BUILDERS[name]((16, 16, 16, 1), 2, norm="group", groups=2, epsilon=0.01, **NARROW[name])
    assert len(layers) == sum(layer.name.endswith("_norm") for layer in model.layers)
    assert all(
        (type(layer), layer.groups, layer.epsilon) == (keras.layers.GroupNormalization, 2, 0.01)
        for layer in model.layers
        if layer.name.endswith("_norm")
    )


@pytest.mark.parametrize(
    ("norm", "groups", "grouped", "axes"),
    [
        ("batch", 8, (3, 4, 5, 2, 6, 1), (0, 1, 2, 3)),
        ("group", 3, (3, 4, 5, 2, 3, 2), (1, 2, 3, 5)),
        ("instance", 8, (3, 4, 5, 2, 6, 1), (1, 2, 3)),
        ("layer", 8, (3, 4, 5, 2, 1, 6), (5,)),
    ],
)
def test_a_normalisation_is_that_of_numpy(norm, groups, grouped, axes):
    random = np.random.default_rng(0)
    images = random.normal(2, 3, (3, 4, 5, 2, 6)).astype(np.float32)
    gamma, beta = random.normal(size=(2, 6)).astype(np.float32)
    image = keras.Input(images.shape[1:])
    model = keras.Model(image, Layers(norm, groups, epsilon=0.1).normalise(image, "some"))
    layer = model.get_layer("some_norm")
    layer.gamma.assign(gamma)
    layer.beta.assign(beta)
    values = images.astype(np.float64).reshape(grouped)
    mean, variance = values.mean(axes, keepdims=True), values.var(axes, keepdims=True)
    expected = ((values - mean) / np.sqrt(variance + 0.1)).reshape(images.shape) * gamma + beta
    np.testing.assert_allclose(model(images, training=True), expected, atol=1e-5)


def test_only_batch_normalisation_looks_across_the_batch():
    random = np.random.default_rng(0)
    images = random.normal(size=(3, 16, 16, 16, 1)).astype(np.float32)
    other = np.concatenate([images[:1], random.normal(3, 2, size=(2, 16, 16, 16, 1)).astype(np.float32)])
    for norm, depends in {"batch": True, "group": False, "instance": False, "layer": False}.items():
        model = small_cnn.build((16, 16, 16, 1), 2, filters=(4, 6), dropout=0.0, norm=norm, groups=2)
        difference = np.abs(model(images, training=True)[0] - model(other, training=True)[0]).max()
        assert (difference > 1e-3) == depends, norm


def test_groups_that_do_not_divide_the_features_and_single_values_are_refused():
    with pytest.raises(InputError, match=r"model\.groups: 8, and block2 has 58 features"):
        sfcn.build((64, 64, 64, 1), 2, filters=(8, 58, 8), norm="group")
    options = {"filters": (4, 4, 4, 8), "norm": "instance"}
    with pytest.raises(InputError, match=r"model\.norm: instance, and stage4_unit1_shortcut has one voxel"):
        resnet.resnet10((32, 32, 32, 1), 2, **options)
    group = resnet.resnet10((32, 32, 32, 1), 2, **options | {"norm": "group", "groups": 4})
    assert group.get_layer("mean").input.shape == (None, 1, 1, 1, 8)


@pytest.mark.parametrize("name", BUILDERS)
def test_l2_is_its_weight_times_the_squares_of_all_kernels_and_of_nothing_else(name):
    model = BUILDERS[name]((16, 16, 16, 1), 2, l2=0.01, **NARROW[name])
    with tf.GradientTape() as tape:
        penalty = tf.add_n(model.losses)
    linear = [each for each in model.layers if isinstance(each, keras.layers.Conv3D | keras.layers.Dense)]
    kernels = [each.kernel.numpy() for each in linear]
    np.testing.assert_allclose(penalty, 0.01 * sum((each.astype(np.float64) ** 2).sum() for each in kernels), rtol=1e-5)
    gradients = tape.gradient(penalty, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        if variable.name == "kernel" and variable.ndim > 1:  # and not layer scale
            np.testing.assert_allclose(gradient, 0.02 * variable.numpy(), rtol=1e-5)
        else:
            assert gradient is None
    assert not BUILDERS[name]((16, 16, 16, 1), 2, **NARROW[name]).losses


def test_the_training_step_takes_the_gradient_of_l2_and_tells_its_penalty():
    class Nothing:
        def loss(self, target, output):
            return 0.0 * output[:, 0]

    model = small_cnn.build((8, 8, 8, 1), 2, filters=(3, 4), l2=0.01)
    optimizer = keras.optimizers.SGD(0.5)
    optimizer.build(model.trainable_variables)
    before = [each.numpy() for each in model.trainable_variables]
    penalty = float(tf.add_n(model.losses))
    step = make_train_step(model, optimizer, Nothing(), tf.distribute.get_strategy(), 4, accumulation=2)
    batch = {
        "image": tf.ones((4, 8, 8, 8, 1)), "target": tf.zeros(4), "weight": tf.ones(4), "row": tf.range(4),
    }  # fmt: skip
    found = step(batch, tf.constant(0.5), tf.constant([1, 2]), tf.constant(0))
    np.testing.assert_allclose(found["penalty"], penalty, rtol=1e-6)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        shrunk = old * (1 - 0.5 * 0.02) if variable.name == "kernel" else old
        np.testing.assert_allclose(variable, shrunk, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", BUILDERS)
def test_equal_seeds_give_equal_weights_and_others_give_others(name):
    def weights(seed):
        keras.utils.set_random_seed(seed)
        model = BUILDERS[name]((16, 16, 16, 1), 2, **NARROW[name])
        return [each.numpy() for each in model.trainable_variables if each.name == "kernel" and each.ndim > 1]

    first, again, other = weights(1), weights(1), weights(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(
    ("name", "norm"), [*zip(BUILDERS, [*["batch", "instance", "group", "layer"] * 2], strict=True)]
)
def test_a_saved_model_predicts_the_same(name, norm, tmp_path):
    options = {"norm": norm, "groups": 2, "l2": 0.01, **NARROW[name]}
    model = BUILDERS[name]((16, 16, 16, 1), 2, initial_bias=[1.0, -1.0], **options)
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 16, 1)).astype(np.float32)
    model(images, training=True)  # moves the running averages
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(images), model(images), atol=1e-6)
