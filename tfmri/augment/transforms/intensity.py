"""What changes intensities: contrast of the tissue, sensitivity of the coil, sharpness, noise of the receiver."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from tfmri.augment.settings import Interval, between, chance, count, derived, switch, up_to
from tfmri.augment.transform import Drawn, IntensityTransform, Random, Scan


@dataclass(frozen=True)
class Gamma(IntensityTransform):
    """Bends the contrast: the scan's own range is mapped to 0..1, raised to an exponent, and mapped back.

    The exponent is drawn so that its logarithm is uniform in the interval: 0.5 is as likely as 2.
    """

    pointwise = True

    probability: float = chance(0.3)
    exponent: Interval = between(0.75, 1.33, within=(0.1, 10), neutral=1, log=True)

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import contrast

        return contrast.gamma(images, drawn["exponent"], scan.low, scan.high)


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
class Blur(IntensityTransform):
    """Smooths with a Gaussian, of a width of its own along each axis, or with `isotropic: true` of one for all.

    The kernel reaches to 3 standard deviations and is normalised; beyond its border the image is continued by its
    outermost voxels.
    """

    probability: float = chance(0.2)
    sigma: Interval = between(0.0, 1.0, within=(0, 20), neutral=0, unit="mm", per_axis=True, same_if="isotropic")
    isotropic: bool = switch(False)
    reach: tuple[int, ...] | None = derived()  # voxels of the kernel to either side

    def without_numbers(self, spacing: Sequence[float]) -> Self:
        reach = tuple(math.ceil(3 * self.sigma[1] / mm) for mm in spacing)
        return replace(super().without_numbers(spacing), reach=reach)

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import filters

        return filters.blur(images, drawn["sigma"], scan.spacing, self.reach)


@dataclass(frozen=True)
class Noise(IntensityTransform):
    """Adds white Gaussian noise; its standard deviation is a share of the scan's range."""

    probability: float = chance(0.3)
    sd: Interval = up_to(0.03, most=1)

    def randoms(self) -> dict[str, Random]:
        return {"seed": Random("seed")}

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import noise

        return noise.gaussian(images, drawn["sd"] * (scan.high - scan.low), drawn["seed"])
