"""The compiled function of a whole recipe. Where it runs, and beside what, is in test_placement.py."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment.apply import apply_parameters, make_augment
from tfmri.augment.recipe import parse_recipe
from tfmri.augment.sampling import sample_parameters
from tfmri.augment.settings import chance, up_to
from tfmri.augment.transform import IntensityTransform
from tfmri.augment.transforms.intensity import BiasField, Blur, Gamma, Noise
from tfmri.augment.transforms.spatial import Affine, Elastic, Flip
from tfmri.errors import InputError

SHAPE, SPACING = (12, 15, 10), (8.0, 8.0, 10.0)
ALWAYS = tuple(dataclasses.replace(transform, probability=1.0) for transform in parse_recipe("standard"))
RNG = np.random.default_rng(2)
IMAGES = RNG.normal(size=(4, *SHAPE, 1)).astype("float16")
SEEDS = np.array([[1, 2], [1, 3], [-5, 2**31 - 1], [0, 0]], "int32")
BACKGROUND = np.array([-3, -1, 0, -2], "float32")


@pytest.fixture(scope="module")
def augment():
    return make_augment(ALWAYS, SHAPE, SPACING)


@pytest.fixture(scope="module")
def augmented(augment):
    return augment(IMAGES, SEEDS, BACKGROUND).numpy()


def applied(recipe, images, background, seeds=SEEDS):
    parameters = sample_parameters(recipe, tf.constant(seeds))
    bare = tuple(each.without_numbers(SPACING) for each in recipe)
    channels = tf.unstack(tf.constant(images), axis=-1)
    return np.stack(apply_parameters(bare, channels, parameters, tf.constant(background), SPACING), axis=-1)


def test_an_augmented_batch_is_float32_finite_and_changed(augmented):
    assert augmented.shape == IMAGES.shape and augmented.dtype == np.float32
    assert np.isfinite(augmented).all()
    assert (np.abs(augmented - IMAGES).mean(axis=(1, 2, 3, 4)) > 0.1).all()


def test_other_seeds_give_other_images(augment):
    same = np.repeat(IMAGES[:1], 4, axis=0)
    result = augment(same, SEEDS, np.repeat(BACKGROUND[:1], 4)).numpy().reshape(4, -1)
    difference = np.abs(result[:, None] - result[None]).mean(axis=-1)
    assert (difference[~np.eye(4, dtype=bool)] > 0.1).all()


def test_other_backgrounds_change_the_sample_they_are_of_and_no_other(augment, augmented):
    other = augment(IMAGES, SEEDS, BACKGROUND - np.float32([0, 0, 1, 0])).numpy()
    assert list((other == augmented).all(axis=(1, 2, 3, 4))) == [True, True, False, True]


def test_parameters_that_were_kept_give_the_same_voxels_again(augmented):
    np.testing.assert_allclose(applied(ALWAYS, IMAGES, BACKGROUND), augmented, atol=2e-5)


def test_ranges_and_probabilities_enter_the_program_as_numbers(augment):
    """With other numbers the same program gives what those numbers give alone."""
    weaker = (Flip(probability=0.0), Affine(probability=1.0, rotation=(-2.0, 2.0)), *ALWAYS[2:6], Noise(0.0))
    result = make_augment(weaker, SHAPE, SPACING)(IMAGES, SEEDS, BACKGROUND)
    np.testing.assert_allclose(result, applied(weaker, IMAGES, BACKGROUND), atol=2e-5)


def test_no_transform_gives_the_input_exactly():
    result = make_augment((), SHAPE, SPACING)(IMAGES, SEEDS, BACKGROUND)
    np.testing.assert_array_equal(result, IMAGES.astype("float32"))


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_transforms_of_probability_0_and_such_that_change_nothing_give_the_input_exactly(augment, probability):
    """Of probability 1, with the neutral number in each range; the fixture's program, since only numbers differ."""
    nothing = (
        Flip(0.0), Affine(probability, scale=(1.0, 1.0), rotation=(0.0, 0.0), translation=(0.0, 0.0)),
        Elastic(probability, displacement=(0.0, 0.0)), Gamma(probability, exponent=(1.0, 1.0)),
        BiasField(probability, strength=(0.0, 0.0)), Blur(probability, sigma=(0.0, 1e-30)),
        Noise(probability, sd=(0.0, 0.0)),
    )  # fmt: skip
    result = make_augment(nothing, SHAPE, SPACING)(IMAGES, SEEDS, BACKGROUND)
    np.testing.assert_array_equal(result, IMAGES.astype("float32"))


