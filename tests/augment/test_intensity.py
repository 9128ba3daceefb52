import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from scipy.ndimage import gaussian_filter

from tfmri.augment.apply import apply_parameters, make_augment
from tfmri.augment.bias import log_gain
from tfmri.augment.contrast import piecewise
from tfmri.augment.philox import normal
from tfmri.augment.recipe import name_of, parse_recipe
from tfmri.augment.sampling import sample_parameters
from tfmri.augment.settings import RefusedError
from tfmri.augment.transform import IntensityTransform, ranges_of, settings_of
from tfmri.augment.transforms.intensity import (
    BiasField,
    Blur,
    Brightness,
    Contrast,
    Gamma,
    HistogramShift,
    Noise,
    PolynomialBias,
    Remap,
    RicianNoise,
    Sharpen,
    Window,
)

SHAPE, SPACING = (9, 12, 10), (2.0, 1.5, 3.0)
RNG = np.random.default_rng(5)
ZSCORED = RNG.normal(size=(4, *SHAPE)).astype("float32")
ZSCORED[:, :3] = AIR = -1.25  # not the lowest intensity
LOW, HIGH = (end(ZSCORED, axis=(1, 2, 3), keepdims=True).astype(float) for end in (np.min, np.max))

# Every setting that samples draw from, with all that it may be.
EXTREMES = {
    Gamma(): {"exponent": (0.1, 10)},
    Gamma(inverted=True): {"exponent": (0.1, 10)},
    Gamma(keep_statistics=True): {"exponent": (0.1, 10)},
    Gamma(inverted=True, keep_statistics=True): {"exponent": (0.1, 10)},
    Brightness(): {"factor": (0.1, 10), "shift": (-1, 1)},
    Brightness(about="zero"): {"factor": (0.1, 10), "shift": (-1, 1)},
    Contrast(): {"factor": (0.1, 10)},
    Contrast(keep_range=False): {"factor": (0.1, 10)},
    HistogramShift(control_points=3): {"strength": (0, 1)},
    HistogramShift(control_points=32): {"strength": (0, 1)},
    Remap(): {"strength": (0, 1)},
    Window(): {"lower": (0, 0.45), "upper": (0.55, 1)},
    BiasField(): {"strength": (0, 2)},
    PolynomialBias(order=1): {"strength": (0, 1)},
    PolynomialBias(order=4): {"strength": (0, 1)},
    Blur(): {"sigma": (0, 20)},
    Sharpen(): {"amount": (0, 10), "sigma": (0, 20)},
    Noise(): {"sd": (0, 1)},
    Noise(of="deviation"): {"sd": (0, 1)},
    RicianNoise(): {"sd": (0, 1)},
    RicianNoise(of="deviation"): {"sd": (0, 1)},
}


def shown(transform):
    switches = [
        f"{name}={value}" for name in settings_of(transform) if not isinstance(value := getattr(transform, name), tuple)
    ]
    return f"{name_of(transform)} {' '.join(switches[1:])}".strip()


ALL = pytest.mark.parametrize("transform", EXTREMES, ids=shown)
POINTWISE = pytest.mark.parametrize("transform", [each for each in EXTREMES if each.pointwise], ids=shown)


def drawn_by(transform, samples, seed=0, **numbers):
    """What `samples` draw, all of them, and `numbers` in place of what they would draw from the ranges."""
    seeds = tf.constant([[seed, i] for i in range(samples)], tf.int32)
    [(key, drawn)] = sample_parameters((dataclasses.replace(transform, probability=1.0),), seeds).items()
    for name, value in numbers.items():
        drawn[name] = tf.ones_like(drawn[name]) * np.float32(value)
    return {key: drawn}


def applied(transform, images, background=AIR, parameters=None, **numbers):
    """`images` (batch, x, y, z) after `transform`."""
    parameters = parameters or drawn_by(transform, len(images), **numbers)
    return applied_all((transform,), images, background, parameters)


