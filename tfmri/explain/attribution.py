"""Attribution maps of a network for one number it gives: (n, x, y, z), on the grid of its input.

Gradients are signed: positive where more signal would raise the number. Class activation maps and occlusion are not of
single voxels: the former have the resolution of a layer, the latter that of its window.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

Score = Callable[[Any], Any]  # the model's outputs (n, outputs) -> (n,) tensor, the number that is explained
QUADRATURE = 48  # points of the integral
NOISE, DRAWS = 0.1, 12  # of SmoothGrad: sd as a share of each image's range, and how often
AT_ONCE = 8  # occluded images in a batch


def gradient(model: Any, images: np.ndarray, score: Score) -> np.ndarray:
    """Gradient of the score, summed over channels. Source: Simonyan et al. 2014, ICLR workshop."""
    return _gradients(model, score)(images).sum(axis=-1)


def smoothgrad(model: Any, images: np.ndarray, score: Score, seed: int = 0) -> np.ndarray:
    """Mean gradient over `DRAWS` noisy copies of each image. Source: Smilkov et al. 2017, arXiv:1706.03825."""
    gradients, random = _gradients(model, score), np.random.default_rng(seed)
    axes = tuple(range(1, images.ndim))
    sd = NOISE * (images.max(axis=axes, keepdims=True) - images.min(axis=axes, keepdims=True))
    noisy = (images + sd * random.standard_normal(images.shape, np.float32) for _ in range(DRAWS))
    return np.mean([gradients(each.astype(np.float32)) for each in noisy], axis=0).sum(axis=-1)


def integrated_gradients(model: Any, images: np.ndarray, score: Score, baseline: np.ndarray) -> np.ndarray:
    """Gradients along the straight way from `baseline`, times the difference: they sum to that of the scores.

    Args:
        model: a Keras model.
        images: (n, x, y, z, channel) float32.
        score: of its outputs.
        baseline: what is seen where there is nothing to see; broadcasts to `images`: the background of each channel.
    Source: Sundararajan et al. 2017, ICML; Gauss-Legendre quadrature with `QUADRATURE` points.
    """
    gradients = _gradients(model, score)
    places, weights = np.polynomial.legendre.leggauss(QUADRATURE)
    way = images - baseline
    total = np.zeros_like(images, np.float64)
    for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
        total += weight * gradients((baseline + place * way).astype(np.float32))
    return (total * way).sum(axis=-1)


def gradcam(model: Any, images: np.ndarray, score: Score, layer: str | None = None, plus: bool = False) -> np.ndarray:
    """Class activation map of a layer, rectified, brought to the grid of the input by linear interpolation; >= 0.

    Args:
        model: a Keras model.
        images: (n, x, y, z, channel) float32.
        score: of its outputs.
        layer: by name; None for the last one with more than one place along an axis.
        plus: Grad-CAM++.
    Sources: Selvaraju et al. 2017, ICCV, equations 1 and 2, pooled over all three axes; Chattopadhay et al. 2018, WACV,
    equation 19, for Grad-CAM++.
    """
    import keras
    import tensorflow as tf

    inner = model.get_layer(layer) if layer else last_layer_in_space(model)
    both = keras.Model(model.inputs, [inner.output, model.outputs[0]])

    @tf.function
    def map_of(batch):
        with tf.GradientTape() as tape:
            features, outputs = both(batch, training=False)
            tape.watch(features)
            number = tf.reduce_sum(score(tf.cast(outputs, tf.float32)))
        slopes = tape.gradient(number, features)
        if plus:
            whole = tf.reduce_sum(features, [1, 2, 3], keepdims=True)
            below = 2 * slopes**2 + whole * slopes**3
            alpha = tf.math.divide_no_nan(slopes**2, below)
            weights = tf.reduce_sum(alpha * tf.nn.relu(slopes), [1, 2, 3], keepdims=True)
        else:
            weights = tf.reduce_mean(slopes, [1, 2, 3], keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))

    maps = np.concatenate([map_of(tf.constant(image[None])).numpy() for image in images])  # one at a time: less memory
    return upsampled(maps, images.shape[1:4])


def occlusion(
    model: Any, images: np.ndarray, score: Score, background: np.ndarray, window: tuple[int, int, int]
) -> np.ndarray:
    """By how much the score falls where a window is filled with background, the mean over the windows of a voxel.

    Args:
        model: a Keras model.
        images: (n, x, y, z, channel) float32.
        score: of its outputs.
        background: (n, channel), what a window is filled with.
        window: (x, y, z) voxels; windows overlap by half.
    Source: Zeiler & Fergus 2014, ECCV.
    """
    import tensorflow as tf

    number = tf.function(lambda batch: score(tf.cast(model(batch, training=False), tf.float32)), reduce_retracing=True)
    shape = images.shape[1:4]
    starts = [range(0, max(1, size - side // 2), -(-side // 2)) for size, side in zip(shape, window, strict=True)]
    corners = [(i, j, k) for i in starts[0] for j in starts[1] for k in starts[2]]
    result = np.zeros(images.shape[:4])
    for image, air, total in zip(images, background, result, strict=True):
        whole, counts = float(number(tf.constant(image[None]))[0]), np.zeros(shape)
        for first in range(0, len(corners), AT_ONCE):
            places = [
                tuple(slice(low, low + side) for low, side in zip(corner, window, strict=True))
                for corner in corners[first : first + AT_ONCE]
            ]
            batch = np.repeat(image[None], len(places), axis=0)
            for each, place in zip(batch, places, strict=True):
                each[place] = air
            for place, reached in zip(places, number(tf.constant(batch)).numpy(), strict=True):
                total[place] += whole - reached
                counts[place] += 1
        total /= np.maximum(counts, 1)
    return result


def last_layer_in_space(model: Any) -> Any:
    """The last layer whose output (batch, x, y, z, features) has more than one place along each axis, or along any."""

    def sizes(layer: Any) -> tuple[int, ...]:
        shape = getattr(layer.output, "shape", ())
        return tuple(shape[1:4]) if len(shape) == 5 else ()

    for enough in (min, max):
        found = [layer for layer in model.layers[1:] if (size := sizes(layer)) and enough(size) > 1]
        if found:
            return found[-1]
    raise ValueError("the model has no layer with places in space")


def upsampled(maps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(n, i, j, k) at the centres of equal parts of a grid of `shape`, linearly interpolated; constant at the faces."""
    from scipy.ndimage import map_coordinates

    axes = [(np.arange(new) + 0.5) * old / new - 0.5 for new, old in zip(shape, maps.shape[1:], strict=True)]
    places = np.meshgrid(*axes, indexing="ij")
    return np.stack([map_coordinates(each, places, order=1, mode="nearest") for each in maps])


def _gradients(model: Any, score: Score) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    @tf.function
    def of(batch):
        with tf.GradientTape() as tape:
            tape.watch(batch)
            number = tf.reduce_sum(score(tf.cast(model(batch, training=False), tf.float32)))
        return tape.gradient(number, batch)

    return lambda images: np.concatenate([of(tf.constant(image[None])).numpy() for image in images])
