"""XLA would compile again for each batch where it takes a number that samples draw for a constant of the program."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment import apply
from tfmri.augment.recipe import TRANSFORMS, parse_recipe

SHAPE, SPACING = (12, 14, 11), (4.0, 3.0, 5.0)


@pytest.mark.parametrize("name", [name for name, kind in TRANSFORMS.items() if getattr(kind, "rare", False)])
def test_all_that_samples_draw_enters_the_loops_of_rare_transforms_as_tensors(name):
    recipe = parse_recipe([name])
    parameters = apply.make_sampler(recipe, SPACING)(tf.constant([[0, 1], [0, 2]], tf.int32))
    images, background = tf.constant(np.random.default_rng(0).normal(size=(2, *SHAPE)), tf.float32), tf.zeros([2])
    program = apply._applying(apply._without_numbers(recipe, SPACING), SHAPE, SPACING, "background")
    lowered = program.experimental_get_compiler_ir([images], parameters, background, {})
    entry = re.search(r"entry_computation_layout={\((.*?)\)->", lowered(stage="hlo"))[1]
    assert len(re.findall(r"\w+\[[\d,]*\]", entry)) == 2 + len(tf.nest.flatten(parameters))