def applied_all(recipe, images, background, parameters):
    background = tf.constant(np.full(len(images), background, "float32"))
    program = tuple(each.without_numbers(SPACING) for each in recipe)
    [result] = apply_parameters(program, [tf.constant(images)], parameters, background, SPACING)
    return result.numpy()


def column(*values):
    return np.reshape(values, (-1, 1, 1, 1)).astype(float)


# Contrast


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_raises_shares_of_the_scans_own_range_to_the_exponent(inverted):
    exponent = [0.5, 0.8, 1.7, 10]
    share = (ZSCORED - LOW) / (HIGH - LOW)
    expected = 1 - (1 - share) ** column(*exponent) if inverted else share ** column(*exponent)
    result = applied(Gamma(inverted=inverted), ZSCORED, exponent=exponent)
    np.testing.assert_allclose(result, LOW + (HIGH - LOW) * expected, atol=1e-5)


def batchgenerators_gamma(image, exponent, inverted):
    """Formulas of batchgeneratorsv2's GammaTransform with p_retain_stats=1, as nnU-Net uses it."""
    image = -image.astype(float) if inverted else image.astype(float)
    mean, sd, low, whole = image.mean(), image.std(), image.min(), np.ptp(image)
    bent = ((image - low) / whole) ** exponent * whole + low
    bent = (bent - bent.mean()) * sd / bent.std() + mean
    return -bent if inverted else bent


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_that_keeps_statistics_is_that_of_nnunet(inverted):
    exponent = [0.7, 0.9, 1.2, 1.5]
    result = applied(Gamma(inverted=inverted, keep_statistics=True), ZSCORED, exponent=exponent)
    for image, number, bent in zip(ZSCORED, exponent, result, strict=True):
        np.testing.assert_allclose(bent, batchgenerators_gamma(image, number, inverted), atol=1e-5)


def test_brightness_multiplies_what_lies_above_the_background():
    result = applied(Brightness(), ZSCORED, factor=[0.5, 0.9, 1.2, 3], shift=0)
    np.testing.assert_allclose(result, AIR + column(0.5, 0.9, 1.2, 3) * (ZSCORED - AIR), atol=1e-5)
    assert (result[ZSCORED == AIR] == np.float32(AIR)).all()


def test_brightness_about_zero_is_that_of_nnunet():
    """batchgenerators: ``data * multiplier``."""
    result = applied(Brightness(about="zero"), ZSCORED, factor=[0.5, 0.9, 1.2, 3], shift=0)
    np.testing.assert_allclose(result, ZSCORED * column(0.5, 0.9, 1.2, 3), atol=1e-5)


def test_a_shift_of_brightness_is_a_share_of_the_range():
    result = applied(Brightness(), ZSCORED, factor=1, shift=[-0.5, 0.1, 0.2, 1])
    np.testing.assert_allclose(result, ZSCORED + column(-0.5, 0.1, 0.2, 1) * (HIGH - LOW), atol=1e-5)


@pytest.mark.parametrize("keep_range", [False, True])
def test_contrast_is_that_of_batchgenerators(keep_range):
    """``augment_contrast``: about the mean, clipped to the image's own minimum and maximum with preserve_range."""
    factor = [0.5, 0.75, 1.25, 3]
    result = applied(Contrast(keep_range=keep_range), ZSCORED, factor=factor)
    for image, number, low, high, changed in zip(ZSCORED.astype(float), factor, LOW, HIGH, result, strict=True):
        expected = (image - image.mean()) * number + image.mean()
        np.testing.assert_allclose(changed, np.clip(expected, low, high) if keep_range else expected, atol=1e-5)


