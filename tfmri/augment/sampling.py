"""What happens to each sample, drawn from its seed: parameters in mm, degrees and shares, apart from applying them.

Parameters are a dict ``{transform: {parameter: tensor}}`` with one row per sample. A sample for which a transform was
not drawn has the values that change nothing. The same dict, kept and applied again, gives the same voxels.
Every transform draws from streams of its own, keyed by its name: adding a transform to a recipe does not change what
the others draw.
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfmri.augment.philox import fold_in, normal, uniform
from tfmri.augment.recipe import AXES, TRANSFORMS, Affine, BiasField, Elastic, Flip, Gamma, Noise, Recipe

Parameters = dict[str, dict[str, tf.Tensor]]

_DRAWS = 16  # single numbers that each transform has at hand; changing it leaves them as they are


def sample_parameters(recipe: Recipe, seeds: tf.Tensor) -> Parameters:
    """The parameters of each transform in `recipe` for samples of `seeds` (batch, 2) int32.

    Returns:
        ``flip``: ``sign`` (batch, 3), -1 where an axis is mirrored;
        ``affine``: ``scale`` (batch, 3), ``rotation`` (batch, 3) degrees, ``translation`` (batch, 3) mm;
        ``elastic``: ``displacement`` (batch, 3, k, k, k) mm, of the control points along x, y, z;
        ``gamma``: ``exponent`` (batch,);
        ``bias_field``: ``strength`` (batch,), ``control`` (batch, k, k, k) standard normal;
        ``noise``: ``sd`` (batch,) share of the range, ``seed`` (batch, 2) int32.
        All float32 but the last; only the transforms in `recipe` are there.
    """
    if not recipe:
        return {}
    names = [name for kind in map(type, recipe) for name in TRANSFORMS if TRANSFORMS[name] is kind]
    # all streams and all single numbers in two calls: the program that XLA compiles stays small
    streams = fold_in(seeds, [*names, *(f"{name}/fields" for name in names)])
    numbers = tf.reshape(uniform(tf.reshape(streams[:, : len(names)], [-1, 2]), [_DRAWS]), [-1, len(names), _DRAWS])
    return {
        name: _SAMPLERS[type(transform)](transform, numbers[:, i], streams[:, len(names) + i])
        for i, (name, transform) in enumerate(zip(names, recipe, strict=True))
    }


# Each takes its transform, `u` (batch, 16) uniform in 0..1, and `seeds` (batch, 2) for whole fields of numbers.


def _flip(flip: Flip, u: tf.Tensor, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
    mirrored = (u[:, :3] < flip.probability) & tf.constant([axis in flip.axes for axis in AXES])
    return {"sign": tf.where(mirrored, -1.0, 1.0)}


def _affine(affine: Affine, u: tf.Tensor, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
    drawn = u[:, :1] < affine.probability
    scale = _between(*affine.scale, tf.repeat(u[:, 1:2], 3, axis=1) if affine.isotropic else u[:, 1:4])
    rotation = _between(-affine.rotation, affine.rotation, u[:, 4:7])
    translation = _between(-affine.translation, affine.translation, u[:, 7:10])
    return {
        "scale": tf.where(drawn, scale, 1.0),
        "rotation": tf.where(drawn, rotation, 0.0),
        "translation": tf.where(drawn, translation, 0.0),
    }


def _elastic(elastic: Elastic, u: tf.Tensor, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
    grid = uniform(seeds, (3, *[elastic.control_points] * 3))
    drawn = u[:, 0, None, None, None, None] < elastic.probability
    return {"displacement": tf.where(drawn, _between(-elastic.displacement, elastic.displacement, grid), 0.0)}


def _gamma(gamma: Gamma, u: tf.Tensor, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
    low, high = gamma.exponent
    exponent = tf.exp(_between(math.log(low), math.log(high), u[:, 1]))
    return {"exponent": tf.where(u[:, 0] < gamma.probability, exponent, 1.0)}


def _bias_field(bias: BiasField, u: tf.Tensor, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
    strength = tf.where(u[:, 0] < bias.probability, bias.strength * u[:, 1], 0.0)
    return {"strength": strength, "control": normal(seeds, (bias.control_points,) * 3)}


def _noise(noise: Noise, u: tf.Tensor, seeds: tf.Tensor) -> dict[str, tf.Tensor]:
    return {"sd": tf.where(u[:, 0] < noise.probability, noise.sd * u[:, 1], 0.0), "seed": seeds}


def _between(low: float, high: float, u: tf.Tensor) -> tf.Tensor:
    return low + (high - low) * u


_SAMPLERS: dict[type, Callable[[Any, tf.Tensor, tf.Tensor], dict[str, tf.Tensor]]] = {
    Flip: _flip,
    Affine: _affine,
    Elastic: _elastic,
    Gamma: _gamma,
    BiasField: _bias_field,
    Noise: _noise,
}
