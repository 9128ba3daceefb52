"""The anatomy all phantom heads share: the MNI152 template with a head around it, and the regions that effects change.

Arrays are (x, y, z) in RAS+, millimetres are MNI152's. Maps have 2 mm voxels, displacement fields 4 mm. Intensities
are fractions of white matter's. The face and the skull are drawn from ellipsoids and distances: they only have to look
like a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import ndimage

SPACING = 2.0  # mm, of the maps
FIELD_STEP = 2  # map voxels for one voxel of the displacement fields
CSF = 0.12  # intensity of cerebrospinal fluid
HIPPOCAMPUS_RADIUS = 10.0  # mm, of the capsule in which the hippocampus shrinks

Point = tuple[float, float, float]
_HIPPOCAMPUS: tuple[Point, Point] = ((24, -8, -20), (31, -35, -7))
_HIPPOCAMPUS_REMNANT: tuple[Point, Point] = ((21, -8, -21), (28, -35, -8))  # fluid comes first laterally and above
_BRAINSTEM: tuple[Point, Point] = ((0, -24, -20), (0, -33, -48))
_SYLVIAN_CENTRE: Point = (41, 2, 1)
_SYLVIAN_RADII = (24.0, 13.0)  # mm along y and z
_SYLVIAN_SLOPE = -0.3  # it rises towards the back


@dataclass(frozen=True)
class Anatomy:
    """The template, ready to be changed into one subject after another.

    Args:
        affine: (4, 4), map voxel -> mm.
        brain: (x, y, z) float32, T1 intensity of brain and fluid, 0 outside.
        thinning: (x, y, z) float32, the fraction of intensity that the cortex loses between ages 20 and 85.
        fat: (x, y, z) float32, scalp and orbits.
        soft: (x, y, z) float32, muscle, marrow, eyes.
        fields: region -> (3, x, y, z) float32 on the coarse grid, unit displacements (mm per mm) that widen it.
        hippocampi: flat indices of the voxels where hippocampi are, (n,) mm from the axis of the remnant, (n,) weight.
        sylvian: flat indices, (n,) mm from the fissure's middle plane, (n,) fraction of its half width reached there.
        regions: name -> (x, y, z) bool, disjoint.
    """

    affine: np.ndarray
    brain: np.ndarray
    thinning: np.ndarray
    fat: np.ndarray
    soft: np.ndarray
    fields: dict[str, np.ndarray]
    hippocampi: tuple[np.ndarray, np.ndarray, np.ndarray]
    sylvian: tuple[np.ndarray, np.ndarray, np.ndarray]
    regions: dict[str, np.ndarray]


@cache
def load_anatomy() -> Anatomy:
    """Reads the template from nilearn's own files (no download), works out regions, fields and head.

    Takes seconds, so it is done once in a process: the arrays are not to be written to.
    """
    from nilearn import datasets  # takes seconds itself, and only the parent process needs it

    maps = [
        load(resolution=1)
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
        )
    ]
    t1, grey, white = (_halve(np.asarray(image.dataobj, np.float32)) for image in maps)
    affine = np.diag([SPACING, SPACING, SPACING, 1.0])
    affine[:3, 3] = maps[0].affine[:3, 3] + 0.5  # the middle of the first 2×2×2 block
    x, y, z = (affine[axis, 3] + SPACING * np.arange(t1.shape[axis], dtype=np.float32) for axis in range(3))
    x, y, z = x[:, None, None], y[:, None], z
    side = np.abs(x)  # regions are the same left and right

    brain_mask = t1 > 0.08
    hull = _closed(brain_mask, 8.0)
    contrast = (t1 / np.median(t1[white > 0.9])) ** 1.4  # an average of 152 brains has less contrast than one
    brain = np.where(brain_mask, contrast, CSF * hull).astype(np.float32)

    hippocampus_distance = _to_segment((side, y, z), *_HIPPOCAMPUS)
    remnant_distance = _to_segment((side, y, z), *_HIPPOCAMPUS_REMNANT)
    hippocampus_weight = _soft_step(HIPPOCAMPUS_RADIUS - hippocampus_distance)
    sylvian_distance, sylvian_reach = _sylvian((side, y, z))
    hippocampi = hippocampus_distance < HIPPOCAMPUS_RADIUS
    sylvian = (sylvian_distance < 6 * sylvian_reach) & ~hippocampi
    brainstem = brain_mask & (_to_segment((x, y, z), *_BRAINSTEM) < 17) & (t1 > 0.5) & ~hippocampi
    away = (hippocampus_distance > HIPPOCAMPUS_RADIUS + 5) & ~ndimage.binary_dilation(sylvian, iterations=2)
    fluid = brain_mask & (grey + white < 0.5)
    box = (side < 36) & (y > -50) & (y < 36) & (z > -4) & (z < 34)
    ventricles = _largest(fluid & box & away & ndimage.binary_erosion(brain_mask, iterations=8))
    others = ventricles | brainstem | sylvian | hippocampi
    cortex = (grey > 0.5) & ~ndimage.binary_dilation(others, iterations=3) & (z > -10)
    regions = {
        "lateral_ventricles": ventricles,
        "cortex": cortex,
        "brainstem": brainstem,
        "sylvian_fissures": sylvian,
        "hippocampi": hippocampi,
    }

    near_fluid = ndimage.gaussian_filter((~(grey + white > 0.6)).astype(np.float32), 1.0)
    thinning = cortex * grey * (0.15 + 1.0 * np.clip(near_fluid, 0, 0.6))
    fat, soft = _head(hull, (x, y, z))
    return Anatomy(
        affine=affine,
        brain=brain,
        thinning=ndimage.gaussian_filter(thinning.astype(np.float32), 0.5),
        fat=fat,
        soft=soft,
        fields={
            "lateral_ventricles": _widening(ventricles, avoid=brainstem | sylvian | hippocampi),
            "brainstem": _widening(brainstem, avoid=ventricles | sylvian | hippocampi),
        },
        hippocampi=_where(hippocampus_weight > 0.01, remnant_distance, hippocampus_weight),
        sylvian=_where((sylvian_reach > 0) & (sylvian_distance < 9) & ~hippocampi, sylvian_distance, sylvian_reach),
        regions=regions,
    )


def _halve(image: np.ndarray) -> np.ndarray:
    """Means of blocks of 2×2×2 voxels, the last layer repeated where a length is odd."""
    image = np.pad(image, [(0, length % 2) for length in image.shape], mode="edge")
    a, b, c = (length // 2 for length in image.shape)
    return image.reshape(a, 2, b, 2, c, 2).mean(axis=(1, 3, 5), dtype=np.float32)


def _to_segment(at: Sequence[np.ndarray], start: Point, end: Point) -> np.ndarray:
    """Distance (mm) of each voxel from a line segment."""
    direction = np.subtract(end, start)
    offset = [axis - origin for axis, origin in zip(at, start, strict=True)]
    along = sum(o * d for o, d in zip(offset, direction, strict=True)) / (direction @ direction)
    along = np.clip(along, 0, 1)
    return np.sqrt(sum((o - along * d) ** 2 for o, d in zip(offset, direction, strict=True))).astype(np.float32)


def _sylvian(at: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Distance (mm) from the fissures' middle plane, and the fraction (0 to 1) of their half width reached there."""
    side, y, z = at
    across, along = side - _SYLVIAN_CENTRE[0], y - _SYLVIAN_CENTRE[1]
    above = z - _SYLVIAN_CENTRE[2] - _SYLVIAN_SLOPE * along
    reach = np.sqrt(np.clip(1 - (along / _SYLVIAN_RADII[0]) ** 2 - (above / _SYLVIAN_RADII[1]) ** 2, 0, 1))
    shape = np.broadcast_shapes(across.shape, reach.shape)
    return np.broadcast_to(np.abs(across), shape), np.broadcast_to(reach, shape)