def test_a_histogram_shift_is_that_of_monai():
    """RandHistogramShift: points moved one after another between their neighbours, then ``np.interp``."""
    parameters = drawn_by(HistogramShift(), 4, strength=[1, 1, 1, 0.25])
    result = applied(HistogramShift(), ZSCORED, parameters=parameters)
    between = parameters["histogram_shift"]["points"].numpy()
    for image, u, strength, low, high, bent in zip(ZSCORED, between, [1, 1, 1, 0.25], LOW, HIGH, result, strict=True):
        reference = np.linspace(0, 1, 10)
        floating = reference.copy()
        for i in range(1, 9):
            floating[i] = floating[i - 1] + u[i - 1] * (floating[i + 1] - floating[i - 1])
        expected = np.interp(image, reference * np.ptp(image) + low.item(), floating * np.ptp(image) + low.item())
        np.testing.assert_allclose(bent, image + strength * (expected - image), atol=1e-5)
        assert high.item() == pytest.approx(bent.max(), abs=1e-5)


def test_lines_between_uneven_knots_are_those_of_interp():
    knots = np.sort(RNG.uniform(size=(4, 9)).astype("float32"), axis=1)
    places = np.sort(RNG.uniform(size=(4, 9)).astype("float32"), axis=1)
    knots[:, [0, -1]] = places[:, [0, -1]] = 0, 1
    result = piecewise(tf.constant(ZSCORED), tf.constant(knots), tf.constant(places - knots),
                       tf.constant(LOW, tf.float32), tf.constant(HIGH, tf.float32)).numpy()  # fmt: skip
    for image, x, y, low, high, bent in zip(ZSCORED, knots, places, LOW.ravel(), HIGH.ravel(), result, strict=True):
        np.testing.assert_allclose(bent, np.interp(image, low + x * (high - low), low + y * (high - low)), atol=1e-4)


def test_remapping_follows_the_bezier_curve_of_models_genesis():
    """``nonlinear_transformation``: a hundred thousand points of the curve, both coordinates sorted, ``np.interp``."""
    images = np.repeat(ZSCORED, 10, axis=0)
    parameters = drawn_by(Remap(), 40, strength=1)
    result = applied(Remap(), images, parameters=parameters)
    t = np.linspace(0, 1, 100_000)
    away = []
    for image, (x, y), bent in zip(images, parameters["remap"]["points"].numpy(), result, strict=True):
        curve = [np.sort(3 * (1 - t) ** 2 * t * a + 3 * (1 - t) * t**2 * b + t**3) for a, b in (x, y)]
        share = (image - image.min()) / np.ptp(image)
        away.append(np.abs((bent - image.min()) / np.ptp(image) - np.interp(share, *curve)).max())
    assert np.median(away) < 0.003 and max(away) < 0.04


def test_a_window_is_clipped_and_stretched_to_the_range():
    lower, upper = column(0.1, 0, 0.45, 0.2), column(0.9, 0.55, 0.55, 1)
    result = applied(Window(), ZSCORED, lower=lower.ravel(), upper=upper.ravel())
    share = (ZSCORED - LOW) / (HIGH - LOW)
    np.testing.assert_allclose(result, LOW + (HIGH - LOW) * np.clip((share - lower) / (upper - lower), 0, 1), atol=3e-5)


@dataclasses.dataclass(frozen=True)
class Reveal(IntensityTransform):
    """Shows what a transform knows of the scan, in the first voxels."""

    pointwise = False
    probability: float = 1.0

    def apply(self, images, drawn, scan):
        flat = tf.reshape(images, [tf.shape(images)[0], -1])
        ends = [
            tf.reshape(tf.broadcast_to(each, [len(flat), 1, 1, 1]), [-1, 1])
            for each in (scan.low, scan.high, scan.background)
        ]
        return tf.reshape(tf.concat([*ends, flat[:, 3:]], axis=1), tf.shape(images))


