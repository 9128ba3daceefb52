import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment.recipe import Affine, BiasField, Elastic, Flip, Gamma, Noise
from tfmri.augment.sampling import sample_parameters

COUNT = 4000
SEEDS = tf.random.stateless_uniform([COUNT, 2], [1, 2], None, None, tf.int32, alg="philox")


def sampled(*recipe):
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), sample_parameters(recipe, SEEDS))


def assert_share(drawn, probability):
    """Within five standard errors of a proportion."""
    assert abs(drawn.mean() - probability) < 5 * np.sqrt(probability * (1 - probability) / len(drawn))


def assert_uniform(values, low, high):
    """Within the interval, and its mean and standard deviation those of a uniform distribution, to five errors."""
    assert low <= values.min() and values.max() <= high
    width = (high - low) / np.sqrt(12)
    assert abs(values.mean() - (low + high) / 2) < 5 * width / np.sqrt(values.size)
    assert values.std() == pytest.approx(width, rel=0.05)


def test_flip_mirrors_each_of_its_axes_as_often_as_asked():
    sign = sampled(Flip(probability=0.3, axes=("x", "z")))["flip"]["sign"]
    assert set(np.unique(sign)) == {-1, 1}
    assert_share(sign[:, 0] < 0, 0.3)
    assert (sign[:, 1] == 1).all()
    assert_share(sign[:, 2] < 0, 0.3)
    assert abs(np.corrcoef(sign[:, 0], sign[:, 2])[0, 1]) < 5 / np.sqrt(COUNT)


def test_affine_draws_from_its_ranges_as_often_as_asked():
    affine = sampled(Affine(probability=0.6, scale=(0.8, 1.1), rotation=20, translation=7, isotropic=False))["affine"]
    drawn = affine["rotation"][:, 0] != 0
    assert_share(drawn, 0.6)
    for axis in range(3):
        assert_uniform(affine["scale"][drawn, axis], 0.8, 1.1)
        assert_uniform(affine["rotation"][drawn, axis], -20, 20)
        assert_uniform(affine["translation"][drawn, axis], -7, 7)
    assert (affine["scale"][~drawn] == 1).all()
    assert (affine["rotation"][~drawn] == 0).all() and (affine["translation"][~drawn] == 0).all()
    together = np.corrcoef(np.concatenate([affine[name][drawn] for name in affine], axis=1).T)
    assert np.abs(together - np.eye(9)).max() < 5 / np.sqrt(drawn.sum())


def test_isotropic_scale_is_one_number_for_all_axes():
    scale = sampled(Affine(isotropic=True))["affine"]["scale"]
    assert (scale == scale[:, :1]).all() and scale.std() > 0


def test_elastic_displaces_every_control_point_within_its_range():
    displacement = sampled(Elastic(probability=0.5, displacement=6, control_points=4))["elastic"]["displacement"]
    assert displacement.shape == (COUNT, 3, 4, 4, 4)
    drawn = (displacement != 0).any(axis=(1, 2, 3, 4))
    assert_share(drawn, 0.5)
    assert_uniform(displacement[drawn], -6, 6)


def test_gamma_is_as_likely_to_darken_as_to_brighten():
    exponent = sampled(Gamma(probability=0.5, exponent=(0.5, 2)))["gamma"]["exponent"]
    drawn = exponent != 1
    assert_share(drawn, 0.5)
    assert_uniform(np.log2(exponent[drawn]), -1.000001, 1.000001)


def test_bias_field_and_noise_draw_their_strength_from_0_on():
    parameters = sampled(BiasField(probability=0.5, strength=0.4, control_points=4), Noise(probability=0.2, sd=0.1))
    strength, sd = parameters["bias_field"]["strength"], parameters["noise"]["sd"]
    assert_share(strength > 0, 0.5)
    assert_uniform(strength[strength > 0], 0, 0.4)
    assert_share(sd > 0, 0.2)
    assert_uniform(sd[sd > 0], 0, 0.1)
    assert parameters["bias_field"]["control"].std() == pytest.approx(1, rel=0.02)
    assert len(np.unique(parameters["noise"]["seed"], axis=0)) == COUNT


@pytest.mark.parametrize("probability", [0, 1])
def test_probability_0_is_never_and_1_is_always(probability):
    parameters = sampled(
        Flip(probability), Affine(probability), Elastic(probability, control_points=4), Gamma(probability),
        BiasField(probability), Noise(probability),
    )  # fmt: skip
    assert (parameters["flip"]["sign"][:, 0] == (-1 if probability else 1)).all()
    for name, parameter, unchanged in (
        ("affine", "rotation", 0),
        ("elastic", "displacement", 0),
        ("gamma", "exponent", 1),
        ("bias_field", "strength", 0),
        ("noise", "sd", 0),
    ):
        values = parameters[name][parameter].reshape(COUNT, -1)
        assert ((values != unchanged).any(axis=1) == probability).all()


def test_adding_a_transform_leaves_what_the_others_draw():
    alone = sampled(Affine(), Noise())
    together = sampled(Flip(), Affine(), Gamma(), Noise())
    for name, parameters in alone.items():
        for parameter, values in parameters.items():
            np.testing.assert_array_equal(values, together[name][parameter])
