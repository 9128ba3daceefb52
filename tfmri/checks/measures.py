"""What the voxels of one scan measure: size and place of the head, how it fills the field of view, intensities, noise.

All are robust numbers that compare scans with each other; none is a diagnosis. Volumes as `images.read` gives them.
"""

from dataclasses import dataclass

import numpy as np

from tfmri.checks.skull import skull_score
from tfmri.images.geometry import spacing_of, to_world
from tfmri.images.head import BLOCK, SKULL_CAP, Head
from tfmri.images.mask import block_means
from tfmri.images.read import Volume

MEASURES = {  # name -> what it is
    "skull": "0 for an extracted brain, 1 for a whole head",
    "head_volume_ml": "volume of the uppermost 100 mm of the head, or of the brain",
    "head_width_mm": "its size from left to right",
    "head_length_mm": "from back to front",
    "head_height_mm": "from the top to where the head or the field of view ends",
    "cut_top": "section of the head with the upper face of the field of view, as a share of its widest one",
    "cut_side": "the same of the left, right, back or front face, of the uppermost 100 mm",
    "cut_bottom": "the same of the lower face",
    "intensity_median": "of the head, in the scan's own units, above the air",
    "intensity_spread": "interquartile range of the head by its median",
    "contrast": "from the 10th to the 90th percentile in the middle of the head, by the median",
    "snr": "median of the head by the standard deviation of the noise",
    "air": "the brightest places beside the head, ghosts say, by the median of the head",
    "empty": "share of voxels that have exactly one value, the most frequent one on the faces of the field of view",
    "below_empty": "share of the other voxels that are clearly darker: 0, unless it was z-scored in a mask",
}
LARGE = 0.1  # of the largest piece: the skull may part scalp and brain all around
GAP = 16.0  # mm, to be closed
GEOMETRY = ("head_volume_ml", "head_width_mm", "head_length_mm", "head_height_mm", "cut_top", "cut_side", "cut_bottom")
AWAY = 12.0  # mm from the head, where nothing should be seen
SECOND_DIFFERENCE = np.sqrt(6.0)  # standard deviation of a - 2 b + c for unit noise
CLEARLY = 0.1  # of the range of intensities: darker by this is darker
MANY, MIDDLE = 0.2, 0.05  # empty and below_empty of a scan that was normalised in a mask, at least


def measure(volume: Volume, head: Head) -> dict[str, float]:
    """All of `MEASURES`; NaN where one cannot be told."""
    blocks = _blocks(volume, head)
    measures = {"skull": skull_score(volume, head), **_geometry(blocks), **_intensities(volume, head, blocks)}
    if normalised_before(measures):
        measures["skull"] = float("nan")  # the air is not what is darkest: nothing here knows where the head ends
    return measures


def normalised_before(measures: dict[str, float]) -> bool:
    """Whether the air lies in the middle of the intensities, as after z-scoring inside of a mask."""
    return measures["empty"] > MANY and measures["below_empty"] > MIDDLE


@dataclass(frozen=True)
class _Blocks:
    """Means of blocks of about 4 mm.

    Args:
        means: (x, y, z) intensities.
        inside: (x, y, z) bool, the head with its cavities.
        cap: (x, y, z) bool, what lies at most 100 mm below the top of the head, head or not.
        world: (x, y, z, 3) mm, the blocks' middles.
        spacing: (3,) mm.
    """

    means: np.ndarray
    inside: np.ndarray
    cap: np.ndarray
    world: np.ndarray
    spacing: np.ndarray


def _blocks(volume: Volume, head: Head) -> _Blocks:
    from scipy import ndimage

    factors = np.maximum(1, np.round(BLOCK / spacing_of(volume.affine)).astype(int))
    spacing = spacing_of(volume.affine) * factors
    means = block_means(volume.data, factors)
    pieces, _ = ndimage.label(means > head.threshold)  # no opening: the scalp may be one block thin
    sizes = np.bincount(pieces.ravel())[1:]
    inside = np.isin(pieces, 1 + np.flatnonzero(sizes > LARGE * sizes.max(initial=0)))
    places = np.stack(np.meshgrid(*map(np.arange, means.shape), indexing="ij"), axis=-1)
    world = to_world(volume.affine, places * factors + (factors - 1) / 2)
    inside = _closed(inside, spacing)
    top = world[inside, 2].max(initial=head.low[2])
    return _Blocks(means, inside, world[..., 2] > top - SKULL_CAP, world, spacing)


def _closed(inside: np.ndarray, spacing: np.ndarray) -> np.ndarray:
    """`inside` with what lies in its gaps and cavities."""
    from scipy import ndimage

    margin = np.ceil(GAP / spacing).astype(int) + 1
    padded = np.pad(inside, [(width, width) for width in margin])
    grown = ndimage.distance_transform_edt(~padded, sampling=spacing) <= GAP
    closed = padded | (ndimage.distance_transform_edt(grown, sampling=spacing) > GAP)
    within = tuple(slice(width, -width) for width in margin)
    return ndimage.binary_fill_holes(closed)[within]


