"""Attribution maps of a network for one number it gives: (n, x, y, z), on the grid of its input.

Gradients are signed: positive where more signal would raise the number. Class activation maps and occlusion are not of
single voxels: the former have the resolution of a layer, the latter that of its window.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Score = Callable[[Any], Any]  # the model's outputs (n, outputs) -> (n,) tensor, the number that is explained
QUADRATURE = (32, 64, 128, 256, 512)  # points of the integral, more of them until it is complete
COMPLETE = 0.01  # of the difference of the scores that may be missing
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


def integrated_gradients(
    model: Any, images: np.ndarray, score: Score, baseline: np.ndarray, points: Sequence[int] = QUADRATURE
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients along the straight way from `baseline`, times the difference: they sum to that of the scores.

    Args:
        model: a Keras model.
        images: (n, x, y, z, channel) float32.
        score: of its outputs.
        baseline: what is seen where there is nothing to see; broadcasts to `images`: the background of each channel.
        points: of the quadrature, tried one after another until `COMPLETE`.

    Returns:
        (n, x, y, z), and (n,) what is missing of the difference between the scores of image and baseline, as a share of
        it: Gauss-Legendre quadrature, its points doubled until that is within `COMPLETE`, as far as `points` go.
        NaN where the two scores are the same.

    Source: Sundararajan et al. 2017, ICML; the sum is their proposition 1.
    """
    gradients, number = _gradients(model, score), _number(model, score)
    maps, missing = [], []
    for image, start in zip(images, np.broadcast_to(baseline, images.shape), strict=True):
        way, difference = image - start, float(number(image[None])[0] - number(start[None])[0])
        for count in points:
            places, weights = np.polynomial.legendre.leggauss(count)
            total = np.zeros(image.shape)
            for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
                total += weight * gradients((start + place * way).astype(np.float32)[None])[0]
            found = (total * way).sum(axis=-1)
            error = abs(found.sum() - difference)
            if error <= COMPLETE * abs(difference):
                break
        maps.append(found)
        missing.append(error / abs(difference) if difference else np.nan)
    return np.stack(maps), np.array(missing)


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

    inner = model.get_layer(layer or last_layer_in_space(model))
    both = keras.Model(model.inputs, [inner.output, model.outputs[0]])

    def map_of(batch: Any) -> Any:
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

    of = _compiled(map_of, model)
    maps = np.concatenate([of(image[None]) for image in images])  # one at a time: less memory
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
    number = _number(model, score)
    shape = images.shape[1:4]
    starts = [range(0, max(1, size - side // 2), -(-side // 2)) for size, side in zip(shape, window, strict=True)]
    corners = [(i, j, k) for i in starts[0] for j in starts[1] for k in starts[2]]
    result = np.zeros(images.shape[:4])
    for image, air, total in zip(images, background, result, strict=True):
        whole, counts = float(number(image[None])[0]), np.zeros(shape)
        for first in range(0, len(corners), AT_ONCE):
            places = [
                tuple(slice(low, low + side) for low, side in zip(corner, window, strict=True))
                for corner in corners[first : first + AT_ONCE]
            ]
            batch = np.repeat(image[None], len(places), axis=0)
            for each, place in zip(batch, places, strict=True):
                each[place] = air
            for place, reached in zip(places, number(batch), strict=True):
                total[place] += whole - reached
                counts[place] += 1
        total /= np.maximum(counts, 1)
    return result


def layers_in_space(model: Any) -> dict[str, tuple[int, int, int]]:
    """The layers whose output is (batch, x, y, z, features), in their order, and how many places each has."""
    shapes = {layer.name: tuple(getattr(layer.output, "shape", ())) for layer in model.layers[1:]}
    return {name: shape[1:4] for name, shape in shapes.items() if len(shape) == 5}


def last_layer_in_space(model: Any) -> str:
    """The last layer with more than one place along each axis, or along any."""
    layers = layers_in_space(model)
    for enough in (min, max):
        if found := [name for name, size in layers.items() if enough(size) > 1]:
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

    def gradients(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(batch)
            number = tf.reduce_sum(score(tf.cast(model(batch, training=False), tf.float32)))
        return tape.gradient(number, batch)

    of = _compiled(gradients, model)
    return lambda images: np.concatenate([of(image[None]) for image in images])


def _number(model: Any, score: Score) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    return _compiled(lambda batch: score(tf.cast(model(batch, training=False), tf.float32)), model)


def _compiled(function: Callable[[Any], Any], model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """`function` of images of the model, traced once for batches of any size."""
    import tensorflow as tf

    batch = tf.TensorSpec((None, *model.inputs[0].shape[1:]), tf.float32)
    traced = tf.function(function).get_concrete_function(batch)
    return lambda images: traced(tf.constant(images, tf.float32)).numpy()
