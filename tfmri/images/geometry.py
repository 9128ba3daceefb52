"""The conventions of every image in this program, and the few functions that follow from them.

- An array is ``(x, y, z)`` or ``(x, y, z, channel)``, a batch ``(batch, x, y, z, channel)``; shapes in settings are
  ``[x, y, z]``.
- Axes are RAS+: x grows to the subject's right, y to the front, z up. World coordinates are RAS+ too, in mm. (SimpleITK
  stores (z, y, x) and its world is LPS: none of that leaves the functions that call it.)
- An affine is ``(4, 4)`` and maps voxel indices to mm. Index (0, 0, 0) is the *centre* of the first voxel, so that the
  field of view begins half a voxel before it.
- A prepared image's axes are parallel to the world's, or those of the frame that its settings ask for. A volume as read
  is RAS+ to the nearest axis only: it may be oblique until it is resampled.
"""

import numpy as np


def spacing_of(affine: np.ndarray) -> np.ndarray:
    """(3,) distance in mm between neighbouring voxels along each axis of the array."""
    return np.sqrt((affine[:3, :3] ** 2).sum(axis=0))


def to_world(affine: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """(..., 3) mm of the voxel indices `indices` (..., 3), which may be fractions."""
    return indices @ affine[:3, :3].T + affine[:3, 3]


def obliqueness(affine: np.ndarray) -> float:
    """Degrees between the array's axes and the nearest axes of the world: the largest of the three angles."""
    cosines = np.abs(affine[:3, :3] / spacing_of(affine)).max(axis=0)
    return float(np.degrees(np.arccos(np.clip(cosines, -1, 1))).max())


def centred_grid(centre: np.ndarray, spacing: tuple[float, ...], shape: tuple[int, ...]) -> np.ndarray:
    """The affine of a grid of `shape` voxels, parallel to the world's axes, whose middle lies at `centre` (mm)."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = centre - (np.asarray(shape) - 1) / 2 * spacing
    return affine


def straightened(affine: np.ndarray) -> np.ndarray:
    """The rotation (4, 4) about the world's origin that lays the world's axes along the array's, as nearly as it can.

    In mm turned back by it, an oblique scan stands straight. Where the array's axes are not square to each other, the
    rotation is the nearest to them (the orthogonal polar factor).
    """
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing_of(affine))
    rotation = np.eye(4)
    rotation[:3, :3] = left @ right
    return rotation
