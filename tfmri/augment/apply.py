"""A recipe as one compiled function of a batch: sample parameters, resample once, change intensities.

Compiled by XLA (once per shape of batch), on a CPU or GPU, callable inside a training step under any tf.distribute
strategy. Each sample depends on its image, its seed and its background, and on nothing else in the batch.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tfmri.augment import intensity
from tfmri.augment.philox import fold_in
from tfmri.augment.recipe import Elastic, Recipe
from tfmri.augment.sampling import Parameters, sample_parameters
from tfmri.augment.spatial import SPATIAL, coordinates, resample
from tfmri.errors import InputError, Problem

Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]


def make_augment(recipe: Recipe, shape: Sequence[int], spacing: Sequence[float]) -> Augment:
    """The function that augments batches by `recipe`.

    Args:
        recipe: from `parse_recipe`.
        shape: (x, y, z) voxels of the images.
        spacing: (x, y, z) mm.

    Returns:
        ``augment(images, seeds, background)``, of images (batch, x, y, z, channel) float16 or float32, seeds (batch, 2)
        int32, and backgrounds (batch, channel) float32, or (batch,) of one channel; gives (batch, x, y, z, channel)
        float32. The same image, seed and background give the same voxels: bit for bit in batches of equal shape, to
        1e-5 in others.

    Raises:
        InputError: for an elastic deformation that could fold the brain onto itself in an image of this size.
    """
    _refuse_folding(recipe, shape, spacing)

    @tf.function(jit_compile=True)
    def augment(images: tf.Tensor, seeds: tf.Tensor, background: tf.Tensor) -> tf.Tensor:
        images = tf.ensure_shape(images, (None, *shape, None))
        return apply_parameters(images, sample_parameters(recipe, seeds), background, spacing)

    return augment


def apply_parameters(
    images: tf.Tensor, parameters: Parameters, background: tf.Tensor, spacing: Sequence[float]
) -> tf.Tensor:
    """`images` (batch, x, y, z, channel) augmented by `parameters`, as `sample_parameters` gives them: float32.

    Spatial transforms first, one field for all channels; then gamma, bias field and noise, the same parameters for each
    channel by its own range and background, but noise of its own. Slow unless inside a `tf.function(jit_compile=True)`.
    """
    channels = images.shape[-1]
    background = tf.reshape(background, [-1, channels])
    places = None
    if any(name in parameters for name in SPATIAL):
        places = coordinates(parameters, images.shape[1:-1], spacing, tf.shape(images)[0])
    return tf.stack(
        [_one_channel(images[..., k], k, parameters, places, background[:, k]) for k in range(channels)], axis=-1
    )


def _one_channel(
    original: tf.Tensor, channel: int, parameters: Parameters, places: Sequence[tf.Tensor] | None, background: tf.Tensor
) -> tf.Tensor:
    """`original` (batch, x, y, z), resampled at its `places` and changed in intensity."""
    result = tf.cast(original, tf.float32) if places is None else resample(original, places, background)

    if "gamma" in parameters or "noise" in parameters:
        # of the scan as it was prepared: interpolation does not leave this range, so one pass over the batch is saved
        low, high = intensity.intensity_range(original, background)
    if "gamma" in parameters:
        exponent = parameters["gamma"]["exponent"]
        result = intensity.gamma(result, *(t[:, None, None, None] for t in (exponent, low, high)))
        background = intensity.gamma(background, exponent, low, high)
    if "bias_field" in parameters:
        result = intensity.bias_field(result, **parameters["bias_field"], background=background)
    if "noise" in parameters:
        sd, seeds = parameters["noise"]["sd"] * (high - low), parameters["noise"]["seed"]
        result = intensity.noise(result, sd, fold_in(seeds, [f"channel {channel}"])[:, 0] if channel else seeds)
    return result


def _refuse_folding(recipe: Recipe, shape: Sequence[int], spacing: Sequence[float]) -> None:
    """Refuses displacements for which cubic B-splines need not be one-to-one: 0.403 of the control points' distance.

    Source: Choi and Lee 2000, Graphical Models 62, the bound for three dimensions.
    """
    for elastic in recipe:
        if not isinstance(elastic, Elastic):
            continue
        distance = min((n - 1) * mm for n, mm in zip(shape, spacing, strict=True)) / (elastic.control_points - 3)
        limit = 0.403 * distance
        if elastic.displacement > limit:
            raise InputError(
                Problem(
                    "augment, elastic",
                    f"displacement {elastic.displacement:g} mm between control points {distance:.1f} mm apart",
                    f"at most {limit:.1f} mm",
                    "Beyond, the image may fold onto itself: take fewer control points or a smaller displacement.",
                )
            )
