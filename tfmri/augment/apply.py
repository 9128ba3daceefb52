"""A recipe as a compiled function of a batch: sample parameters, resample once, change intensities.

Compiled by XLA once per list of transforms and shape of batch (ranges and probabilities enter as numbers), on a CPU or
GPU, callable inside a training step under any tf.distribute strategy, or in tf.data. Each sample depends on its image,
its seed and its background, and on nothing else in the batch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from tfmri.augment.coordinates import coordinates
from tfmri.augment.interpolation import continued, nearest, resample
from tfmri.augment.philox import fold_in
from tfmri.augment.recipe import Recipe, keys_of, name_of
from tfmri.augment.sampling import Numbers, Parameters, numbers_of, sample_parameters
from tfmri.augment.transform import IntensityTransform, Scan
from tfmri.errors import InputError, Problem

Augment = Callable[..., Any]
Labels = Mapping[str, tf.Tensor]

_NONE: Labels = MappingProxyType({})


def make_augment(
    recipe: Recipe, shape: Sequence[int], spacing: Sequence[float], padding: str = "background"
) -> Augment:
    """The function that augments batches by `recipe`.

    Args:
        recipe: from `parse_recipe`.
        shape: (x, y, z) voxels of the images.
        spacing: (x, y, z) mm.
        padding: what comes into view from outside the images: `background`, `border` or `reflect` (interpolation.py).

    Returns:
        ``augment(images, seeds, background, labels={})``, of images (batch, x, y, z, channel) float16 or float32, seeds
        (batch, 2) int32, and backgrounds (batch, channel) float32, or (batch,) of one channel; gives (batch, x, y, z,
        channel) float32. The same image, seed and background give the same voxels: bit for bit in batches of equal
        shape, to 1e-5 in others.

        With `labels`, label maps and masks (batch, x, y, z) or (batch, x, y, z, channel) of whole numbers by name, it
        gives images and labels: each voxel the label of the voxel nearest to where the image's comes from, 0 where
        `background` comes into view. Numbers stay: a left hippocampus that was mirrored is still called left.

    Raises:
        InputError: for a transform that cannot be applied to such images.
    """
    sample, apply = make_sampler(recipe, spacing), make_applier(recipe, shape, spacing, padding)

    def augment(images: tf.Tensor, seeds: tf.Tensor, background: tf.Tensor, labels: Labels = _NONE) -> Any:
        return apply(images, sample(seeds), background, labels)

    return augment


def make_sampler(recipe: Recipe, spacing: Sequence[float]) -> Callable[[tf.Tensor], Parameters]:
    """Compiled `sample_parameters` of seeds (batch, 2) int32."""
    program, numbers = _sampling(_without_numbers(recipe, spacing)), numbers_of(recipe)
    return lambda seeds: program(seeds, numbers)


def make_applier(
    recipe: Recipe, shape: Sequence[int], spacing: Sequence[float], padding: str = "background"
) -> Callable[..., Any]:
    """Compiled `apply_parameters` of images, parameters, backgrounds and labels; `make_augment` says what it gives.

    A program of its own, apart from the sampling: kept parameters then give the same voxels bit for bit, and XLA does
    not work the numbers of a sample out again for each of its voxels, as it does where it can see how they came about.

    Raises:
        InputError: for a transform that cannot be applied to such images.
    """
    problems = [
        Problem(f"augment, {name_of(each)}", *problem)
        for each in recipe
        if (problem := each.problem(shape, spacing)) is not None
    ]
    if problems:
        raise InputError(*problems)
    program = _applying(_without_numbers(recipe, spacing), tuple(shape), tuple(spacing), padding)

    def apply(images: tf.Tensor, parameters: Parameters, background: tf.Tensor, labels: Labels = _NONE) -> Any:
        # channels apart, outside of the program: over an innermost axis of one channel XLA's loops are not vectorised
        channels, moved = program(tf.unstack(images, axis=-1), parameters, background, dict(labels))
        return (tf.stack(channels, axis=-1), moved) if labels else tf.stack(channels, axis=-1)

    return apply


def _without_numbers(recipe: Recipe, spacing: Sequence[float]) -> Recipe:
    return tuple(each.without_numbers(spacing) for each in recipe)


# One program for all recipes that are the same but for their numbers.


@lru_cache(maxsize=64)
def _sampling(recipe: Recipe) -> Callable:
    @tf.function(jit_compile=True, autograph=False)
    def sample(seeds: tf.Tensor, numbers: Numbers) -> Parameters:
        return sample_parameters(recipe, seeds, numbers)

    return sample


@lru_cache(maxsize=64)
def _applying(recipe: Recipe, shape: tuple[int, ...], spacing: tuple[float, ...], padding: str) -> Callable:
    @tf.function(jit_compile=True, autograph=False)
    def apply(
        channels: Sequence[tf.Tensor], parameters: Parameters, background: tf.Tensor, labels: Labels
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        channels = [tf.ensure_shape(channel, (None, *shape)) for channel in channels]
        labels = {name: tf.ensure_shape(each, (None, *shape, *[None] * (each.shape.rank - 4)))
                  for name, each in labels.items()}  # fmt: skip
        result = apply_parameters(recipe, channels, parameters, background, spacing, padding, labels)
        return result if labels else (result, {})

    return apply


def apply_parameters(
    recipe: Recipe,
    channels: Sequence[tf.Tensor],
    parameters: Parameters,
    background: tf.Tensor,
    spacing: Sequence[float],
    padding: str = "background",
    labels: Labels = _NONE,
) -> Any:
    """Images changed by `recipe` with `parameters` of `sample_parameters`.

    Spatial transforms first, one field for all channels; then the others in their order, the same parameters for each
    channel by its own range and background, but noise of its own. Slow unless inside a `tf.function(jit_compile=True)`.

    Args:
        recipe: its numbers do not count.
        channels: (batch, x, y, z) each.
        parameters: one row per sample.
        background: (batch, channel), or (batch,) of one channel.
        spacing: (x, y, z) mm.
        padding: `background`, `border` or `reflect`.
        labels: (batch, x, y, z) or (batch, x, y, z, channel) of any whole numbers, by name.

    Returns:
        As many (batch, x, y, z) float32; with `labels` two things, the images and the labels as they were given.
    """
    background = tf.reshape(tf.cast(background, tf.float32), [-1, len(channels)])
    shape = channels[0].shape[1:]
    places = coordinates(recipe, parameters, shape, spacing)
    if places is not None:
        places = continued(places, shape, padding)
    changes = [
        (key, each) for key, each in zip(keys_of(recipe), recipe, strict=True) if isinstance(each, IntensityTransform)
    ]
    results = []
    for number, channel in enumerate(channels):
        air = background[:, number]
        result = tf.cast(channel, tf.float32) if places is None else resample(channel, places, air)
        drawn = {key: _of_channel(each, parameters[key], number) for key, each in changes}
        results.append(_change(changes, result, drawn, _scan(channel, air, spacing)))
    if not labels:
        return results
    return results, {name: each if places is None else nearest(each, places) for name, each in labels.items()}


def _scan(plane: tf.Tensor, background: tf.Tensor, spacing: Sequence[float]) -> Scan:
    # of the scan as it was prepared: interpolation does not leave this range, so one pass over the batch is saved
    background = background[:, None, None, None]
    low = tf.cast(tf.reduce_min(plane, axis=[1, 2, 3], keepdims=True), tf.float32)
    high = tf.cast(tf.reduce_max(plane, axis=[1, 2, 3], keepdims=True), tf.float32)
    x, y, z = spacing
    return Scan(tf.minimum(low, background), tf.maximum(high, background), background, (x, y, z))


def _of_channel(transform: IntensityTransform, drawn: Mapping[str, tf.Tensor], channel: int) -> dict[str, tf.Tensor]:
    """Numbers as (batch, 1, 1, 1), and in further channels another seed."""
    seeds = [name for name, random in transform.randoms().items() if random.kind == "seed"]
    result = {}
    for name, value in drawn.items():
        if name in seeds and channel:
            value = fold_in(value, [f"channel {channel}"])[:, 0]
        result[name] = value[:, None, None, None] if value.shape.rank == 1 else value
    return result


Changes = Sequence[tuple[str, IntensityTransform]]


def _change(changes: Changes, images: tf.Tensor, drawn: Parameters, scan: Scan) -> tf.Tensor:
    """`images` (batch, x, y, z) after all of `changes`."""
    for key, transform in changes:
        if transform.rare:
            images = _one_by_one(transform, images, drawn[key], scan)
            continue

        numbers = transform.measured(images, drawn[key], scan)

        def change(values: tf.Tensor) -> tf.Tensor:
            return tf.where(drawn[key]["drawn"], transform.apply(values, numbers, scan), values)  # noqa: B023

        images = _if_any(drawn[key]["drawn"], change, images) if transform.mixes else change(images)
        if transform.pointwise:
            known = tf.concat([scan.low, scan.high, scan.background], axis=3)
            low, high, background = tf.split(change(known), 3, axis=3)
            scan = replace(scan, low=low, high=high, background=background)
    return images


def _if_any(happens: tf.Tensor, change: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor) -> tf.Tensor:
    """`change` of the images, computed if it happens to any of them.

    In a loop of one turn or none, and not behind a condition: XLA does not compute in parallel on a CPU what stands
    behind a condition. The loop also keeps its input, which XLA would otherwise compute again for each tap of a filter.
    """
    turns = tf.cast(tf.reduce_any(happens), tf.int32)
    return tf.while_loop(lambda turn, _: turn < turns, lambda turn, kept: (turn + 1, change(kept)), (0, images))[1]


def _one_by_one(
    transform: IntensityTransform, images: tf.Tensor, drawn: Mapping[str, tf.Tensor], scan: Scan
) -> tf.Tensor:
    """`images` after `transform`, computed for those samples alone that drew it: a loop, for `_if_any`'s reasons."""
    happens = tf.reshape(drawn["drawn"], [-1])
    first = tf.argsort(tf.cast(~happens, tf.int32), stable=True)  # those that drew it stand first
    ends = {
        name: tf.broadcast_to(getattr(scan, name), [tf.size(happens), 1, 1, 1])
        for name in ("low", "high", "background")
    }

    def change(i: tf.Tensor, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        sample = first[i]
        own = {name: tf.gather(value, [sample]) for name, value in drawn.items()}
        of_sample = replace(scan, **{name: tf.gather(value, [sample]) for name, value in ends.items()})
        changed = transform.apply(tf.gather(images, [sample]), own, of_sample)
        return i + 1, tf.tensor_scatter_nd_update(images, [[sample]], changed)

    count = tf.reduce_sum(tf.cast(happens, tf.int32))
    return tf.while_loop(lambda i, _: i < count, change, (0, images))[1]
