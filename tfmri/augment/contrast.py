"""New intensities for old ones, the same wherever they stand: pointwise, rising functions of an intensity.

Intensities are those of prepared scans, in whatever units the normalisation has left; they may be negative. What the
functions need to know of a scan is its range, `low` to `high`, and of some its background or its mean. Numbers are
(batch, 1, 1, 1) and broadcast against `values` (batch, ...) of four axes. The functions that bend the range leave its
ends where they are, and what lies beyond, noise say, as far beyond as it was. Numbers that ask for no change give
`values` bit for bit.
"""

import numpy as np
import tensorflow as tf

from tfmri.augment import moments

Line = tuple[tf.Tensor, tf.Tensor, tf.Tensor]


def gamma(
    values: tf.Tensor,
    exponent: tf.Tensor,
    low: tf.Tensor,
    high: tf.Tensor,
    inverted: bool = False,
    line: Line | None = None,
) -> tf.Tensor:
    """``low + (high - low) ((values - low) / (high - low)) ** exponent``; an exponent of 1 changes nothing.

    `inverted` does the same to the negated intensities, and negates them again. `line`, as from `same_moments`, comes
    last.

    Source: nnU-Net's and MONAI's gamma, which map each image by its own range too (Isensee et al. 2021, Nature
    Methods 18, supplement).
    """
    whole = high - low
    share = _share(high - values if inverted else values - low, whole)
    # not tf.pow, which XLA does not vectorise on a CPU: log(0) is -inf and exp(-inf) is 0, as it should be
    change = whole * (tf.exp(exponent * tf.math.log(share)) - share)
    result = values - change if inverted else values + change
    if line is not None:
        centre, ratio, mean = line
        result = (result - centre) * ratio + mean
    return tf.where(exponent == 1.0, values, result)


def same_moments(values: tf.Tensor, bent: tf.Tensor, whole: tf.Tensor) -> Line:
    """Centre, ratio and mean, ``(bent - centre) ratio + mean``, that give images `bent` the moments of images `values`.

    These are mean and standard deviation. Images without contrast, less than a millionth of `whole`, their range, keep
    what they have.
    """
    after = moments.deviation(bent)
    ratio = tf.where(after > 1e-6 * whole, tf.math.divide_no_nan(moments.deviation(values), after), 1.0)
    return moments.mean(bent), ratio, moments.mean(values)


def brightened(
    values: tf.Tensor, factor: tf.Tensor, shift: tf.Tensor, about: tf.Tensor | float, whole: tf.Tensor
) -> tf.Tensor:
    """``about + factor (values - about) + shift whole``, with `whole` the extent of the range."""
    return values + (values - about) * (factor - 1) + shift * whole


def stretched(
    values: tf.Tensor, factor: tf.Tensor, mean: tf.Tensor, ends: tuple[tf.Tensor, tf.Tensor] | None = None
) -> tf.Tensor:
    """``mean + factor (values - mean)``, clipped to what lies between `ends`; a factor of 1 changes nothing.

    Source: `augment_contrast` of batchgenerators (Isensee et al. 2020), which nnU-Net uses.
    """
    result = values + (values - mean) * (factor - 1)
    if ends is None:
        return result
    return tf.where(factor == 1.0, values, tf.minimum(tf.maximum(result, ends[0]), ends[1]))


def windowed(values: tf.Tensor, lower: tf.Tensor, upper: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """What lies from share `lower` to share `upper` of the range, stretched to all of it; the rest is clipped.

    0 and 1 change nothing.
    """
    whole = high - low
    share = tf.math.divide_no_nan(values - low, whole)
    result = low + whole * tf.clip_by_value((share - lower) / (upper - lower), 0.0, 1.0)
    return tf.where((lower == 0.0) & (upper == 1.0), values, result)


def piecewise(values: tf.Tensor, knots: tf.Tensor, moves: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Straight lines between knots: an intensity at share `knots` of the range moves by the share `moves`.

    Rises where ``knots + moves`` does. Without gathers, so that XLA fuses it with its neighbours.

    Args:
        values: (batch, ...) of four axes.
        knots: (batch, n), rising from 0 to 1.
        moves: (batch, n), 0 at both ends.
        low, high: (batch, 1, 1, 1).
    """
    whole = high - low
    share = tf.math.divide_no_nan(values - low, whole)
    width = knots[:, 1:] - knots[:, :-1]
    slope = tf.math.divide_no_nan(moves[:, 1:] - moves[:, :-1], width)

    def number(column: tf.Tensor) -> tf.Tensor:
        return column[:, None, None, None]

    change = 0.0
    for start, wide, steep in zip(*(tf.unstack(each, axis=1) for each in (knots[:, :-1], width, slope)), strict=True):
        change += number(steep) * tf.minimum(tf.maximum(share - number(start), 0.0), number(wide))
    return values + whole * change


def shifted_histogram(u: tf.Tensor, strength: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Knots and moves (batch, n) of equidistant points, moved one after another between the last and the next.

    Args:
        u: (batch, n - 2), where between the last point, as moved, and the next, unmoved: 0 to 1.
        strength: (batch, 1, 1, 1) share of the way; 0 moves nothing.

    Source: MONAI's RandHistogramShift.
    """
    knots = tf.linspace(0.0, 1.0, u.shape[1] + 2)
    points = [tf.zeros_like(u[:, 0])]
    for k in range(u.shape[1]):
        points.append(points[-1] + u[:, k] * (knots[k + 2] - points[-1]))
    points.append(tf.ones_like(u[:, 0]))
    knots = tf.broadcast_to(knots, tf.stack([tf.shape(u)[0], len(points)]))
    return knots, strength[:, 0, 0] * (tf.stack(points, axis=1) - knots)


_PIECES = 16  # usually within 0.002 of the curve


def bezier(control: tf.Tensor, strength: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Knots and moves (batch, 17) on the cubic Bézier curve from (0, 0) to (1, 1).

    Both of its coordinates rise along a curve whose control points lie in the unit square: it is a rising function,
    and sorting, as the source does, would change nothing.

    Args:
        control: (batch, 2, 2), of x and y the two control points between the ends: 0 to 1.
        strength: (batch, 1, 1, 1) share of the way from the straight line; 0 moves nothing.

    Source: Zhou et al. 2021 (Models Genesis), Medical Image Analysis 67.
    """
    t = np.linspace(0, 1, _PIECES + 1)
    first, second = control[:, :, :1], control[:, :, 1:]
    x, y = tf.unstack(first * (3 * t * (1 - t) ** 2) + second * (3 * t**2 * (1 - t)) + t**3, axis=1)
    x += 1e-4 * (t - x)  # no two knots are one
    return x, strength[:, 0, 0] * (y - x)


def _share(above: tf.Tensor, whole: tf.Tensor) -> tf.Tensor:
    return tf.clip_by_value(tf.math.divide_no_nan(above, whole), 0.0, 1.0)
