"""Uneven brightness, which receiving coils leave in a scan, taken out by N4.

1. The scan is reduced by a whole factor along each axis: fields are smooth, and N4's time goes with the voxels.
2. N4 sharpens the histogram of the logarithm of what is in the mask, and fits B-splines to what separates the scan
   from that: first with one piece across the mask, some 150 mm, then with pieces half and a quarter as long.
3. The logarithm of the field is interpolated onto the scan's own grid, the scan is divided by its exponential, and
   scaled so that its mean in the mask is what it was.

Source: Tustison et al. 2010, N4ITK: Improved N3 bias correction, IEEE Transactions on Medical Imaging 29(6).
"""

from typing import Any

import numpy as np

from tfmri.images.geometry import spacing_of
from tfmri.images.mask import block_means, magnified
from tfmri.images.read import Volume
from tfmri.images.threads import one_thread

ITERATIONS = (50, 40, 20)  # at most, for each size of the splines' pieces; a fourth size takes anatomy for bias
CONVERGENCE = 0.001  # change of the field, below which the next size is taken
COARSEST = 6.0  # mm
DARK = 0.25  # of the median in the mask; what is darker is bone, air or fluid, whose logarithm is mostly noise


def correct_bias_field(volume: Volume, mask: np.ndarray | None = None, shrink: int = 6) -> Volume:
    """`volume` without its bias field: the same grid, the same mean intensity in the mask.

    Args:
        volume: a scan whose tissue is positive.
        mask: (x, y, z) bool, the head or the brain; by default what Otsu's threshold calls bright.
        shrink: voxels of the scan along each axis for one that N4 sees; fewer, where that would be coarser than 6 mm.

    Raises:
        ValueError: a shrink below 1, a mask of another shape, or one that holds nothing positive.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    if shrink < 1 or (mask is not None and mask.shape != volume.data.shape):
        raise ValueError("shrink is 1 or more, and a mask has the shape of its scan")
    spacing = spacing_of(volume.affine)
    factors = np.clip(np.round(COARSEST / spacing), 1, shrink).astype(int)
    blocks = block_means(volume.data, factors)
    chosen = _otsu(blocks) if mask is None else block_means(mask.astype(np.float32), factors) > 0.5
    chosen &= blocks > 0
    if not chosen.any():
        raise ValueError("the mask holds nothing that is brighter than 0")
    chosen &= blocks > DARK * np.median(blocks[chosen])

    corners = np.array([[run.start, run.stop] for run in ndimage.find_objects(chosen.astype(np.uint8))[0]])
    box = tuple(slice(max(0, start - 1), stop + 1) for start, stop in corners)
    image, where = (_as_sitk(each[box], spacing * factors) for each in (blocks, chosen.astype(np.uint8)))
    with one_thread():
        n4 = sitk.N4BiasFieldCorrectionImageFilter()
        n4.SetMaximumNumberOfIterations(ITERATIONS)
        n4.SetConvergenceThreshold(CONVERGENCE)
        n4.Execute(image, where)
        logarithm = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(image)).T
    field = np.exp(magnified(logarithm, factors, np.array([run.start for run in box]), volume.data.shape))

    data = volume.data / field
    inside = magnified(chosen, factors, np.zeros(3), volume.data.shape) > 0.5 if mask is None else mask
    before, after = (float(image[inside].mean(dtype=np.float64)) for image in (volume.data, data))
    data *= np.float32(before / after)
    return Volume(data, volume.affine, volume.path)


def _otsu(blocks: np.ndarray) -> np.ndarray:
    """What Otsu's threshold calls bright (bool)."""
    import SimpleITK as sitk

    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfThreads(1)
    otsu.Execute(sitk.GetImageFromArray(np.minimum(blocks, np.percentile(blocks, 99.9))))
    return blocks > otsu.GetThreshold()


def _as_sitk(data: np.ndarray, spacing: np.ndarray) -> Any:
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    image.SetSpacing(spacing.tolist())
    return image
