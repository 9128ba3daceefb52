"""What is known of every scan of a run, row by row: what the pipeline reads. No TensorFlow here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tfmri.images.cache import CachedScan


@dataclass(frozen=True)
class Samples:
    """What is known of every scan of a run, one entry a row of its table.

    Args:
        files: (n,) paths of the prepared images, C-ordered float16 `.npy` of shape `shape`.
        scans: (n,) ids.
        targets: (n, ...) as the task encodes them.
        weights: (n,) float32.
        backgrounds: (n, channel) float32.
        shape: (x, y, z, channel) of every image.
        landmarks: (n, channel, k) float32 of the images, where they are moved onto a standard.
        standard: (channel, k) float32, learnt from the training scans; None where images are taken as prepared.
    """

    files: np.ndarray
    scans: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    backgrounds: np.ndarray
    shape: tuple[int, int, int, int]
    landmarks: np.ndarray | None = None
    standard: np.ndarray | None = None


def make_samples(
    table: pd.DataFrame,
    cached: Sequence[CachedScan],
    task: Any,
    target: str,
    shape: Sequence[int],
    standard: np.ndarray | None = None,
) -> Samples:
    """Aligns table, cache and task row by row.

    Args:
        table: of n scans.
        cached: n prepared scans.
        task: fitted to the training subjects; None where nothing is learnt from the targets, which are then zeros.
        target: its column.
        shape: (x, y, z) of the prepared images.
        standard: (channel, k) the scale of the fit (`FittedPreparation.standard`).
    """
    backgrounds = np.array([each.background for each in cached], np.float32)
    return Samples(
        files=np.array([str(each.image) for each in cached]),
        scans=table["scan"].to_numpy(str),
        targets=np.zeros(len(table), np.float32) if task is None else task.encode(table[target]),
        weights=np.ones(len(table), np.float32) if task is None else task.weights(table[target]),
        backgrounds=backgrounds,
        shape=(shape[0], shape[1], shape[2], backgrounds.shape[1]),
        landmarks=None if standard is None else np.stack([each.landmarks for each in cached]),
        standard=standard,
    )
