"""What goes wrong while a scan is taken: thick slices, k-space cut short, disturbed, or measured of a moving head.

Phase encoding, and with it ghosts and motion, may lie along any axis: each sample draws one of `axes`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tfmri.augment.settings import (
    AXES,
    Interval,
    axes,
    between,
    chance,
    choice,
    count,
    switch,
    up_to,
    whole_between,
)
from tfmri.augment.transform import Drawn, IntensityTransform, Random, Scan


@dataclass(frozen=True)
class LowResolution(IntensityTransform):
    """Thick slices: the scan as if taken in slices of `thickness` mm and interpolated to its voxels again.

    Across one random axis of `axes`, or with `all_axes: true` across each of them, which makes it nnU-Net's simulated
    low resolution. A Gaussian slice profile whose full width at half maximum is the thickness, less what the voxels
    have of it already; slices side by side; linear interpolation. A thickness up to the voxels' size changes nothing.
    Source: Billot et al. 2020 (MIDL), "A learning strategy for contrast-agnostic MRI segmentation", and 2023
    (SynthSeg), Medical Image Analysis 86. Their Gaussian is wider (standard deviation 0.73 of the thickness, by its
    response at the cutoff frequency); here it is 0.42 of it, since the nominal thickness of slices is the full width
    at half maximum of their profile (NEMA Standards Publication MS 5).
    """

    rare = True

    probability: float = chance(0.2)
    thickness: Interval = between(2.0, 5.0, within=(0, 50), neutral=0, unit="mm")
    axes: tuple[str, ...] = axes("x", "y", "z")
    all_axes: bool = switch(False)

    def randoms(self) -> dict[str, Random]:
        return _axis(self)

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment.slices import thick_slices

        thickness = _one(drawn["thickness"])
        return _along_axes(self, images, drawn, lambda image, k: thick_slices(image, k, thickness, scan.spacing[k]))


@dataclass(frozen=True)
class Gibbs(IntensityTransform):
    """Ringing beside edges, as of k-space that was measured up to a share of its frequencies and filled with zeros.

    Frequencies beyond `cutoff` (1 keeps all) are cut off along one random axis of `axes`, or with `all_axes: true`
    along each of them. Scanners measure boxes of k-space and save time along the axes of phase encoding, so that the
    ringing follows the axes; MONAI's GibbsNoise cuts to a sphere instead. The mean is kept.
    Source: Czervionke et al. 1988, American Journal of Neuroradiology 9, 815-824.
    """

    rare = True

    probability: float = chance(0.1)
    cutoff: Interval = between(0.4, 0.8, within=(0.05, 1), neutral=1)
    axes: tuple[str, ...] = axes("x", "y", "z")
    all_axes: bool = switch(False)

    def randoms(self) -> dict[str, Random]:
        return _axis(self)

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import kspace

        cutoff = _one(drawn["cutoff"])
        return _along_axes(
            self, images, drawn, lambda image, k: kspace.weighted(image, k, kspace.kept_lines(image.shape[k], cutoff))
        )


@dataclass(frozen=True)
class Ghosting(IntensityTransform):
    """Copies of the head, displaced along one random axis of `axes`, as of breathing, pulsation or flow.

    Of the lines of k-space along the axis every n-th is weakened by `intensity` (1 takes it away), with n from
    `ghosts`, as many as there are copies over the field of view, the head included. The centre of k-space is left, up
    to `restore` of the highest frequency: the mean is kept.
    Source: TorchIO's RandomGhosting (Pérez-García et al. 2021, Computer Methods and Programs in Biomedicine 208),
    which counts lines from the border of k-space; here they are counted from its centre, so that the image is real.
    """

    rare = True

    probability: float = chance(0.1)
    ghosts: Interval = whole_between(4, 10, within=(2, 64))
    intensity: Interval = up_to((0.3, 1.0), most=1)
    restore: Interval = between(0.0, 0.05, within=(0, 1), neutral=None)
    axes: tuple[str, ...] = axes("x", "y", "z")

    def randoms(self) -> dict[str, Random]:
        return _axis(self)

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment import kspace

        numbers = [_one(drawn[name]) for name in ("ghosts", "intensity", "restore")]
        return _along_axes(
            self,
            images,
            drawn,
            lambda image, k: kspace.weighted(image, k, kspace.ghost_lines(image.shape[k], *numbers)),
        )


@dataclass(frozen=True)
class Motion(IntensityTransform):
    """The head moves while it is scanned: `segments` of k-space, each measured in a pose of its own.

    A sample draws how far its head turns and moves at most (`rotation`, `translation`); each segment draws its three
    angles and shifts from ± these. Segments are slabs of k-space along one random axis of `axes`, of about equal
    width; in the one with the centre of k-space the head lies as in the scan. The result is a magnitude, as scanners
    store it: air may show ghosts, but nothing gets darker than air.
    Source: Shaw et al. 2019 (MIDL, PMLR 102), "MRI k-space motion artefact augmentation", in the form that TorchIO's
    RandomMotion gave it (Pérez-García et al. 2021), which keeps the real part of the image instead.
    """

    rare = True

    probability: float = chance(0.1)
    rotation: Interval = up_to((1.0, 5.0), most=180, unit="degrees")
    translation: Interval = up_to((1.0, 5.0), most=100, unit="mm")
    segments: int = count(4, 2, 8)
    axes: tuple[str, ...] = axes("x", "y", "z")

    def randoms(self) -> dict[str, Random]:
        poses = Random("uniform", (self.segments, 3))
        return {
            "axis": Random("axis", axes=self.axes),
            "turns": poses,
            "shifts": poses,
            "times": Random("uniform", (self.segments - 1,)),
        }

    def apply(self, images, drawn: Drawn, scan: Scan):
        from tfmri.augment.motion import motion, times_of_change

        return motion(
            images,
            _numbers(self.axes),
            drawn["axis"],
            _one(drawn["rotation"]) * (2 * drawn["turns"][0] - 1),
            _one(drawn["translation"]) * (2 * drawn["shifts"][0] - 1),
            times_of_change(drawn["times"][0]),
            scan.background,
            scan.spacing,
        )


@dataclass(frozen=True)
class Spike(IntensityTransform):
    """Stripes over all of the image (herringbone), as of sparks that disturb single points of k-space.

    `spikes` points, anywhere in k-space, are raised by `intensity` times the highest magnitude of the scan's own
    spectrum, air counting as 0; each is a plane wave in the image, with an amplitude of `intensity` times the mean
    over the image of what is above the background.
    Source: TorchIO's RandomSpike (Pérez-García et al. 2021), whose default of 1 to 3 drowns the head; phases are
    drawn here.
    """

    rare = True

    probability: float = chance(0.05)
    intensity: Interval = up_to((0.1, 0.5), most=10)
    spikes: int = count(1, 1, 16)

    def randoms(self) -> dict[str, Random]:
        return {"places": Random("uniform", (self.spikes, 3)), "phases": Random("uniform", (self.spikes,))}

    def apply(self, images, drawn: Drawn, scan: Scan):
        import tensorflow as tf

        from tfmri.augment.kspace import plane_waves

        highest = tf.reduce_mean(tf.abs(images - scan.background))  # over the number of voxels
        return images + drawn["intensity"] * highest * plane_waves(
            images.shape[1:], drawn["places"][0], drawn["phases"][0]
        )


@dataclass(frozen=True)
class Cutout(IntensityTransform):
    """Coarse dropout: `holes` boxes at random places inside the image are filled.

    Each axis draws the boxes' `size` along it, one for all boxes of a sample. `fill`: `background`; the `mean` of the
    image; or `noise`, uniform over the scan's range.
    Source: DeVries and Taylor 2017, arXiv:1708.04552 (one hole, the mean).
    """

    mixes = True

    probability: float = chance(0.2)
    size: Interval = between(10.0, 40.0, within=(0, 500), neutral=0, unit="mm", per_axis=True)
    holes: int = count(3, 1, 32)
    fill: str = choice("background", "mean", "noise")

    def randoms(self) -> dict[str, Random]:
        seed = {"seed": Random("seed")} if self.fill == "noise" else {}
        return {"places": Random("uniform", (self.holes, 3))} | seed

    def apply(self, images, drawn: Drawn, scan: Scan):
        import tensorflow as tf

        from tfmri.augment.cutout import in_boxes
        from tfmri.augment.philox import uniform

        shape = images.shape[1:]
        inside = in_boxes(shape, scan.spacing, drawn["size"], drawn["places"])
        if self.fill == "background":
            filling = scan.background
        elif self.fill == "mean":
            filling = tf.reduce_mean(images, axis=[1, 2, 3], keepdims=True)
        else:
            filling = scan.low + (scan.high - scan.low) * uniform(drawn["seed"], shape)
        return tf.where(inside, filling, images)


def _axis(transform) -> dict[str, Random]:
    """The axis that a sample draws, unless all are meant."""
    return {} if getattr(transform, "all_axes", False) else {"axis": Random("axis", axes=transform.axes)}


def _along_axes(transform, images, drawn: Drawn, change: Callable):
    """One image (1, x, y, z) after ``change(image, axis)`` along the axis it drew, or along all of the transform's."""
    from tfmri.augment.axis_matrices import along_drawn

    image = images[0]
    if "axis" in drawn:
        return along_drawn(image, _numbers(transform.axes), drawn["axis"], change)[None]
    for axis in _numbers(transform.axes):
        image = change(image, axis)
    return image[None]


def _numbers(names: tuple[str, ...]) -> list[int]:
    return [AXES.index(axis) for axis in names]


def _one(number):
    """A number (1, 1, 1, 1) of one sample as ()."""
    import tensorflow as tf

    return tf.reshape(number, [])
