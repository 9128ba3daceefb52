from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment.recipe import TRANSFORMS
from tfmri.augment.sampling import numbers_of, sample_parameters
from tfmri.augment.settings import chance
from tfmri.augment.transform import IntensityTransform, Random, ranges_of
from tfmri.augment.transforms.intensity import BiasField, Blur, Gamma, Noise
from tfmri.augment.transforms.spatial import Affine, Elastic, Flip

COUNT = 4000
SEEDS = tf.random.stateless_uniform([COUNT, 2], [1, 2], None, None, tf.int32, alg="philox")
KINDS = pytest.mark.parametrize("kind", TRANSFORMS.values(), ids=TRANSFORMS)


def sampled(*recipe, seeds=SEEDS):
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), sample_parameters(recipe, seeds))


def assert_share(drawn, probability):
    """Within five standard errors of a proportion."""
    assert abs(drawn.mean() - probability) < 5 * np.sqrt(probability * (1 - probability) / len(drawn))


def assert_uniform(values, low, high):
    """Within the interval, and its mean and standard deviation those of a uniform distribution, to five errors."""
    rounding = 1e-6 * max(abs(low), abs(high))
    assert low - rounding <= values.min() and values.max() <= high + rounding
    width = (high - low) / np.sqrt(12)
    assert abs(values.mean() - (low + high) / 2) < 5 * width / np.sqrt(values.size)
    assert values.std() == pytest.approx(width, rel=0.05)


@KINDS
def test_what_is_drawn_has_mean_and_spread_as_configured(kind):
    transform = kind(probability=0.3)
    parameters = sampled(transform)
    assert list(parameters) == [name for name, known in TRANSFORMS.items() if known is kind]
    (drawn,) = parameters.values()
    for decided in drawn["drawn"].reshape(COUNT, -1).T:
        assert_share(decided, 0.3)
    for setting in ranges_of(transform):
        how, (low, high) = setting.metadata["drawn"], getattr(transform, setting.name)
        values = drawn[setting.name]
        assert values.shape == ((COUNT,) if how["size"] == 1 else (COUNT, how["size"]))
        if how["same_if"] and getattr(transform, how["same_if"]):
            assert (values == values[:, :1]).all()
        for axis in values.reshape(COUNT, -1).T:
            if low == high:
                np.testing.assert_allclose(axis, low, rtol=1e-6)
            elif how["whole"]:
                assert set(axis) == set(range(low, high + 1))
                for number in set(axis):
                    assert_share(axis == number, 1 / (high - low + 1))
            elif how["log"]:
                assert_uniform(np.log(axis), np.log(low), np.log(high))
            else:
                assert_uniform(axis, low, high)


@KINDS
def test_the_numbers_of_a_transform_are_drawn_apart_from_each_other(kind):
    (drawn,) = sampled(kind(probability=0.5)).values()
    columns = []
    for name, values in drawn.items():
        distinct = np.unique(values.reshape(COUNT, -1).astype(np.float64), axis=1)  # isotropic: one column, not three
        random = kind().randoms().get(name)
        if values.dtype == bool or random is None or random.kind in ("uniform", "normal", "axis"):
            columns += [column for column in distinct.T[:40] if column.std() > 0]
    together = np.corrcoef(np.atleast_2d(columns))
    assert np.abs(np.atleast_2d(together) - np.eye(len(columns))).max() < 5.5 / np.sqrt(COUNT)


@KINDS
@pytest.mark.parametrize("probability", [0, 1])
def test_probability_0_is_never_and_1_is_always(kind, probability):
    (drawn,) = sampled(kind(probability=probability)).values()
    assert (drawn["drawn"] == bool(probability)).all()


def test_flip_decides_for_each_axis_by_itself():
    drawn = sampled(Flip(probability=0.3, axes=("x", "z")))["flip"]["drawn"]
    assert drawn.shape == (COUNT, 3)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1]) < 5 / np.sqrt(COUNT)


def test_scale_is_one_number_for_all_axes_or_three():
    one, three = (sampled(Affine(isotropic=isotropic))["affine"]["scale"] for isotropic in (True, False))
    assert (one == one[:, :1]).all() and one.std() > 0
    assert np.abs(np.corrcoef(three.T) - np.eye(3)).max() < 5 / np.sqrt(COUNT)


def test_gamma_is_as_likely_to_darken_as_to_brighten():
    exponent = sampled(Gamma(exponent=(0.5, 2)))["gamma"]["exponent"]
    assert_uniform(np.log2(exponent), -1, 1)


def test_elastic_and_bias_field_draw_every_control_point():
    parameters = sampled(Elastic(control_points=4), BiasField(control_points=4))
    assert parameters["elastic"]["control"].shape == (COUNT, 3, 4, 4, 4)
    assert_uniform(parameters["elastic"]["control"], 0, 1)
    assert parameters["bias_field"]["control"].shape == (COUNT, 4, 4, 4)
    assert parameters["bias_field"]["control"].mean() == pytest.approx(0, abs=0.01)
    assert parameters["bias_field"]["control"].std() == pytest.approx(1, rel=0.02)


def test_noise_has_a_seed_of_its_own_in_every_sample():
    assert len(np.unique(sampled(Noise())["noise"]["seed"], axis=0)) == COUNT


@dataclass(frozen=True)
class Along(IntensityTransform):
    probability: float = chance(0.5)

    def randoms(self):
        return {"axis": Random("axis", axes=("x", "z"))}


def test_an_axis_is_one_of_those_named_each_as_often():
    axis = sampled(Along())[f"{__name__}:Along"]["axis"]
    assert axis.dtype == np.int32 and set(axis) == {0, 2}
    assert_share(axis == 2, 0.5)


def test_adding_a_transform_leaves_what_the_others_draw():
    alone = sampled(Affine(), Noise())
    together = sampled(Flip(), Affine(), Gamma(), Noise())
    for name, parameters in alone.items():
        for parameter, values in parameters.items():
            np.testing.assert_array_equal(values, together[name][parameter])


def test_the_second_of_a_name_draws_by_itself():
    parameters = sampled(Gamma(), Gamma(), Noise(), Noise())
    assert list(parameters) == ["gamma", "gamma/2", "noise", "noise/2"]
    np.testing.assert_array_equal(parameters["gamma"]["exponent"], sampled(Gamma())["gamma"]["exponent"])
    first, second = parameters["gamma"]["exponent"], parameters["gamma/2"]["exponent"]
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(COUNT)
    assert (parameters["noise"]["seed"] != parameters["noise/2"]["seed"]).any(axis=1).all()


@KINDS
def test_a_sample_draws_the_same_whatever_stands_beside_it(kind):
    few = [17, 3, 3999]
    everyone = sampled(kind())
    for name, values in next(iter(sampled(kind(), seeds=tf.gather(SEEDS, few)).values())).items():
        same = next(iter(everyone.values()))[name][few]  # to the last bit but one: the inverse error function
        np.testing.assert_allclose(values, same, rtol=5e-7 if values.dtype == np.float32 else 0)


def test_ranges_enter_as_numbers_where_the_recipe_is_without_them():
    recipe = Affine(rotation=(-7.0, 3.0)), Blur(), Noise(probability=1.0)
    bare = tuple(each.without_numbers((1.0, 1.0, 1.0)) for each in recipe)
    assert bare[0].rotation is None and bare[2].probability is None
    given = sample_parameters(bare, SEEDS, numbers_of(recipe))
    for key, drawn in sampled(*recipe).items():
        for name, values in drawn.items():
            np.testing.assert_array_equal(values, given[key][name])