@POINTWISE
def test_pointwise_transforms_rise_and_move_range_and_background_as_they_move_voxels(transform):
    images = ZSCORED.copy().reshape(4, -1)
    images[:, 3], images[:, 4], images[:, 5] = LOW.ravel(), HIGH.ravel(), AIR
    [(key, drawn)] = drawn_by(transform, 4, seed=3).items()
    for name, (low, high) in EXTREMES[transform].items():
        drawn[name] = tf.constant(RNG.uniform(low, high, size=4), tf.float32)
    parameters = {key: drawn, f"{__name__}:Reveal": {"drawn": tf.fill([4], True)}}
    result = applied_all((transform, Reveal()), images.reshape(4, *SHAPE), AIR, parameters).reshape(4, -1)
    scale = np.abs(result).max()
    np.testing.assert_allclose(result[:, :3], result[:, 3:6], atol=1e-6 * scale)
    assert (np.abs(result - images)[:, 3:].max(axis=1) > 1e-3).all()
    for before, after in zip(images[:, 3:], result[:, 3:], strict=True):
        assert np.diff(after[np.argsort(before)]).min() >= -1e-6 * scale


@pytest.mark.parametrize("transform", [Gamma(), Gamma(inverted=True), HistogramShift(), Remap()], ids=shown)
def test_noise_beyond_the_range_is_neither_clipped_nor_bent(transform):
    noise = Noise()
    parameters = drawn_by(noise, 4, sd=0.3) | drawn_by(transform, 4)
    noisy = applied(noise, ZSCORED, parameters=parameters)
    result = applied_all((noise, transform), ZSCORED, AIR, parameters)
    beyond = (noisy < LOW) | (noisy > HIGH)
    assert beyond.sum() > 100
    np.testing.assert_allclose(result[beyond], noisy[beyond], atol=1e-5)


# Fields


def test_the_logarithm_of_the_bias_field_has_mean_0_and_the_expected_spread():
    seeds = tf.constant([[i, -i] for i in range(40)], tf.int32)
    field = log_gain(normal(seeds, (5, 5, 5)), (14, 17, 12)).numpy()
    np.testing.assert_allclose(field.mean(axis=(1, 2, 3)), 0, atol=1e-5)
    assert np.sqrt((field**2).mean()) == pytest.approx(1, rel=0.15)


def test_the_bias_field_is_smooth():
    """The step between voxels shrinks with their distance, as it does for a field that can be differentiated."""
    control = normal(tf.constant([[i, -i] for i in range(4)], tf.int32), (4, 4, 4))
    steps = [np.abs(np.diff(log_gain(control, (n, 5, 5)).numpy(), axis=1)).max() for n in (17, 33, 65)]
    assert steps[0] / steps[1] == pytest.approx(2, rel=0.15) and steps[1] / steps[2] == pytest.approx(2, rel=0.1)


def test_the_bias_field_multiplies_what_is_above_the_background():
    parameters = drawn_by(BiasField(), 4, strength=[0.1, 0.2, 0.3, 1])
    result = applied(BiasField(), ZSCORED, parameters=parameters)
    logarithm = column(0.1, 0.2, 0.3, 1) * log_gain(parameters["bias_field"]["control"], SHAPE).numpy()
    np.testing.assert_allclose(result, AIR + (ZSCORED - AIR) * np.exp(logarithm), atol=1e-4)
    assert (result[ZSCORED == AIR] == np.float32(AIR)).all()


@pytest.mark.parametrize("order", [1, 3, 4])
def test_the_polynomial_bias_is_the_exponential_of_all_terms_up_to_the_order(order):
    transform, strength = PolynomialBias(order=order), [0.1, 0.5, 0.5, 1]
    parameters = drawn_by(transform, 4, strength=strength)
    result = applied(transform, ZSCORED, parameters=parameters)
    i, j, k = np.indices((order + 1,) * 3)
    axes = [np.linspace(-1, 1, n) for n in SHAPE]
    for image, u, most, changed in zip(
        ZSCORED, parameters["polynomial_bias"]["coefficients"].numpy(), strength, result, strict=True
    ):
        coefficients = np.where(i + j + k <= order, most * (2 * u.astype(float) - 1), 0)
        assert np.count_nonzero(coefficients) == math.comb(order + 3, 3)
        gain = np.exp(np.polynomial.polynomial.polygrid3d(*axes, coefficients))
        np.testing.assert_allclose(changed, AIR + (image - AIR) * gain, rtol=1e-4, atol=1e-4)
    assert (result[ZSCORED == AIR] == np.float32(AIR)).all()


