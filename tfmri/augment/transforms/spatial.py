"""What moves the head: mirrored, scaled, sheared, rotated, moved, deformed. One resampling applies them all.

They happen in the order of the recipe, but for `elastic` and `diffeomorphic`, whose displacements come last and are
added up (coordinates.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tfmri.augment.settings import Interval, axes, between, chance, choice, count, switch, up_to, whole_between
from tfmri.augment.transform import Drawn, Random, SpatialTransform


@dataclass(frozen=True)
class Flip(SpatialTransform):
    """Mirrors the image. In RAS+ x is left-right, the only axis along which a mirrored brain is still a brain.

    `probability` is that of each axis, independently. Voxels change places, none is interpolated.
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
    `isotropic: false` one for each. Of the three angles of shear, the first slides along x what lies off the
    centre along y, the second along x what does along z, the third along y what does along z: by the angle's tangent
    for each mm, 1 mm at 45°. Rotation is about x, then y, then z.
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
    """Deforms smoothly: cubic B-splines on a coarse grid that spans the image, or with `linear` straight lines.

    Every coordinate of every control point is displaced uniformly from ± the displacement that the sample drew. No
    voxel moves further than that along an axis; the usual voxel moves a fifth of it, of straight lines a third.
    Source: Rueckert et al. 1999, IEEE Transactions on Medical Imaging 18(8), equation 3.
    """

    probability: float = chance(0.5)
    displacement: Interval = up_to((4.0, 8.0), most=50, unit="mm")
    control_points: int = count(7, 4, 32)  # along each axis
    interpolation: str = choice("spline", "linear")

    def randoms(self) -> dict[str, Random]:
        return {"control": Random("uniform", (3, *[self.control_points] * 3))}

    def problem(self, shape: Sequence[int], spacing: Sequence[float]) -> tuple[str, str, str] | None:
        """Displacements that need not be one-to-one: of splines 0.403 of the control points' distance, of lines 1/6.

        Source: Choi and Lee 2000, Graphical Models 62, the bound for three dimensions. Of lines: with all of the nine
        slopes -2 displacements a distance, the determinant of the deformation is 1 - 6 displacements a distance.
        """
        if self.interpolation == "linear":
            return _too_far(self.displacement, shape, spacing, self.control_points - 1, 1 / 6)
        return _too_far(self.displacement, shape, spacing, self.control_points - 3, 0.403)

    def deformation(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]):
        from tfmri.augment.control_grid import linear_weights, spline_weights, upsample

        control = drawn["displacement"][:, None, None, None, None] * (2 * drawn["control"] - 1)
        return upsample(control, shape, linear_weights if self.interpolation == "linear" else spline_weights)


@dataclass(frozen=True)
class Diffeomorphic(SpatialTransform):
    """Deforms smoothly, one-to-one and with a smooth inverse: every point follows a smooth velocity for a unit of time.

    Every coordinate of the velocity at every point of a coarse grid of cubic B-splines is drawn uniformly from ± the
    displacement that the sample drew (mm a unit of time). No voxel moves further than that along an axis; the usual
    voxel moves a fifth of it.
    Source: velocity.py. So deform SynthSeg (Billot et al. 2023, Medical Image Analysis 86) and SynthMorph (Hoffmann et
    al. 2022, IEEE Transactions on Medical Imaging 41).
    """

    probability: float = chance(0.5)
    displacement: Interval = up_to((4.0, 12.0), most=100, unit="mm")
    control_points: int = count(7, 4, 16)  # along each axis

    def randoms(self) -> dict[str, Random]:
        return {"control": Random("uniform", (3, *[self.control_points] * 3))}

    def problem(self, shape: Sequence[int], spacing: Sequence[float]) -> tuple[str, str, str] | None:
        """Displacements beyond half of the control points' distance, with which the numbers may fold where the flow
        does not: its volumes shrink and grow by up to exp(4.5 displacements a distance), tenfold at this bound.
        """
        return _too_far(self.displacement, shape, spacing, self.control_points - 3, 0.5)

    def deformation(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]):
        from tfmri.augment.velocity import displacement

        control = drawn["displacement"][:, None, None, None, None] * (2 * drawn["control"] - 1)
        return displacement(control, shape, spacing)


@dataclass(frozen=True)
class Zoom(SpatialTransform):
    """Enlarges a window of the image to all of it: of the image's proportions, smaller by `factor`, anywhere inside.

    Its position is uniform along each axis. Nothing comes into view from outside the image.
    Source: random resized cropping of Szegedy et al. 2015, CVPR, in 3D and without its distortion.
    """

    probability: float = chance(0.3)
    factor: Interval = between(1.0, 1.3, within=(1, 10), neutral=1, log=True)

    def randoms(self) -> dict[str, Random]:
        return {"position": Random("uniform", (3,))}

    def source(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]):
        from tfmri.augment import affine

        extent = [(n - 1) * mm for n, mm in zip(shape, spacing, strict=True)]
        return affine.window(drawn["factor"], drawn["position"], extent)


@dataclass(frozen=True)
class Shift(SpatialTransform):
    """Moves the image by whole voxels, along each axis by a number of its own, without interpolation.

    This is random cropping too: to pad an image by v voxels on all sides, and to crop it to its size at a random place,
    is to shift it by up to v voxels.
    Source: Peng et al. 2021 (SFCN), Medical Image Analysis 68: by 0, 1 or 2 voxels along every axis.
    """

    probability: float = chance(0.5)
    voxels: tuple[int, int] = whole_between(-2, 2, within=(-100, 100), unit="voxels", signed=True, per_axis=True)

    def source(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]):
        from tfmri.augment import affine

        return affine.moved(drawn["voxels"], spacing)


def _too_far(
    displacement: Interval, shape: Sequence[int], spacing: Sequence[float], intervals: int, share: float
) -> tuple[str, str, str] | None:
    """The problem with displacements beyond `share` of the distance of control points, `intervals` along each axis."""
    distance = min((n - 1) * mm for n, mm in zip(shape, spacing, strict=True)) / intervals
    if displacement[1] <= share * distance:
        return None
    found = f"displacement {displacement[1]:g} mm between control points {distance:.1f} mm apart"
    advice = "Beyond, the image may fold onto itself: take fewer control points or a smaller displacement."
    return found, f"at most {share * distance:.1f} mm", advice