def _geometry(blocks: _Blocks) -> dict[str, float]:
    cap = blocks.inside & blocks.cap
    if not cap.any():
        return dict.fromkeys(GEOMETRY, float("nan"))
    width, length, _ = np.ptp(blocks.world[cap], axis=0) + blocks.spacing
    height = np.ptp(blocks.world[blocks.inside][:, 2]) + blocks.spacing[2]
    sides = [_section(cap, axis, end) for axis in (0, 1) for end in (0, -1)]
    top, bottom = _section(blocks.inside, 2, -1), _section(blocks.inside, 2, 0)
    volume = np.count_nonzero(cap) * np.prod(blocks.spacing) / 1000
    numbers = (volume, width, length, height, top, max(sides), bottom)
    return dict(zip(GEOMETRY, map(float, numbers), strict=True))


def _section(inside: np.ndarray, axis: int, end: int) -> float:
    """The area of `inside` on the first (0) or last (-1) layer along `axis`, by that of the layer with the largest."""
    areas = inside.sum(axis=tuple({0, 1, 2} - {axis}))
    return float(areas[end] / max(areas.max(), 1))


def _intensities(volume: Volume, head: Head, blocks: _Blocks) -> dict[str, float]:
    tissue = _box(volume, head, 1.0).astype(np.float64) - head.background
    tissue = tissue[tissue > head.threshold - head.background]
    middle = _box(volume, head, 0.5).astype(np.float64) - head.background
    empty, below = _empty(volume.data)
    if not (tissue.size and middle.size):
        unknown = ("intensity_median", "intensity_spread", "contrast", "snr", "air")
        return {**dict.fromkeys(unknown, float("nan")), "empty": empty, "below_empty": below}
    low, median, high = np.percentile(tissue, (25, 50, 75))
    dark, bright = np.percentile(middle, (10, 90))
    return {
        "intensity_median": float(median),
        "intensity_spread": float((high - low) / median),
        "contrast": float((bright - dark) / median),
        "snr": float(median / np.maximum(_noise(volume, head), 1e-4 * median)),
        "air": _air(head, blocks) / float(median),
        "empty": empty,
        "below_empty": below,
    }


def _box(volume: Volume, head: Head, share: float) -> np.ndarray:
    """The voxels around the middle of the head, out to `share` of its bounding box."""
    centre, half = (head.low + head.high) / 2, (head.high - head.low) / 2 * share
    signs = np.stack(np.meshgrid(*[(-1, 1)] * 3), axis=-1).reshape(-1, 3)
    corners = to_world(np.linalg.inv(volume.affine), centre + signs * half)
    first = np.clip(np.ceil(corners.min(axis=0)), 0, volume.data.shape).astype(int)
    last = np.clip(np.floor(corners.max(axis=0)) + 1, 0, volume.data.shape).astype(int)
    return volume.data[tuple(slice(start, stop) for start, stop in zip(first, last, strict=True))]


def _noise(volume: Volume, head: Head) -> float:
    """Standard deviation of what changes from voxel to voxel, along the finest axis, in the middle of the head.

    Robust: edges are rarer than smooth tissue. Structure adds to it, interpolation takes from it.
    """
    box = np.moveaxis(_box(volume, head, 0.5), int(np.argmin(spacing_of(volume.affine))), 0)
    bright = box > head.threshold
    usable = bright[:-2] & bright[1:-1] & bright[2:]
    differences = np.abs(box[:-2] - 2 * box[1:-1] + box[2:])[usable]
    return float(1.4826 * np.median(differences) / SECOND_DIFFERENCE) if differences.size else float("nan")


def _air(head: Head, blocks: _Blocks) -> float:
    """How bright the brightest hundredth of the blocks beside the upper head is, above the background."""
    from scipy import ndimage

    far = blocks.cap & (ndimage.distance_transform_edt(~blocks.inside, sampling=blocks.spacing) > AWAY)
    return float(max(np.percentile(blocks.means[far], 99) - head.background, 0)) if far.any() else float("nan")


def _empty(data: np.ndarray) -> tuple[float, float]:
    faces = np.concatenate([data[[0, -1]].ravel(), data[:, [0, -1]].ravel()])
    values, counts = np.unique(faces, return_counts=True)
    value = values[np.argmax(counts)]
    empty = float(np.count_nonzero(data == value) / data.size)
    if empty <= MANY:
        return empty, 0.0
    others = data[data != value]
    low, high = np.percentile(others, (1, 99))
    return empty, float(np.count_nonzero(others < value - CLEARLY * (high - low)) / others.size)
