"""What happens to each sample, drawn from its seed: parameters in mm, degrees and shares, apart from applying them.

Parameters are a dict ``{key: {name: tensor}}``, the keys those of the recipe's transforms, with one row per sample:
``drawn``, whether the transform happens to the sample, a number from each range, and the transform's randoms. The
same dict, kept and applied again, gives the same voxels. Every transform draws from streams of its own, by its key:
adding a transform to a recipe does not change what the others draw.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfmri.augment.philox import fold_in, normal, uniform
from tfmri.augment.recipe import Recipe, keys_of
from tfmri.augment.settings import AXES, PER_AXIS
from tfmri.augment.transform import Random, ranges_of

Parameters = Mapping[str, Mapping[str, Any]]
Numbers = dict[str, dict[str, np.ndarray]]

_DRAWS = 32  # single numbers that each transform has at hand; changing it leaves them as they are


def numbers_of(recipe: Recipe) -> Numbers:
    """Probabilities () and ranges (2,) of `recipe`, float32, which enter its program as numbers."""
    return {
        key: {
            name: np.array(getattr(transform, name), np.float32)
            for name in ("probability", *(setting.name for setting in ranges_of(transform)))
        }
        for key, transform in zip(keys_of(recipe), recipe, strict=True)
    }


def sample_parameters(recipe: Recipe, seeds: tf.Tensor, numbers: Numbers | None = None) -> dict[str, dict[str, Any]]:
    """The parameters of each transform in `recipe` for samples of `seeds` (batch, 2) int32.

    Args:
        recipe: its settings, or without its numbers (`Transform.without_numbers`).
        seeds: of the samples.
        numbers: the recipe's, where `recipe` is without them.

    Returns:
        For each transform ``drawn`` (batch,) bool, or (batch, 3) of a transform that decides for x, y and z separately;
        numbers from its ranges (batch,), or (batch, 3), float32; and its randoms.
    """
    if not recipe:
        return {}
    numbers = numbers or numbers_of(recipe)
    keys = keys_of(recipe)
    randoms = {f"{key}/{name}": (key, name, random) for key, each in zip(keys, recipe, strict=True)
               for name, random in each.randoms().items()}  # fmt: skip
    # all streams and all single numbers in two calls: the program that XLA compiles stays small
    streams = fold_in(seeds, [*keys, *randoms])
    singles = tf.reshape(uniform(tf.reshape(streams[:, : len(keys)], [-1, 2]), [_DRAWS]), [-1, len(keys), _DRAWS])
    parameters: dict[str, dict[str, Any]] = {}
    for i, (key, transform) in enumerate(zip(keys, recipe, strict=True)):
        drawn = singles[:, i, :PER_AXIS] < numbers[key]["probability"]
        parameters[key] = {"drawn": drawn if transform.separately else drawn[:, 0]}
        used = PER_AXIS
        for setting in ranges_of(transform):
            how = setting.metadata["drawn"]
            u = singles[:, i, used : used + how["size"]]
            used += how["size"]
            if how["same_if"] and getattr(transform, how["same_if"]):
                u = tf.repeat(u[:, :1], how["size"], axis=1)
            value = _between(tf.convert_to_tensor(numbers[key][setting.name]), u, how["log"], how["whole"])
            parameters[key][setting.name] = value if how["size"] > 1 else value[:, 0]
    for stream, (key, name, random) in enumerate(randoms.values(), start=len(keys)):
        parameters[key][name] = _random(random, streams[:, stream])
    return parameters


def _between(ends: tf.Tensor, u: tf.Tensor, log: bool, whole: bool) -> tf.Tensor:
    if whole:  # u may come so close to 1 that the sum is rounded up
        low, high = tf.math.ceil(ends[0]), tf.floor(ends[1])
        return tf.minimum(tf.floor(low + (high - low + 1) * u), high)
    low, high = tf.unstack(tf.math.log(ends) if log else ends)
    value = low + (high - low) * u
    return tf.exp(value) if log else value


def _random(random: Random, seeds: tf.Tensor) -> tf.Tensor:
    if random.kind == "seed":
        return seeds
    if random.kind == "axis":
        among = tf.constant([AXES.index(axis) for axis in random.axes], tf.int32)
        return tf.gather(among, tf.cast(uniform(seeds) * len(random.axes), tf.int32))
    return {"uniform": uniform, "normal": normal}[random.kind](seeds, random.shape)
