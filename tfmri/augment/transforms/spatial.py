"""What moves the head: mirrored, scaled, sheared, rotated, moved, deformed. One resampling applies them all."""

from collections.abc import Sequence
from dataclasses import dataclass

from tfmri.augment.settings import Interval, axes, between, chance, count, switch, up_to
from tfmri.augment.transform import Drawn, Random, SpatialTransform


@dataclass(frozen=True)
class Flip(SpatialTransform):
    """Mirrors the image. In RAS+ x is left-right, the only axis along which a mirrored brain is still a brain.

    `probability` is that of each axis, independently.
    """

    separately = True

    probability: float = chance(0.5)
    axes: tuple[str, ...] = axes("x")

    def source(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]):
        from tfmri.augment import affine

        return affine.mirroring(drawn["drawn"], self.axes)


@dataclass(frozen=True)
class Affine(SpatialTransform):
    """Scales, shears, rotates and moves the head, in this order, about the centre of the image.

    Each axis draws its own angle and shift; the scale (1.1 makes the head 10 % larger) is one for all axes, or with
    `isotropic: false` one for each. Of the three angles of shear, the first moves y along x, the second z along x, the
    third z along y: an angle of 45° moves by 1 mm for each mm from the centre.
    """

    probability: float = chance(0.75)
    scale: Interval = between(0.9, 1.1, within=(0.5, 2), neutral=1, per_axis=True, same_if="isotropic")
    isotropic: bool = switch(True)
    shear: Interval = up_to(0.0, most=45, unit="degrees", signed=True, per_axis=True)
    rotation: Interval = up_to(10.0, most=180, unit="degrees", signed=True, per_axis=True)
    translation: Interval = up_to(5.0, most=100, unit="mm", signed=True, per_axis=True)

    def source(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]):
        from tfmri.augment import affine

        return affine.affine(drawn["scale"], drawn["shear"], drawn["rotation"], drawn["translation"])


@dataclass(frozen=True)
class Elastic(SpatialTransform):
    """Deforms smoothly: cubic B-splines on a coarse grid that spans the image.

    Every coordinate of every control point is displaced uniformly from ± the displacement that the sample drew. No
    voxel moves further than that along an axis; the usual voxel moves a fifth of it.
    Source: Rueckert et al. 1999, IEEE Transactions on Medical Imaging 18(8), equation 3.
    """

    probability: float = chance(0.5)
    displacement: Interval = up_to((4.0, 8.0), most=50, unit="mm")
    control_points: int = count(7, 4, 32)  # along each axis

    def randoms(self) -> dict[str, Random]:
        return {"control": Random("uniform", (3, *[self.control_points] * 3))}

    def problem(self, shape: Sequence[int], spacing: Sequence[float]) -> tuple[str, str, str] | None:
        """Displacements for which cubic B-splines need not be one-to-one: 0.403 of the control points' distance.

        Source: Choi and Lee 2000, Graphical Models 62, the bound for three dimensions.
        """
        distance = min((n - 1) * mm for n, mm in zip(shape, spacing, strict=True)) / (self.control_points - 3)
        most, limit = self.displacement[1], 0.403 * distance
        if most <= limit:
            return None
        found = f"displacement {most:g} mm between control points {distance:.1f} mm apart"
        advice = "Beyond, the image may fold onto itself: take fewer control points or a smaller displacement."
        return found, f"at most {limit:.1f} mm", advice

    def deformation(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]):
        from tfmri.augment.control_grid import upsample

        return upsample(drawn["displacement"][:, None, None, None, None] * (2 * drawn["control"] - 1), shape)
