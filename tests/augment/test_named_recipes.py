"""Every named recipe, once."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

import tfmri.augment.recipe
from tfmri.augment.apply import apply_parameters
from tfmri.augment.recipe import RECIPES, TRANSFORMS, name_of, parse_recipe
from tfmri.augment.sampling import sample_parameters

SHAPE, SPACING = (11, 13, 10), (3.0, 2.5, 4.0)  # a slab of a head
FOLDER = Path(tfmri.augment.recipe.__file__).with_name("recipes")


def test_the_names_are_those_of_the_files():
    assert sorted(RECIPES) == sorted(file.stem for file in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_file_says_what_it_is_for_and_fits_a_head(name):
    text = (FOLDER / f"{name}.yaml").read_text()
    assert text.startswith("# ") and max(map(len, text.splitlines())) <= 120
    for item in yaml.safe_load(text):
        assert all(isinstance(settings, dict) for settings in item.values())
    for transform in parse_recipe(name):
        assert transform.problem((182, 218, 182), (1.0, 1.0, 1.0)) is None  # of a head in the template's space


def test_heavy_has_transforms_of_every_group_and_artefacts_seldom():
    recipe = {name_of(each): each for each in parse_recipe("heavy")}
    modules = {type(each).__module__.rpartition(".")[2] for each in recipe.values()}
    assert modules == {kind.__module__.rpartition(".")[2] for kind in TRANSFORMS.values()}
    assert all(recipe[name].probability <= 0.1 for name in ("motion", "gibbs", "ghosting", "spike"))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_with_everything_happening_gives_finite_images_of_the_same_shape(name):
    recipe = tuple(_fitting(dataclasses.replace(each, probability=1.0)) for each in parse_recipe(name))
    images = np.random.default_rng(1).normal(size=(2, *SHAPE)).astype("float16")
    parameters = sample_parameters(recipe, tf.constant([[1, 2], [3, -4]]))
    bare = tuple(each.without_numbers(SPACING) for each in recipe)
    [result] = apply_parameters(bare, [tf.constant(images)], parameters, tf.constant([-3.0, 0.0]), SPACING)
    assert result.shape == images.shape and result.dtype == tf.float32
    assert np.isfinite(result).all()
    assert (np.abs(result - images).max(axis=(1, 2, 3)) > 0.1).all() == bool(recipe)


def _fitting(transform):
    """Deformations no larger than the slab can take."""
    if transform.problem(SHAPE, SPACING) is None:
        return transform
    return dataclasses.replace(transform, displacement=(1.0, 2.0))