# Sharpness


def test_sharpening_adds_what_a_gaussian_would_blur_away():
    sigma, amount = [0.5, 1, 1.5, 2], [0.3, 1, 2, 10]
    result = applied(Sharpen(sigma=(0.5, 2)), ZSCORED, sigma=sigma, amount=amount)
    for image, mm, share, sharp in zip(ZSCORED.astype(float), sigma, amount, result, strict=True):
        radius = [math.ceil(3 * 2 / spacing) for spacing in SPACING]
        blurred = gaussian_filter(image, [mm / spacing for spacing in SPACING], mode="nearest", radius=radius)
        np.testing.assert_allclose(sharp, image + share * (image - blurred), atol=1e-4)


# Noise


@pytest.mark.parametrize(("of", "unit"), [("range", 2.0), ("deviation", 0.5)])
def test_noise_is_white_gaussian_in_shares_of_range_or_deviation(of, unit):
    images = np.zeros((3, 40, 42, 38), "float32")
    images[:, :, :, ::2] = 1.0  # deviation 0.5, and with a background of -1 a range of 2
    result = applied(Noise(of=of), images, background=-1, sd=[0.5, 0.1, 0.5]) - images
    for sample, sd in zip(result, [0.5, 0.1, 0.5], strict=True):
        assert stats.kstest(sample.ravel() / (sd * unit), "norm").pvalue > 1e-3
        for axis in range(3):
            neighbours = np.corrcoef(sample.ravel(), np.roll(sample, 1, axis).ravel())[0, 1]
            assert abs(neighbours) < 5 / np.sqrt(sample.size)
    assert abs(np.corrcoef(result[0].ravel(), result[2].ravel())[0, 1]) < 5 / np.sqrt(result[0].size)


@pytest.mark.parametrize(("of", "unit"), [("range", 4.0), ("deviation", 1.5)])
def test_rician_noise_has_the_distribution_of_gudbjartsson_and_patz(of, unit):
    images = np.full((2, 30, 32, 34), AIR, "float32")
    images[:, ::2] += 3
    images[:, 0, 0, 0], images[:, 0, 0, 1] = AIR + 4, AIR  # the range; the deviation is that of the two halves
    sd = 0.25 * unit
    result = applied(RicianNoise(of=of), images, sd=0.25).astype(float) - AIR
    for signal, some in ((0, result[0, 1::2]), (3, result[1, 2::2])):
        distribution = stats.rice(signal / sd, scale=sd)
        assert stats.kstest(some.ravel(), distribution.cdf).pvalue > 1e-3
        assert some.mean() == pytest.approx(distribution.mean(), rel=0.01)
        assert (some**2).mean() == pytest.approx(signal**2 + 2 * sd**2, rel=0.02)
    assert abs(np.corrcoef(result[0, 1::2].ravel(), result[1, 1::2].ravel())[0, 1]) < 0.04


def test_what_lies_below_the_background_gets_rician_noise_as_air_does():
    images = np.full((2, 20, 20, 20), AIR, "float32")
    images[0] -= 2
    images[:, 0, 0, 0] = AIR + 8
    result = applied(RicianNoise(), images, sd=0.1) - AIR
    assert stats.kstest(result[0, 1:].ravel() + 2, stats.rayleigh(scale=1).cdf).pvalue > 1e-3
    assert stats.kstest(result[1, 1:].ravel(), stats.rayleigh(scale=0.8).cdf).pvalue > 1e-3


# All of them

# Constant ones, air at and below their intensity; large numbers; air within and above the others; one bright voxel.
ODD = np.stack([np.full(SHAPE, 2.5), np.full(SHAPE, 2.5), 4e3 * ZSCORED[0], ZSCORED[1], ZSCORED[2], np.zeros(SHAPE)])
ODD = ODD.astype("float32")
ODD[5, 4, 5, 6] = 1
ODD_AIR = np.array([2.5, 0, -5e3, 0.5, 9, 0], "float32")


