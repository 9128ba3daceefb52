"""What classical models see of a scan: its prepared image in large voxels, or columns of the labels file."""

import fnmatch
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfmri.cohort.values import is_missing, read_numbers
from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.images.cache import CachedScan

SIDE = 8.0  # mm of a voxel, about: a brain has some 3000 of them


def voxels(scans: Sequence[CachedScan]) -> np.ndarray:
    """(n, features) float32: means over blocks of about `SIDE` mm, all channels."""
    spacing = scans[0].record["preparation"]["spacing"]
    factors = [max(1, round(SIDE / each)) for each in spacing]
    return np.stack([block_means(np.load(scan.image), factors).ravel() for scan in scans])


def block_means(image: np.ndarray, factors: Sequence[int]) -> np.ndarray:
    """(x, y, z, channel) in blocks of `factors` voxels, float32; blocks that the image does not fill are left out."""
    for axis, factor in enumerate(factors):
        whole = image.shape[axis] // factor * factor
        image = np.take(image, range(whole), axis=axis).astype(np.float32)
        shape = (*image.shape[:axis], whole // factor, factor, *image.shape[axis + 1 :])
        image = image.reshape(shape).mean(axis=axis + 1)
    return image


def columns(table: pd.DataFrame, patterns: Sequence[str], target: str) -> tuple[np.ndarray, list[str]]:
    """(n, features) float64 of the columns that match, NaN where a cell is empty; and their names.

    Args:
        table: of scans, with the labels file's own columns.
        patterns: names with * and ?, without regard to case.
        target: never a feature.

    Raises:
        InputError: nothing matches, or a column holds what is no number.
    """
    own = [
        str(name)
        for name in table.columns
        if name not in ("subject", "session", "scan", "path", "split", "fold", target)
    ]
    names = [name for name in own if any(fnmatch.fnmatch(name.lower(), each.lower()) for each in patterns)]
    for each in patterns:
        if not any(fnmatch.fnmatch(name.lower(), each.lower()) for name in own):
            found, expected = f"no column is called '{each}'", f"one of {', '.join(own)}"
            raise InputError(Problem("--features", found, expected, did_you_mean(each, own)))
    values = []
    for name in names:
        cells = table[name].astype(str)
        known = cells[~is_missing(cells)]
        numbers, faults = read_numbers(known)
        if faults:
            first = f"column '{name}' holds '{known[faults[0].rows[0]]}'"
            raise InputError(Problem("--features", first, "numbers, or empty cells"))
        values.append(numbers.reindex(cells.index).to_numpy(float))
    return np.stack(values, axis=1), names
