"""One scale of intensities for all scans: histogram standardisation after Nyúl.

A scan's landmarks are percentiles of its own intensities within its mask. The standard scale is fitted once, on the
scans for training only, and stored with the fit: each of their landmarks is first stretched so that the outermost ones
lie where they lie on average, then the mean of each landmark is taken. A scan is standardised by the line through
(its landmark, standard landmark), straight between landmarks and going on straight beyond the outermost.

Source: Nyúl & Udupa 1999, Magnetic Resonance in Medicine 42(6), 1072-1081; the deciles as landmarks: Nyúl, Udupa &
Zhang 2000, IEEE Transactions on Medical Imaging 19(2), 143-150 (their L4).
"""

from collections.abc import Sequence

import numpy as np

LANDMARKS = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)  # percentiles
SMALLEST_STEP = 1e-6  # between neighbouring landmarks, as a fraction of the distance of the outermost


def landmarks(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(k,) float32: the percentiles `LANDMARKS` of `image` within `mask` (bool), arrays of the same shape.

    Ascending; neighbours that coincide, as in scans of few grey values, are a millionth of the range apart, or more
    where float32 asks for it, so that the line through them is one.

    Raises:
        ValueError: the mask is empty, or the image is constant within it.
    """
    if image.shape != mask.shape:
        raise ValueError(f"an image of {image.shape} and a mask of {mask.shape}")
    values = image[mask]
    own = np.percentile(values, LANDMARKS).astype(np.float64) if values.size else np.zeros(2)
    reach = own[-1] - own[0]
    if not reach > 0:
        raise ValueError("no intensities to take landmarks from: the mask is empty, or the image is constant in it")
    smallest = max(SMALLEST_STEP * reach, 4 * float(np.spacing(np.float32(np.abs(own).max()))))
    steps = smallest * np.arange(len(own))
    return (np.maximum.accumulate(own - steps) + steps).astype(np.float32)


def fit_standard(own: Sequence[np.ndarray]) -> np.ndarray:
    """(k,) float32 ascending: the standard scale, of the landmarks (k,) of each scan for training.

    The outermost landmarks of the standard are the means of the scans' own, so that its numbers look like theirs.

    Raises:
        ValueError: no scans.
    """
    if len(own) == 0:
        raise ValueError("a standard scale is fitted on at least one scan")
    table = np.stack(own).astype(np.float64)  # (scans, k)
    low, high = table[:, :1], table[:, -1:]
    stretched = (table - low) / (high - low) * (high.mean() - low.mean()) + low.mean()
    return stretched.mean(axis=0).astype(np.float32)


def map_to_standard(image: np.ndarray, own: np.ndarray, standard: np.ndarray) -> np.ndarray:
    """`image`, of any shape, as float32 with its landmarks `own` (k,) moved onto `standard` (k,)."""
    source, target = np.asarray(own, np.float64), np.asarray(standard, np.float64)
    slopes = (np.diff(target) / np.diff(source)).astype(np.float32)
    piece = np.searchsorted(np.asarray(own[1:-1], np.float32), image, side="right")
    start, goal = np.asarray(own, np.float32)[piece], np.asarray(standard, np.float32)[piece]
    return goal + (image.astype(np.float32) - start) * slopes[piece]
