import dataclasses
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment.apply import apply_parameters, make_augment
from tfmri.augment.recipe import RECIPES, Affine, BiasField, Elastic, Flip, Gamma, Noise, parse_recipe
from tfmri.augment.sampling import sample_parameters
from tfmri.errors import InputError

SHAPE, SPACING = (12, 15, 10), (8.0, 8.0, 10.0)
ALWAYS = tuple(dataclasses.replace(transform, probability=1.0) for transform in RECIPES["standard"])
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


def test_an_augmented_batch_is_float32_finite_and_changed(augmented):
    assert augmented.shape == IMAGES.shape and augmented.dtype == np.float32
    assert np.isfinite(augmented).all()
    assert (np.abs(augmented - IMAGES).mean(axis=(1, 2, 3, 4)) > 0.1).all()


def test_permuting_the_batch_permutes_the_result_bit_for_bit(augment, augmented):
    order = [2, 0, 3, 1]
    np.testing.assert_array_equal(augment(IMAGES[order], SEEDS[order], BACKGROUND[order]), augmented[order])


def test_a_sample_is_the_same_in_a_batch_of_another_size(augment, augmented):
    part = slice(2, 3)
    np.testing.assert_allclose(augment(IMAGES[part], SEEDS[part], BACKGROUND[part]), augmented[part], atol=1e-5)


def test_other_seeds_give_other_images(augment):
    same = np.repeat(IMAGES[:1], 4, axis=0)
    result = augment(same, SEEDS, np.repeat(BACKGROUND[:1], 4)).numpy().reshape(4, -1)
    difference = np.abs(result[:, None] - result[None]).mean(axis=-1)
    assert (difference[~np.eye(4, dtype=bool)] > 0.1).all()


def test_parameters_that_were_kept_give_the_same_voxels_again(augmented):
    kept = tf.nest.map_structure(lambda tensor: tensor.numpy(), sample_parameters(ALWAYS, tf.constant(SEEDS)))
    replayed = apply_parameters(tf.constant(IMAGES), kept, tf.constant(BACKGROUND), SPACING)
    np.testing.assert_allclose(replayed, augmented, atol=2e-5)


@pytest.mark.parametrize("recipe", [(), tuple(dataclasses.replace(transform, probability=0.0) for transform in ALWAYS)])
def test_no_transform_and_transforms_of_probability_0_give_the_input_exactly(recipe):
    result = make_augment(recipe, SHAPE, SPACING)(IMAGES, SEEDS, BACKGROUND)
    np.testing.assert_array_equal(result, IMAGES.astype("float32"))


def test_the_widest_settings_give_finite_intensities():
    widest = (
        Flip(1, ("x", "y", "z")), Affine(1, (0.5, 2), False, 180, 100), Elastic(1, 9, 4), Gamma(1, (0.1, 10)),
        BiasField(1, 2, 4), Noise(1, 1),
    )  # fmt: skip
    assert np.isfinite(make_augment(widest, SHAPE, SPACING)(IMAGES, SEEDS, BACKGROUND)).all()


def test_the_background_stays_where_it_is_the_minimum_and_no_noise_lies_over_it():
    images = np.full_like(IMAGES, -4)
    images[:, 4:8, 5:10, 3:7] = RNG.normal(size=(4, 4, 5, 4, 1))
    parameters = sample_parameters(ALWAYS[:-1], tf.constant(SEEDS))
    result = apply_parameters(tf.constant(images), parameters, tf.fill([4], -4.0), SPACING).numpy()
    np.testing.assert_allclose(result[:, 0], -4, atol=1e-5)
    assert np.abs(result - images).max() > 1


def test_a_deformation_that_could_fold_is_refused():
    with pytest.raises(InputError, match=r"displacement 20 mm between control points 22\.0 mm apart; expected at most"):
        make_augment(parse_recipe([{"elastic": {"displacement": 20}}]), SHAPE, SPACING)


def test_replicas_of_a_strategy_augment_as_one_device_does():
    """In a program of its own: logical devices can only be made before anything has run on the real one."""
    program = """
        import numpy as np, tensorflow as tf
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        from tfmri.augment.apply import make_augment
        from tfmri.augment.recipe import Affine, Noise
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        recipe = Affine(probability=1.0), Noise(probability=1.0, sd=0.1)
        augment = make_augment(recipe, (12, 15, 10), (8.0, 8.0, 10.0))
        batch = (np.random.default_rng(0).normal(size=(4, 12, 15, 10, 1)).astype("float16"),
                 np.arange(8, dtype="int32").reshape(4, 2), np.array([-3, -1, 0, -2], "float32"))
        one = augment(*batch).numpy()
        data = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices(batch).batch(4))
        step = tf.function(lambda *shares: strategy.run(augment, shares))
        both = np.concatenate([part.numpy() for part in strategy.experimental_local_results(step(*next(iter(data))))])
        assert strategy.num_replicas_in_sync == 2 and both.shape == one.shape
        np.testing.assert_allclose(both, one, atol=1e-5)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