def _soft_step(distance: np.ndarray, width: float = 0.7) -> np.ndarray:
    """0 below, 1 above a `distance` (mm) of 0, with a transition as wide as a voxel."""
    return 1 / (1 + np.exp(-np.clip(distance / width, -30, 30)))


def _where(mask: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flat indices of a mask, and what two maps hold there."""
    indices = np.flatnonzero(mask)
    first, second = (np.ascontiguousarray(value).ravel()[indices].astype(np.float32) for value in values)
    return indices, first, second


def _closed(mask: np.ndarray, radius: float) -> np.ndarray:
    """The mask with gaps narrower than twice the radius (mm) filled."""
    steps = int(radius / SPACING) + 2
    padded = np.pad(mask, steps, mode="edge")
    grown = ndimage.distance_transform_edt(~padded, sampling=SPACING) <= radius
    closed = ndimage.distance_transform_edt(grown, sampling=SPACING) > radius
    return closed[steps:-steps, steps:-steps, steps:-steps] | mask


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part of a mask."""
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel())
    return labels == 1 + np.argmax(sizes[1:])


def _widening(mask: np.ndarray, avoid: np.ndarray, smooth: float = 4.0) -> np.ndarray:
    """Where to look instead (mm, per mm of widening) to see a region wider: inwards, along the gradient of its blur.

    Args:
        mask: (x, y, z) bool.
        avoid: (x, y, z) bool, regions that are not to move.
        smooth: mm, standard deviation of the blur.
    Returns:
        (3, x, y, z) float32 on the coarse grid; about 1 long at the region's surface, 0 where it avoids.
    """
    blurred = ndimage.gaussian_filter(mask.astype(np.float32), smooth / SPACING)
    gradient = np.stack(np.gradient(blurred))
    length = np.sqrt((gradient**2).sum(axis=0))
    surface = np.percentile(length[mask & ~ndimage.binary_erosion(mask)], 50)
    near = ndimage.gaussian_filter(ndimage.binary_dilation(avoid, iterations=2).astype(np.float32), 1.0)
    field = gradient / np.maximum(surface, length) * np.clip(1 - 2 * near, 0, 1)
    return field[:, ::FIELD_STEP, ::FIELD_STEP, ::FIELD_STEP].astype(np.float32)


