"""Intensities as a model sees them: each image by its own head, clipped, in float16."""

from typing import Any

import numpy as np

from tfmri.images import histogram
from tfmri.images.head import Head, refusal
from tfmri.images.read import Volume

NORMALISATIONS = ("zscore", "percentiles", "mean", "none", "histogram")
PERCENTILES = (0.1, 99.9)  # of the foreground; beyond lie vessels, fat and spikes
LIMIT = 5.0  # standard deviations


def normalise(
    image: np.ndarray,
    head: Head,
    volume: Volume,
    method: str,
    inside: np.ndarray | None = None,
    box: float | None = None,
) -> tuple[np.ndarray, float, dict[str, Any]]:
    """`image` (x, y, z) by `method`, one of those that `prepare.Preparation` explains.

    Args:
        image: on the grid.
        head: where it lies, for threshold and background.
        volume: as read; masked, where there is a mask; in the frame of the grid.
        method: of NORMALISATIONS.
        inside: (x, y, z) bool, the mask on the grid; without one, what is brighter than the threshold is foreground.
        box: mm³ over which 'mean' takes the mean, background wherever the volume is not; None: over the volume.

    Returns:
        float16 of the same shape; the background's normalised intensity; the numbers that were used.

    Raises:
        InputError: nothing to normalise by, or a result that float16 cannot hold.
    """
    inside = image > head.threshold if inside is None else inside
    foreground = image.T[inside.T]  # in the order of memory, which is several times faster
    if foreground.size < image.size / 1000:
        found = (
            f"only {foreground.size} of {image.size} voxels around the head are in the mask, or above the background"
        )
        raise refusal(volume, found)
    low, high = (float(value) for value in np.percentile(foreground, PERCENTILES))
    shift, scale, bounds = 0.0, 1.0, (-np.inf, np.inf)
    if method in ("zscore", "histogram"):
        usual = np.clip(foreground, low, high, dtype=np.float64)
        shift, scale, bounds = float(usual.mean()), float(usual.std()), (-LIMIT, LIMIT)
    elif method == "percentiles":
        shift, scale, bounds = head.background, high - head.background, (0.0, 1.0)
    elif method == "mean":
        scale = float(volume.data.mean(dtype=np.float64))
        if box is not None:
            filled = volume.data.size * abs(float(np.linalg.det(volume.affine[:3, :3]))) / box
            scale = head.background + (scale - head.background) * filled
    if method != "none" and not scale > 1e-6 * abs(high):
        raise refusal(volume, f"its intensities cannot be normalised by {method}: they would be divided by {scale:g}")

    def mapped(values: Any) -> Any:
        values = values - shift
        values /= scale
        return np.clip(values, *bounds)

    if method in ("zscore", "percentiles", "histogram"):
        image = np.minimum(image, high)
    moved, background = mapped(image), float(np.float16(mapped(np.float64(head.background))))
    with np.errstate(over="ignore"):  # noticed here; float16 itself is slow to search
        lowest, highest = np.float16(moved.min()), np.float16(moved.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)) or lowest == highest:
        found = f"intensities from {image.min():g} to {image.max():g}, divided by {scale:g}"
        raise refusal(volume, found, "what float16 can hold", "Choose another `normalise`, zscore say.")
    result = moved.astype(np.float16, order="C")
    numbers = {"shift": shift, "scale": scale, "low": low, "high": high}
    if method == "histogram":
        try:
            numbers["landmarks"] = histogram.landmarks(result.astype(np.float32), inside).tolist()
        except ValueError as error:  # nearly all of it is of one intensity
            raise refusal(volume, str(error)) from error
    return result, background, numbers
