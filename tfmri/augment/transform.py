"""What a transform is: a frozen dataclass of settings, which samples draw from, and how what was drawn is applied.

Drawing is the same for all (sampling.py). Applying is a method: spatial transforms say where each place of the output
comes from, and are composed into one resampling (coordinates.py); the others change intensities. A transform of your
own is a subclass in a module of your own, and stands in a recipe under its path, `my_lab.transforms:Ringing`::

    @dataclass(frozen=True)
    class Ringing(IntensityTransform):
        probability: float = chance(0.2)
        strength: Interval = up_to(0.1, most=1)

        def apply(self, images, drawn, scan):
            return images + drawn["strength"] * (scan.high - scan.low) * ...

No TensorFlow here, nor at the top of modules with transforms: reading an experiment file must not import it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    import tensorflow as tf

    Source = tuple[tf.Tensor, tf.Tensor]

Drawn = Mapping[str, Any]  # what each sample of a batch drew, by the names of settings and randoms


@dataclass(frozen=True)
class Random:
    """What a transform draws besides the numbers from its ranges.

    Args:
        kind: `uniform` (0 to 1) and `normal` (mean 0, deviation 1) are float32 of (batch, *shape); `axis` is one of
            `axes`, (batch,) int32 with 0 for x; `seed` is (batch, 2) int32, for what is drawn voxel by voxel.
        shape: of what one sample draws.
        axes: to choose from.
    """

    kind: str
    shape: tuple[int, ...] = ()
    axes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """What intensity transforms know of the scans of a batch.

    Args:
        low, high: (batch, 1, 1, 1) float32, range of each scan as it was prepared, moved by the pointwise transforms
            before this one.
        background: (batch, 1, 1, 1) float32, intensity of air, moved likewise.
        spacing: (x, y, z) mm.
    """

    low: Any
    high: Any
    background: Any
    spacing: tuple[float, float, float]


@dataclass(frozen=True)
class Transform:
    """Its fields are made with the functions of settings.py; all have a `probability`, decided per sample."""

    separately: ClassVar[bool] = False  # for x, y and z the probability is decided separately

    def randoms(self) -> dict[str, Random]:
        """What it draws besides its ranges, by name."""
        return {}

    def problem(self, shape: Sequence[int], spacing: Sequence[float]) -> tuple[str, str, str] | None:
        """Why it cannot be applied to images of `shape` voxels of `spacing` mm: found, expected, advice; else None."""
        return None

    def without_numbers(self, spacing: Sequence[float]) -> Self:
        """What the program is compiled for: None in place of what enters it as numbers."""
        return replace(self, probability=None, **{setting.name: None for setting in ranges_of(self)})  # type: ignore[call-arg]


@dataclass(frozen=True)
class SpatialTransform(Transform):
    """Moves the head. Places are in mm from the centre of the image, which lies at voxel (n - 1) / 2 of each axis."""

    def source(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]) -> "Source | None":
        """Matrix (batch, 3, 3) and shift (batch, 3) mm: the place p of the output comes from matrix·p + shift."""
        return None

    def deformation(self, drawn: Drawn, shape: Sequence[int], spacing: Sequence[float]) -> "tf.Tensor | None":
        """(batch, 3, x, y, z) float32 mm, u: the place p of the output comes from p + u(p)."""
        return None


@dataclass(frozen=True)
class IntensityTransform(Transform):
    """Changes intensities, channel by channel."""

    pointwise: ClassVar[bool] = False  # what becomes of an intensity is the same in all the image, and rises with it
    mixes: ClassVar[bool] = False  # a voxel's new intensity depends on its neighbours': skipped where no sample drew it
    rare: ClassVar[bool] = False  # costly: computed for those samples alone that drew it, one after another

    def measured(self, images: "tf.Tensor", drawn: Drawn, scan: Scan) -> Drawn:
        """`drawn`, and what a pointwise transform must measure in the images: their mean, say, (batch, 1, 1, 1).

        Its `apply` gets that in place of `drawn`, and then does the same to images, range and background.
        """
        return drawn

    def apply(self, images: "tf.Tensor", drawn: Drawn, scan: Scan) -> "tf.Tensor":
        """The changed images.

        Args:
            images: (batch, x, y, z) float32; of a pointwise transform any shape (batch, ...) of four axes.
            drawn: numbers from the ranges as (batch, 1, 1, 1), or (batch, 3) of those `per_axis`; randoms as they are.
            scan: ranges and backgrounds.

        Returns:
            The same shape. Samples that did not draw the transform keep their voxels, whatever is returned for them.
        """
        raise NotImplementedError


def settings_of(transform: Transform | type[Transform]) -> dict[str, Field[Any]]:
    """What a recipe may set, by name."""
    return {each.name: each for each in fields(transform) if not each.metadata.get("derived")}


def ranges_of(transform: Transform | type[Transform]) -> list[Field[Any]]:
    """The settings from which samples draw."""
    return [each for each in fields(transform) if "drawn" in each.metadata]