def _head(hull: np.ndarray, at: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Maps of fat and of soft tissue around the brain's hull: skull, scalp, face, eyes, neck."""

    def ellipsoid(centre: Point, radii: Point) -> np.ndarray:
        axes = zip(at, centre, radii, strict=True)
        return sum((((axis - c) / r) ** 2 for axis, c, r in axes), np.zeros(hull.shape, np.float32)) < 1

    outside = ndimage.distance_transform_edt(~hull, sampling=SPACING)  # mm from the brain
    face = ellipsoid((0, 14, -50), (64, 76, 62)) | ellipsoid((0, 86, -62), (13, 14, 20))
    neck = ellipsoid((0, -42, -95), (58, 58, 75))
    head = (outside < 12) | (ndimage.gaussian_filter(((outside < 12) | face | neck).astype(np.float32), 2.0) > 0.5)
    depth = ndimage.distance_transform_edt(np.pad(head, ((0, 0), (0, 0), (20, 0)), mode="edge"), sampling=SPACING)
    depth = depth[:, :, 20:]  # the cut through the neck is no surface

    texture = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(hull.shape), 1.5)
    texture = texture / texture.std()
    tissue = head & (outside > 8)
    fat = np.where(tissue & (depth < 5), 0.85, 0.0)
    soft = np.where(tissue & (depth >= 5), 0.42 + 0.1 * texture, 0.0)
    marrow = head & (outside > 3) & (outside < 6) & (at[2] > 0)
    soft = np.where(marrow, 0.22 + 0.04 * texture, soft)
    for orbit in (-1, 1):
        in_orbit = ellipsoid((orbit * 32, 55, -36), (17, 24, 16)) & (outside > 2) & (depth > 1)
        eye = ellipsoid((orbit * 32, 66, -36), (12, 12, 12)) & (outside > 2)
        fat = np.where(in_orbit, 0.8, fat)
        fat, soft = np.where(eye, 0, fat), np.where(in_orbit, 0, soft)
        soft = np.where(eye, 0.22, soft)
    airways = (
        ellipsoid((0, 62, -56), (9, 20, 16))
        | ellipsoid((26, 46, -64), (12, 14, 12))
        | ellipsoid((-26, 46, -64), (12, 14, 12))
        | ellipsoid((0, 8, -76), (10, 12, 24))
    ) & (outside > 4)
    fat, soft = np.where(airways, 0.03, fat), np.where(airways, 0, soft)
    return ndimage.gaussian_filter(fat.astype(np.float32), 0.5), ndimage.gaussian_filter(soft.astype(np.float32), 0.5)
