"""From a scan as it was acquired to the array a model sees: steps 1 to 4, whose numbers `Prepared.done` tells.

1. Find the head. On blocks of about 4 mm: Otsu's threshold parts background from tissue, what is brighter than a
   quarter of the way between their medians is foreground (dark CSF is in, noise is out), and the largest connected
   piece of that is the head, or the brain where it was extracted.
2. Place the grid. It is parallel to the world's axes, of the wanted spacing and shape, and its middle is the middle of
   the head's bounding box. Only the uppermost 170 mm count for its height, and the uppermost 100 mm for width and
   length: how much of neck, chin and nose a scan shows, or was left by defacing, must not move the brain. A grid lower
   than the head keeps the top and lets the neck go.
3. Resample, in one interpolation straight from the scan's own, perhaps oblique, grid: a Gaussian against aliasing where
   the new grid is coarser, then linear interpolation. What lies outside of the field of view becomes background.
4. Normalise and clip, to float16.

Arrays and affines follow `geometry`. SciPy and SimpleITK are imported where they work: whoever only needs the settings,
or finds every scan in the cache, does not wait for them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.images.geometry import centred_grid, obliqueness, spacing_of, to_world
from tfmri.images.read import Volume

STEPS_VERSION = 1  # counts up whenever a scan would be prepared differently from before: the cache keys on it

NORMALISATIONS = ("zscore", "minmax", "mean", "none")
BLOCK = 4.0  # mm
HEAD_HEIGHT = 170.0  # mm, from the top of the scalp to below the cerebellum: the default of FSL's robustfov
SKULL_CAP = 100.0  # mm, from the top of the scalp to about the eyes, above nose and ears
FOREGROUND = 0.25  # of the way from the background's median to the tissue's
PERCENTILES = (0.1, 99.9)  # of the foreground; beyond lie vessels, fat and spikes
LIMIT = 5.0  # standard deviations


@dataclass(frozen=True)
class Preparation:
    """How scans are prepared.

    Args:
        spacing: (x, y, z) mm.
        shape: (x, y, z) voxels.
        normalise: 'zscore': mean 0 and standard deviation 1 over the foreground; 'minmax': 0 is the background, 1 the
            99.9th percentile of the foreground; 'mean': divided by the mean of the whole volume as read; 'none'.

    Raises:
        ValueError: anything else.
    """

    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    normalise: str = "zscore"

    def __post_init__(self) -> None:
        # 3 and 3.0, list and tuple are one setting, and must be one key of the cache
        object.__setattr__(self, "spacing", tuple(float(value) for value in self.spacing))
        object.__setattr__(self, "shape", tuple(int(value) for value in self.shape))
        if len(self.spacing) != 3 or not all(0 < value < np.inf for value in self.spacing):
            raise ValueError(f"spacing is three positive numbers in mm, not {self.spacing}")
        if len(self.shape) != 3 or not all(value > 0 for value in self.shape):
            raise ValueError(f"shape is three positive numbers of voxels, not {self.shape}")
        if self.normalise not in NORMALISATIONS:
            raise ValueError(f"normalise is one of {', '.join(NORMALISATIONS)}, not '{self.normalise}'")


@dataclass(frozen=True)
class Prepared:
    """A scan as a model sees it.

    Args:
        image: (x, y, z, 1) float16, C-ordered, axes parallel to the world's.
        affine: (4, 4) voxel indices to mm.
        background: the normalised intensity of air, with which padding pads.
        done: what was done, for JSON.
    """

    image: np.ndarray
    affine: np.ndarray
    background: float
    done: dict[str, Any]


@dataclass(frozen=True)
class Head:
    """Where the head, or the extracted brain, lies.

    Args:
        low: (3,) mm, the left, back, lower corner of the bounding box that step 2 speaks of.
        high: (3,) mm, the opposite corner.
        threshold: intensity above which a voxel is foreground.
        background: median intensity of the blocks that Otsu's threshold calls dark.
    """

    low: np.ndarray
    high: np.ndarray
    threshold: float
    background: float


def prepare(volume: Volume, preparation: Preparation) -> Prepared:
    """`volume` on the grid and in the intensities that `preparation` asks for.

    Raises:
        InputError: no head is found, or its intensities cannot be normalised or held in float16.
    """
    head = find_head(volume)
    affine = place_grid(volume, head, preparation)
    sigmas = antialiasing(volume.affine, preparation.spacing)
    image, outside = resample(volume, affine, preparation.shape, sigmas)
    image[outside] = head.background
    image, background, numbers = normalise(image, head, volume, preparation.normalise)
    done = {
        "source_shape": list(volume.data.shape),
        "source_spacing": spacing_of(volume.affine).round(4).tolist(),
        "oblique_degrees": round(obliqueness(volume.affine), 2),
        "gaussian_sigma_voxels": sigmas.round(4).tolist(),
        "head_mm": [head.low.round(1).tolist(), head.high.round(1).tolist()],
        "outside_field_of_view": round(float(outside.mean()), 4),
        "threshold": head.threshold,
        "background": head.background,
        "normalise": {"method": preparation.normalise, **numbers},
    }
    return Prepared(np.ascontiguousarray(image[..., np.newaxis]), affine, background, done)


def find_head(volume: Volume) -> Head:
    """The largest thing in the picture that is brighter than the background, as step 1 above says.

    Source: Otsu 1979, IEEE Transactions on Systems, Man and Cybernetics 9(1), for the threshold.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    factors = np.maximum(1, np.round(BLOCK / spacing_of(volume.affine)).astype(int))
    blocks = volume.data
    for axis in np.argsort(np.abs(blocks.strides))[::-1]:  # last the one along which memory runs: it is the slowest
        starts = np.arange(0, volume.data.shape[axis], factors[axis])
        sizes = np.diff([*starts, volume.data.shape[axis]]).astype(np.float32)
        sums = np.add.reduceat(blocks, starts, axis=axis)
        blocks = sums / np.expand_dims(sizes, tuple({0, 1, 2} - {int(axis)}))

    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.SetNumberOfThreads(1)
    otsu.Execute(sitk.GetImageFromArray(np.minimum(blocks, np.percentile(blocks, PERCENTILES[1]))))
    bright = blocks > otsu.GetThreshold()
    if not bright.any():
        raise _refusal(volume, "no head stands out from the background")
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


