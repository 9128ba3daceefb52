"""What changes intensities: contrast of the tissue, sensitivity of the coil, sharpness, noise of the receiver.

Shares are those of the scan's range (`Scan`): from its lowest to its highest intensity as it was prepared, and moved by
the pointwise transforms before. What a transform leaves beyond that range is neither clipped nor bent by the next.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from tfmri.augment.settings import Interval, between, chance, choice, count, derived, switch, up_to
from tfmri.augment.transform import Drawn, IntensityTransform, Random, Scan


@dataclass(frozen=True)
class Gamma(IntensityTransform):
    """Bends the contrast: the scan's own range is mapped to 0..1, raised to an exponent, and mapped back.

    The exponent is drawn so that its logarithm is uniform in the interval: 0.5 is as likely as 2. With `inverted: true`
    it bends the negated intensities, which changes bright tissue most, not dark. With `keep_statistics: true` the
    image's mean and standard deviation, air included, are restored afterwards.
    Source: nnU-Net (Isensee et al. 2021, Nature Methods 18, supplement), which has both, with `keep_statistics`.
    """

    pointwise = True

    probability: float = chance(0.3)
    exponent: Interval = between(0.75, 1.33, within=(0.1, 10), neutral=1, log=True)
    inverted: bool = switch(False)
    keep_statistics: bool = switch(False)

    def measured(self, images, drawn: Drawn, scan: Scan) -> Drawn:
        from tfmri.augment import contrast

        if not self.keep_statistics:
            return drawn
        bent = contrast.gamma(images, drawn["exponent"], scan.low, scan.high, self.inverted)
        return {**drawn, "line": contrast.same_moments(images, bent, scan.high - scan.low)}

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import contrast

        return contrast.gamma(images, drawn["exponent"], scan.low, scan.high, self.inverted, drawn.get("line"))


@dataclass(frozen=True)
class Brightness(IntensityTransform):
    """Multiplies intensity by a factor, and adds a share of the scan's range.

    Of a signal, a gain of the receiver multiplies what lies above the background: air stays air, in z-scored scans
    too. Where the background is 0 that is the same as multiplying the intensities themselves. In z-scored scans 0 is
    the mean of the head, and multiplying about it changes contrast, and air with it; nnU-Net does so:
    `about: zero`.
    Source: the factor is nnU-Net's (Isensee et al. 2021, Nature Methods 18, supplement), the shift MONAI's
    RandShiftIntensity, in shares of the range.
    """

    pointwise = True

    probability: float = chance(0.2)
    factor: Interval = between(0.75, 1.25, within=(0.1, 10), neutral=1)
    shift: Interval = up_to(0.1, most=1, signed=True)
    about: str = choice("background", "zero")

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import contrast

        about = 0.0 if self.about == "zero" else scan.background
        return contrast.brightened(images, drawn["factor"], drawn["shift"], about, scan.high - scan.low)


@dataclass(frozen=True)
class Contrast(IntensityTransform):
    """Multiplies the distance of each intensity from the image's mean, air included, by a factor.

    `keep_range: true` clips the result to the range that the image had before.
    Source: nnU-Net (Isensee et al. 2021, Nature Methods 18, supplement), which keeps the range.
    """

    pointwise = True

    probability: float = chance(0.2)
    factor: Interval = between(0.75, 1.25, within=(0.1, 10), neutral=1)
    keep_range: bool = switch(True)

    def measured(self, images, drawn: Drawn, scan: Scan) -> Drawn:
        from tfmri.augment import moments

        return {**drawn, "mean": moments.mean(images), "ends": moments.ends(images) if self.keep_range else None}

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import contrast

        return contrast.stretched(images, drawn["factor"], drawn["mean"], drawn["ends"])


@dataclass(frozen=True)
class HistogramShift(IntensityTransform):
    """Bends the scan's range along a random rising line of straight pieces.

    `control_points` lie at equal distances from lowest to highest intensity; all but these two are moved, one after
    another, to anywhere between the last, as moved, and the next. Fewer points make larger shifts. `strength` is the
    share of the way that is gone.
    Source: MONAI's RandHistogramShift, which goes all of it: `strength: [1, 1]`.
    """

    pointwise = True

    probability: float = chance(0.2)
    strength: Interval = up_to(1.0, most=1)
    control_points: int = count(10, 3, 32)

    def randoms(self) -> dict[str, Random]:
        return {"points": Random("uniform", (self.control_points - 2,))}

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import contrast

        knots, moves = contrast.shifted_histogram(drawn["points"], drawn["strength"])
        return contrast.piecewise(images, knots, moves, scan.low, scan.high)


@dataclass(frozen=True)
class Remap(IntensityTransform):
    """Bends the scan's range along a random rising Bézier curve: smooth, and often far from straight.

    Its two control points lie anywhere in the square of old and new intensities. `strength` is the share of the way
    from the straight line to the curve.
    Source: the non-linear transformation of Zhou et al. 2021 (Models Genesis), Medical Image Analysis 67,
    which goes all of the way, `strength: [1, 1]`; its falling curves, which turn bright into dark, are left out.
    """

    pointwise = True

    probability: float = chance(0.2)
    strength: Interval = up_to(1.0, most=1)

    def randoms(self) -> dict[str, Random]:
        return {"points": Random("uniform", (2, 2))}

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import contrast

        knots, moves = contrast.bezier(drawn["points"], drawn["strength"])
        return contrast.piecewise(images, knots, moves, scan.low, scan.high)


@dataclass(frozen=True)
class Window(IntensityTransform):
    """Clips intensities to a window of the scan's range, and stretches it back to the range, as a viewer's window does.

    `lower` and `upper` are shares of the range.
    """

    pointwise = True

    probability: float = chance(0.2)
    lower: Interval = between(0.0, 0.05, within=(0, 0.45), neutral=0)
    upper: Interval = between(0.8, 1.0, within=(0.55, 1), neutral=1)

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import contrast

        return contrast.windowed(images, drawn["lower"], drawn["upper"], scan.low, scan.high)


@dataclass(frozen=True)
class BiasField(IntensityTransform):
    """Multiplies intensity above the background with a smooth positive field, as a receive coil does.

    `strength` is the standard deviation, over the image, of the field's logarithm (0.2: some ±20 %); each sample draws
    its own. The field's geometric mean over the image is 1.
    Source: the exponentiated coarse Gaussian field of Billot et al. 2023 (SynthSeg), Medical Image Analysis 86.
    """

    probability: float = chance(0.5)
    strength: Interval = up_to(0.2, most=2)
    control_points: int = count(5, 4, 32)  # along each axis

    def randoms(self) -> dict[str, Random]:
        return {"control": Random("normal", (self.control_points,) * 3)}

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import bias

        return bias.bias_field(images, drawn["strength"], drawn["control"], scan.background)


@dataclass(frozen=True)
class PolynomialBias(IntensityTransform):
    """Multiplies intensity above the background with the exponential of a random polynomial of the coordinates.

    These go from -1 to 1 along each axis. Every term up to `order` has a coefficient drawn uniformly from ± the
    strength that the sample drew; that of order 0 makes all of the head brighter or darker.
    Source: TorchIO's RandomBiasField, `strength: [0.5, 0.5]`; the model is that of Van Leemput et al. 1999, IEEE
    Transactions on Medical Imaging 18(10), 885-896.
    """

    probability: float = chance(0.5)
    strength: Interval = up_to(0.5, most=1)
    order: int = count(3, 1, 4)

    def randoms(self) -> dict[str, Random]:
        return {"coefficients": Random("uniform", (self.order + 1,) * 3)}

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import bias

        return bias.polynomial_bias(images, drawn["strength"], 2 * drawn["coefficients"] - 1, scan.background)


@dataclass(frozen=True)
class Blur(IntensityTransform):
    """Smooths with a Gaussian, of a width of its own along each axis, or with `isotropic: true` of one for all.

    The kernel reaches to 3 standard deviations and is normalised; beyond its border the image is continued by its
    outermost voxels.
    """

    mixes = True

    probability: float = chance(0.2)
    sigma: Interval = between(0.0, 1.0, within=(0, 20), neutral=0, unit="mm", per_axis=True, same_if="isotropic")
    isotropic: bool = switch(False)
    reach: tuple[int, ...] = derived()  # voxels of the kernel to either side

    def without_numbers(self, spacing: Sequence[float]) -> Self:
        return replace(super().without_numbers(spacing), reach=_reach(self.sigma[1], spacing))

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import filters

        return filters.blur(images, drawn["sigma"], scan.spacing, self.reach)


@dataclass(frozen=True)
class Sharpen(IntensityTransform):
    """Unsharp mask: adds `amount` times what a Gaussian of width `sigma` would blur away.

    Beyond its border the image is continued by its outermost voxels.
    """

    rare = True

    probability: float = chance(0.1)
    amount: Interval = up_to(1.0, most=10)
    sigma: Interval = between(0.5, 1.5, within=(0, 20), neutral=0, unit="mm")
    reach: tuple[int, ...] = derived()  # voxels of the kernel to either side

    def without_numbers(self, spacing: Sequence[float]) -> Self:
        return replace(super().without_numbers(spacing), reach=_reach(self.sigma[1], spacing))

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import filters

        sigma = drawn["sigma"][:, :, 0, 0] * [[1.0, 1.0, 1.0]]
        return filters.sharpen(images, drawn["amount"], sigma, scan.spacing, self.reach)


@dataclass(frozen=True)
class Noise(IntensityTransform):
    """Adds white Gaussian noise.

    Its standard deviation is a share of the scan's range, or with `of: deviation` of the image's own standard
    deviation, air included: so are numbers meant that were written for z-scored images, such as nnU-Net's.
    """

    probability: float = chance(0.3)
    sd: Interval = up_to(0.03, most=1)
    of: str = choice("range", "deviation")

    def randoms(self) -> dict[str, Random]:
        return {"seed": Random("seed")}

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import noise

        unit = noise.unit(self.of, images, scan.low, scan.high)
        return noise.gaussian(images, drawn["sd"] * unit, drawn["seed"])


@dataclass(frozen=True)
class RicianNoise(Noise):
    """The magnitude of a signal with Gaussian noise in its real and its imaginary part, as scanners give it.

    What lies above the background is the signal: bright tissue gets noise that is nearly Gaussian, air becomes
    brighter. `sd` and `of` as of `noise`.
    Source: Gudbjartsson and Patz 1995, Magnetic Resonance in Medicine 34(6).
    """

    rare = True

    probability: float = chance(0.2)

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import noise

        sd = drawn["sd"] * noise.unit(self.of, images, scan.low, scan.high)
        return noise.rician(images, sd, drawn["seed"], scan.background)


def _reach(sigma: float, spacing: Sequence[float]) -> tuple[int, ...]:
    return tuple(math.ceil(3 * sigma / mm) for mm in spacing)
