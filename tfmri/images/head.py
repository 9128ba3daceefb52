"""Where the head, or the extracted brain, lies in a scan, and what parts it from the air.

On blocks of about 4 mm: Otsu's threshold parts background from tissue, what is brighter than a quarter of the way
between their medians is foreground (dark CSF is in, noise is out), and the largest connected piece of that is the head.

Only the uppermost 170 mm count for its height, and the uppermost 100 mm for width and length: how much of neck, chin
and nose a scan shows, or was left by defacing, must not move the brain.
"""

from dataclasses import dataclass

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.images.geometry import spacing_of, to_world
from tfmri.images.read import Volume

BLOCK = 4.0  # mm
HEAD_HEIGHT = 170.0  # mm, from the top of the scalp to below the cerebellum: the default of FSL's robustfov
SKULL_CAP = 100.0  # mm, from the top of the scalp to about the eyes, above nose and ears
FOREGROUND = 0.25  # of the way from the background's median to the tissue's
BRIGHTEST = 99.9  # percentile of the blocks; how bright the others are must not widen the bins of Otsu's histogram


@dataclass(frozen=True)
class Head:
    """Where the head, or the extracted brain, lies.

    Args:
        low: (3,) mm, the left, back, lower corner of its bounding box, as the module describes it.
        high: (3,) mm, the opposite corner.
        threshold: intensity above which a voxel is foreground.
        background: median intensity of the blocks that Otsu's threshold calls dark.
    """

    low: np.ndarray
    high: np.ndarray
    threshold: float
    background: float


def find_head(volume: Volume) -> Head:
    """The largest thing in the picture that is brighter than the background, as the module describes it.

    Source: Otsu 1979, IEEE Transactions on Systems, Man and Cybernetics 9(1), for the threshold.

    Raises:
        InputError: nothing is brighter than the background.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    factors = np.maximum(1, np.round(BLOCK / spacing_of(volume.affine)).astype(int))
    blocks = _block_means(volume.data, factors)

    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.SetNumberOfThreads(1)
    otsu.Execute(sitk.GetImageFromArray(np.minimum(blocks, np.percentile(blocks, BRIGHTEST))))
    bright = blocks > otsu.GetThreshold()
    if not bright.any():
        raise refusal(volume, "no head stands out from the background")
    background = float(np.median(blocks[~bright]))
    threshold = background + FOREGROUND * (float(np.median(blocks[bright])) - background)
    foreground = blocks > threshold
    opened = ndimage.binary_opening(foreground)  # cuts specks of noise and what hangs on by a thread
    pieces, _ = ndimage.label(opened if opened.any() else foreground)
    largest = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])

    world = to_world(volume.affine, np.argwhere(largest) * factors + (factors - 1) / 2)
    reach = np.abs(volume.affine[:3, :3]) @ (factors / 2)  # from the middle of a block to its far corner
    cap = world[world[:, 2] > world[:, 2].max() - SKULL_CAP]
    low, high = cap.min(axis=0) - reach, cap.max(axis=0) + reach
    low[2] = max(world[:, 2].min() - reach[2], high[2] - HEAD_HEIGHT)
    return Head(low, high, threshold, background)


def _block_means(data: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The means of `data` over blocks of `factors` voxels, of fewer where an axis ends."""
    order = np.argsort(-np.abs(data.strides))  # as it lies in memory: whole slabs first, the slow last axis on a rest
    blocks = data.transpose(order)
    for factor in factors[order]:  # the first axis is averaged and becomes the last
        starts = range(0, len(blocks), factor)
        blocks = np.stack([blocks[start : start + factor].mean(axis=0) for start in starts], axis=-1)
    return blocks.transpose(np.argsort(order))


def refusal(
    volume: Volume,
    found: str,
    expected: str = "an image of a head",
    advice: str = "Look at the scan: is it a mask, a label map, or mostly noise?",
) -> InputError:
    """What to raise where `volume` cannot be used."""
    return InputError(Problem(str(volume.path or "the scan"), found, expected, advice))
