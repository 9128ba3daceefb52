"""What the voxels of one scan measure: size and place of the head, how it fills the field of view, intensities, noise.

All are robust numbers that compare scans with each other; none is a diagnosis. Volumes as `images.read` gives them.
"""

import numpy as np

from tfmri.checks.skull import skull_score
from tfmri.images.geometry import spacing_of, to_world
from tfmri.images.mask import block_means
from tfmri.images.prepare import BLOCK, SKULL_CAP, Head
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
    "air": "the brightest places outside of the head, ghosts say, by the median of the head",
    "empty": "share of voxels that have the scan's most frequent value of the air exactly",
}
AWAY = 12.0  # mm from the head, where nothing should be seen
SECOND_DIFFERENCE = np.sqrt(6.0)  # standard deviation of a - 2 b + c for unit noise


def measure(volume: Volume, head: Head) -> dict[str, float]:
    """All of `MEASURES`; NaN where one cannot be told."""
    inside, spacing, world = _blocks_of_head(volume, head)
    numbers = {"skull": skull_score(volume, head), **_geometry(volume, head, inside, spacing, world)}
    return {**numbers, **_intensities(volume, head, inside)}


def _blocks_of_head(volume: Volume, head: Head) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which blocks of about 4 mm are head (x, y, z); (3,) mm between blocks; (x, y, z) height of each in the world."""
    from scipy import ndimage

    factors = np.maximum(1, np.round(BLOCK / spacing_of(volume.affine)).astype(int))
    bright = block_means(volume.data, factors) > head.threshold
    opened = ndimage.binary_opening(bright)
    pieces, count = ndimage.label(opened if opened.any() else bright)
    inside = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:]) if count else bright
    places = np.stack(np.meshgrid(*map(np.arange, inside.shape), indexing="ij"), axis=-1)
    heights = to_world(volume.affine, places * factors + (factors - 1) / 2)[..., 2]
    return ndimage.binary_fill_holes(inside), spacing_of(volume.affine) * factors, heights


def _geometry(
    volume: Volume, head: Head, inside: np.ndarray, spacing: np.ndarray, heights: np.ndarray
) -> dict[str, float]:
    cap = inside & (heights > head.high[2] - SKULL_CAP)
    width, length, _ = head.high - head.low
    low = heights[inside].min() if inside.any() else np.nan
    sides = [_section(cap, axis, end) for axis in (0, 1) for end in (0, -1)]
    return {
        "head_volume_ml": float(np.count_nonzero(cap) * np.prod(spacing) / 1000),
        "head_width_mm": float(width),
        "head_length_mm": float(length),
        "head_height_mm": float(head.high[2] - low + spacing[2] / 2),
        "cut_top": _section(inside, 2, -1),
        "cut_side": max(sides),
        "cut_bottom": _section(inside, 2, 0),
    }


def _section(inside: np.ndarray, axis: int, end: int) -> float:
    """The area of `inside` on the first (0) or last (-1) layer along `axis`, by that of the layer with the largest."""
    areas = inside.sum(axis=tuple({0, 1, 2} - {axis}))
    return float(areas[end] / max(areas.max(), 1))


def _intensities(volume: Volume, head: Head, inside: np.ndarray) -> dict[str, float]:
    box = _box(volume, head, 1.0)
    tissue = box[box > head.threshold].astype(np.float64) - head.background
    middle = _box(volume, head, 0.5).astype(np.float64) - head.background
    if tissue.size < 1000 or middle.size < 100:
        return dict.fromkeys(("intensity_median", "intensity_spread", "contrast", "snr", "air", "empty"), float("nan"))
    low, median, high = np.percentile(tissue, (25, 50, 75))
    dark, bright = np.percentile(middle, (10, 90))
    factors = np.maximum(1, np.round(BLOCK / spacing_of(volume.affine)).astype(int))
    return {
        "intensity_median": float(median),
        "intensity_spread": float((high - low) / median),
        "contrast": float((bright - dark) / median),
        "snr": float(median / max(_noise(volume, head), 1e-4 * median)),
        "air": _air(volume, head, inside, factors) / float(median),
        "empty": _empty(volume.data),
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
    difference = np.abs(box[:-2] - 2 * box[1:-1] + box[2:])[usable]
    return float(1.4826 * np.median(difference) / SECOND_DIFFERENCE) if difference.size else float("nan")


def _air(volume: Volume, head: Head, inside: np.ndarray, factors: np.ndarray) -> float:
    """How bright the brightest hundredth of the blocks far from the head is, above the background."""
    from scipy import ndimage

    spacing = spacing_of(volume.affine) * factors
    far = ndimage.distance_transform_edt(~inside, sampling=spacing) > AWAY
    blocks = block_means(volume.data, factors)[far]
    return float(max(np.percentile(blocks, 99) - head.background, 0)) if blocks.size else float("nan")


def _empty(data: np.ndarray) -> float:
    faces = np.concatenate([data[0].ravel(), data[-1].ravel(), data[:, 0].ravel(), data[:, -1].ravel()])
    values, counts = np.unique(faces, return_counts=True)
    return float(np.count_nonzero(data == values[np.argmax(counts)]) / data.size)
