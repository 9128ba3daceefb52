"""The grid of a prepared scan, and a volume's way onto it in one interpolation.

The grid is parallel to its frame's axes, of the wanted spacing and shape, and its middle is the middle of the head's
bounding box. A grid lower than the head keeps the top and lets the neck go.
"""

import numpy as np

from tfmri.images.geometry import centred_grid, spacing_of, to_world
from tfmri.images.head import Head
from tfmri.images.read import Volume


def place_grid(
    volume: Volume, head: Head, spacing: tuple[float, float, float], shape: tuple[int, int, int]
) -> np.ndarray:
    """The affine of the grid of `spacing` (mm) and `shape` around `head`.

    A scan that already has the wanted spacing and axes keeps its own voxels: the grid moves by less than half a voxel
    onto them, so that nothing is interpolated.
    """
    centre = (head.low + head.high) / 2
    centre[2] = head.high[2] - min(head.high[2] - head.low[2], shape[2] * spacing[2]) / 2
    affine = centred_grid(centre, spacing, shape)
    steps = np.linalg.solve(volume.affine, affine)
    if np.allclose(steps[:3, :3], np.eye(3), atol=1e-4):
        affine[:3, 3] = to_world(volume.affine, np.round(steps[:3, 3]))
    return affine


def antialiasing(affine: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
    """(3,) standard deviations, in voxels of the source, of the Gaussian that goes before coarser sampling.

    Voxels of width s see the world through a Gaussian of that width at half height; the filter adds the variance that
    is missing to the new width: sigma = sqrt(new² - old²) / (2 sqrt(2 ln 2)), and 0 where the new grid is finer. Along
    an oblique axis d the new width is sqrt(sum (d_i new_i)²), exact where the new spacing is the same everywhere.

    Source: Cardoso et al. 2015, Scale factor point spread function matching, MICCAI, LNCS 9350, section 2.
    """
    old = spacing_of(affine)
    new = np.sqrt(((affine[:3, :3] / old * np.asarray(spacing)[:, np.newaxis]) ** 2).sum(axis=0))
    return np.sqrt(np.maximum(new**2 - old**2, 0)) / (2 * np.sqrt(2 * np.log(2))) / old


def resample(
    volume: Volume, affine: np.ndarray, shape: tuple[int, int, int], sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`volume` on the grid of `affine` and `shape`, after a Gaussian of `sigmas` voxels of the source along its axes.

    Returns:
        (x, y, z) float32, and (x, y, z) bool: what the field of view does not reach, NaN in the former.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    # From index to index: the geometry stays in this matrix, and SimpleITK knows of no world, no LPS, no directions.
    steps = np.linalg.solve(volume.affine, affine)
    corners = to_world(steps, np.stack(np.meshgrid(*[(0, length - 1) for length in shape]), axis=-1).reshape(-1, 3))
    kernels = [_gaussian(sigma) for sigma in sigmas]
    margin = np.array([len(kernel) // 2 + 1 for kernel in kernels])
    first = np.clip(np.floor(corners.min(axis=0) - margin), 0, volume.data.shape).astype(int)
    last = np.clip(np.ceil(corners.max(axis=0) + margin) + 1, 0, volume.data.shape).astype(int)
    needed = volume.data[tuple(slice(start, stop) for start, stop in zip(first, last, strict=True))]
    needed = needed.T  # (z, y, x), as SimpleITK stores
    for axis, kernel in enumerate(kernels[::-1]):
        if len(kernel) > 1:
            needed = ndimage.correlate1d(needed, kernel, axis=axis, mode="nearest")

    transform = sitk.AffineTransform(3)
    transform.SetMatrix(steps[:3, :3].ravel().tolist())
    transform.SetTranslation((steps[:3, 3] - first).tolist())
    resampler = sitk.ResampleImageFilter()
    resampler.SetSize([int(length) for length in shape])
    resampler.SetTransform(transform)
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetDefaultPixelValue(np.nan)
    resampler.SetNumberOfThreads(1)  # processes are what runs in parallel
    image = sitk.GetArrayFromImage(resampler.Execute(sitk.GetImageFromArray(needed))).T
    return image, np.isnan(image)


def _gaussian(sigma: float) -> np.ndarray:
    """The discrete Gaussian of `sigma` voxels, whose variance is sigma² however small; a sampled Gaussian's is not.

    Source: Lindeberg 1990, Scale-space for discrete signals, IEEE PAMI 12(3): exp(-t) I_n(t) with t = sigma².
    """
    from scipy.special import ive

    reach = int(np.ceil(4 * sigma)) + 1 if sigma > 0.01 else 0
    weights = ive(np.abs(np.arange(-reach, reach + 1)), sigma**2)
    return weights / weights.sum()