def test_the_widest_settings_give_finite_intensities(augment):
    widest = (
        Flip(1.0), Affine(1.0, scale=(0.5, 2.0), shear=(-45.0, 45.0), rotation=(-180.0, 180.0),
        translation=(-100.0, 100.0)), Elastic(1.0, displacement=(8.8, 8.8)), Gamma(1.0, exponent=(0.1, 10.0)),
        BiasField(1.0, strength=(2.0, 2.0)), ALWAYS[5], Noise(1.0, sd=(1.0, 1.0)),
    )  # fmt: skip
    program = make_augment(widest, SHAPE, SPACING)
    assert np.isfinite(program(IMAGES, SEEDS, BACKGROUND)).all()
    constant = np.full_like(IMAGES, 2)
    assert np.isfinite(program(constant, SEEDS, np.full(4, 2, "float32"))).all()


def test_the_background_stays_where_it_is_the_minimum_and_no_noise_lies_over_it():
    images = np.full_like(IMAGES, -4)
    images[:, 4:8, 5:10, 3:7] = RNG.normal(size=(4, 4, 5, 4, 1))
    result = applied(ALWAYS[:-1], images, np.full(4, -4, "float32"))
    np.testing.assert_allclose(result[:, 0], -4, atol=1e-5)
    assert np.abs(result - images).max() > 1


def test_a_deformation_that_could_fold_is_refused():
    with pytest.raises(InputError, match=r"displacement 20 mm between control points 22\.0 mm apart; expected at most"):
        make_augment(parse_recipe([{"elastic": {"displacement": 20}}]), SHAPE, SPACING)


@dataclass(frozen=True)
class Add(IntensityTransform):
    """Adds an amount; the simplest there is."""

    probability: float = chance(1.0)
    amount: tuple[float, float] = up_to((1.0, 1.0), most=10)

    def apply(self, images, drawn, scan):
        return images + drawn["amount"]


@dataclass(frozen=True)
class Square(IntensityTransform):
    """Squares intensities, for every sample alone."""

    rare = True

    probability: float = chance(1.0)

    def apply(self, images, drawn, scan):
        assert images.shape[0] == 1
        return images**2


@pytest.mark.parametrize(("recipe", "expected"), [
    ((Add(), Square()), lambda x: (x + 1) ** 2),
    ((Square(), Add()), lambda x: x**2 + 1),
    ((Square(), Add(), Square(), Add(amount=(2.0, 2.0))), lambda x: (x**2 + 1) ** 2 + 2),
])  # fmt: skip
def test_intensities_change_in_the_order_of_the_recipe_the_rare_among_the_others(recipe, expected):
    images = RNG.integers(-3, 4, size=IMAGES.shape).astype("float16")
    np.testing.assert_array_equal(applied(recipe, images, BACKGROUND), expected(images.astype("float32")))


def test_what_is_rare_happens_to_those_alone_that_drew_it():
    recipe = (Square(probability=0.5),)
    seeds = np.arange(16, dtype="int32").reshape(8, 2)
    images = np.concatenate([IMAGES, IMAGES]).astype("float32")
    drawn = sample_parameters(recipe, tf.constant(seeds))[f"{__name__}:Square"]["drawn"].numpy()
    assert 0 < drawn.sum() < 8
    result = applied(recipe, images, np.zeros(8, "float32"), seeds)
    np.testing.assert_allclose(result, np.where(drawn[:, None, None, None, None], images**2, images), rtol=1e-6)
    np.testing.assert_array_equal(result[~drawn], images[~drawn])
