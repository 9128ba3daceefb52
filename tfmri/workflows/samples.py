"""From a run's table and its prepared scans to what the pipeline reads."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfmri.images.cache import CachedScan
from tfmri.pipeline.dataset import Samples


def make_samples(table: pd.DataFrame, cached: Sequence[CachedScan], task: Any, target: str, shape: Sequence[int]) -> Samples:
    """Aligns table, cache and task row by row.

    Args:
        table: of n scans.
        cached: n prepared scans.
        task: fitted to the training subjects.
        target: its column.
        shape: (x, y, z) of the prepared images.
    """
    return Samples(
        files=np.array([str(each.image) for each in cached]),
        scans=table["scan"].to_numpy(str),
        targets=task.encode(table[target]),
        weights=task.weights(table[target]),
        backgrounds=np.array([each.background for each in cached], np.float32),
        shape=(shape[0], shape[1], shape[2], 1),
    )


def rows_of(table: pd.DataFrame, split: str) -> np.ndarray:
    """Row numbers of a split, int64."""
    return np.flatnonzero(table["split"] == split)