@ALL
def test_every_range_may_go_to_its_extremes_and_no_further(transform):
    settings = settings_of(transform)
    assert {setting.name for setting in ranges_of(transform)} == set(EXTREMES[transform])
    for name, (low, high) in EXTREMES[transform].items():
        check = settings[name].metadata["check"]
        assert check([low, high]) == (low, high)
        for beyond in ([low - 1e-3, high], [low, high + 1e-3]):
            with pytest.raises(RefusedError):
                check(beyond)


@ALL
def test_numbers_that_ask_for_no_change_make_none(transform):
    neutral = {setting.name: setting.metadata["neutral"] for setting in ranges_of(transform)}
    for images, background in ((ZSCORED, AIR), (ODD, 2.5)):
        np.testing.assert_array_equal(applied(transform, images, background, **neutral), images)


@ALL
def test_results_are_finite_over_all_ranges(transform):
    """At the ends of the ranges and between, for images of every kind."""
    extreme = dataclasses.replace(transform, **EXTREMES[transform])
    for seed in range(3):
        [(key, drawn)] = drawn_by(extreme, len(ODD), seed=seed).items()
        for name, ends in EXTREMES[transform].items():
            values = drawn[name].numpy()
            at_an_end = RNG.random(values.shape) < 0.5
            drawn[name] = tf.constant(np.where(at_an_end, RNG.choice(ends, values.shape), values), tf.float32)
        assert np.isfinite(applied(extreme, ODD, ODD_AIR, {key: drawn})).all()


# The same compiled, one after another in one program, which ranges and probabilities enter as numbers.
TOGETHER = (
    Noise(of="deviation"),
    Brightness(),
    Contrast(),
    Gamma(inverted=True, keep_statistics=True),
    HistogramShift(control_points=5),
    Remap(),
    BiasField(),
    PolynomialBias(order=4),
    Sharpen(sigma=(0.0, 3.0)),
    Window(),
    RicianNoise(),
)


def compiled(settings_for):
    recipe = tuple(dataclasses.replace(each, **settings_for(each)) for each in TOGETHER)
    return make_augment(recipe, SHAPE, SPACING)


def seeds_of(first):
    return np.array([[first, i] for i in range(len(ODD))], "int32")


def test_what_is_not_drawn_is_not_touched():
    result = compiled(lambda _: {"probability": 0.0})(ODD[..., None], seeds_of(0), ODD_AIR).numpy()
    np.testing.assert_array_equal(result[..., 0], ODD)


def test_what_changes_nothing_changes_nothing_in_the_compiled_program_either():
    def neutral(transform):
        points = {each.name: (each.metadata["neutral"],) * 2 for each in ranges_of(transform)}
        return {"probability": 1.0} | (points | {"sigma": (0.0, 3.0)} if isinstance(transform, Sharpen) else points)

    result = compiled(neutral)(ODD[..., None], seeds_of(0), ODD_AIR).numpy()
    np.testing.assert_array_equal(result[..., 0], ODD)


def test_results_of_many_transforms_in_a_row_are_finite():
    def extreme(transform):
        [ends, *_] = [ends for each, ends in EXTREMES.items() if isinstance(each, type(transform))]
        return {"probability": 0.4} | (ends | {"sigma": (0.0, 3.0)} if isinstance(transform, Sharpen) else ends)

    augment = compiled(extreme)
    results = np.stack([augment(ODD[..., None], seeds_of(seed), ODD_AIR).numpy()[..., 0] for seed in range(20)])
    assert np.isfinite(results).all()
    assert (results != ODD)[:, 2:].any(axis=(2, 3, 4)).mean() > 0.9  # in constant ones there is little to change


def test_recipes_know_them_by_name():
    names = ["gamma", "brightness", "contrast", "histogram_shift", "remap", "window", "bias_field", "polynomial_bias",
             "blur", "sharpen", "noise", "rician_noise"]  # fmt: skip
    assert {type(each) for each in parse_recipe(names)} == {type(each) for each in EXTREMES}