def place_grid(volume: Volume, head: Head, preparation: Preparation) -> np.ndarray:
    """The affine of the grid around `head`, as step 2 above says.

    A scan that already has the wanted spacing and axes keeps its own voxels: the grid moves by less than half a voxel
    onto them, so that nothing is interpolated.
    """
    centre = (head.low + head.high) / 2
    centre[2] = head.high[2] - min(head.high[2] - head.low[2], preparation.shape[2] * preparation.spacing[2]) / 2
    affine = centred_grid(centre, preparation.spacing, preparation.shape)
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
    needed = np.ascontiguousarray(needed.T)  # (z, y, x), as SimpleITK stores
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


def normalise(image: np.ndarray, head: Head, volume: Volume, method: str) -> tuple[np.ndarray, float, dict[str, float]]:
    """`image` (x, y, z) by `method`, one of those that `Preparation` explains.

    Returns:
        float16 of the same shape; the background's normalised intensity; the numbers that were used.

    Raises:
        InputError: nothing to normalise by, or a result that float16 cannot hold.
    """
    foreground = image[image > head.threshold]
    if foreground.size < image.size / 1000:
        found = f"only {foreground.size} of {image.size} voxels around the head are brighter than the background"
        raise _refusal(volume, found)
    low, high = (float(value) for value in np.percentile(foreground, PERCENTILES))
    shift, scale, bounds = 0.0, 1.0, (-np.inf, np.inf)
    if method == "zscore":
        usual = np.clip(foreground, low, high, dtype=np.float64)
        shift, scale, bounds = float(usual.mean()), float(usual.std()), (-LIMIT, LIMIT)
    elif method == "minmax":
        shift, scale, bounds = head.background, high - head.background, (0.0, 1.0)
    elif method == "mean":
        scale = float(volume.data.mean(dtype=np.float64))
    if method != "none" and not scale > 1e-6 * abs(high):
        raise _refusal(volume, f"its intensities cannot be normalised by {method}: they would be divided by {scale:g}")

    def mapped(values: Any) -> Any:
        with np.errstate(over="ignore"):  # noticed below
            return np.clip((values - shift) / scale, *bounds).astype(np.float16)

    if method in ("zscore", "minmax"):
        image = np.minimum(image, high)
    result, background = mapped(image), float(mapped(np.float64(head.background)))
    if not np.isfinite(result).all() or result.min() == result.max():
        found = f"intensities from {image.min():g} to {image.max():g}, divided by {scale:g}"
        raise _refusal(volume, found, "what float16 can hold", "Choose another `normalise`, zscore say.")
    return result, background, {"shift": shift, "scale": scale, "low": low, "high": high}


def _refusal(
    volume: Volume, found: str, expected: str = "a T1-weighted image of a head", advice: str = ""
) -> InputError:
    advice = advice or "Look at the scan: is it a mask, a label map, or mostly noise?"
    return InputError(Problem(str(volume.path or "the scan"), found, expected, advice))
