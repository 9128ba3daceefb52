"""How much of each head a grid cuts off, from the records of prepared scans.

MNI152 is larger than most people: a shape that holds the heads as they were scanned may cut them once they are
registered. The lower face does not count, where the neck is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfmri.images.geometry import to_world
from tfmri.images.prepare import template_grid

STEP = 8  # voxels: shapes are told in multiples of it


def cut_off(records: Sequence[Mapping[str, Any]], shape: Sequence[int] | None = None) -> np.ndarray:
    """(n, 3) mm of each registered head beyond the grid, along x, y and z; negative where there is room.

    A head is taken for the ellipsoid in its bounding box, in whose turned box it would be too large.

    Args:
        records: of registered scans.
        shape: of another grid than theirs.
    """
    return np.array([_cut_off(record, shape) for record in records])


def _cut_off(record: Mapping[str, Any], shape: Sequence[int] | None) -> np.ndarray:
    spacing = np.array(record["preparation"]["spacing"])
    shape = tuple(shape or record["preparation"]["shape"])
    to_template = np.linalg.inv(record["done"]["registration"]["matrix"])
    low, high = np.array(record["done"]["channels"][0]["head_mm"])
    centre = to_world(to_template, (low + high) / 2)
    half = np.sqrt(((to_template[:3, :3] * (high - low) / 2) ** 2).sum(axis=1))
    corner = template_grid(tuple(spacing), shape)[:3, 3] - spacing / 2
    below, above = corner - (centre - half), centre + half - (corner + spacing * shape)
    return np.maximum(np.where([True, True, False], below, -np.inf), above)


def shape_that_holds(records: Sequence[Mapping[str, Any]], tolerance: float, share: float = 0.95) -> tuple[int, ...]:
    """The grid of `records`, grown until at most `tolerance` mm of a `share` of the heads lie beyond it."""
    shape = np.array(records[0]["preparation"]["shape"])
    while (lacking := np.quantile(cut_off(records, shape.tolist()), share, axis=0) > tolerance).any():
        shape[lacking] = (shape[lacking] // STEP + 1) * STEP
    return tuple(shape.tolist())
