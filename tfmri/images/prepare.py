"""From a scan as it was acquired to the array a model sees: steps 1 to 8, whose numbers `Prepared.done` tells.

A scan is one file, or several: its channels (T1, T2, FLAIR...), of which the first leads, and a mask. Steps 2, 3 and 5
are done where the settings ask for them.

1. Find the head. On blocks of about 4 mm: Otsu's threshold parts background from tissue, what is brighter than a
   quarter of the way between their medians is foreground (dark CSF is in, noise is out), and the largest connected
   piece of that is the head, or the brain where it was extracted.
2. Mask: which voxels of the first channel count (`mask`). Outside of it all is background from here on.
3. Take the bias field out of each channel (`bias_field`).
4. Place the grid. It is parallel to its frame's axes, of the wanted spacing and shape, and its middle is the middle
   of the head's bounding box. Only the uppermost 170 mm count for its height, and the uppermost 100 mm for width and
   length: how much of neck, chin and nose a scan shows, or was left by defacing, must not move the brain. A grid lower
   than the head keeps the top and lets the neck go.
5. The frame is the world, in which an oblique scan stands straight, or the scan's own axes, or MNI152 (`registration`),
   where the grid is the same for every scan: the one around the template.
6. Resample, in one interpolation straight from the scan's own, perhaps oblique, grid: a Gaussian against aliasing where
   the new grid is coarser, then linear interpolation. What lies outside of the field of view becomes background. Other
   channels lie where their own affines put them; nothing moves them onto the first.
7. Apply the mask.
8. Normalise and clip, each channel by itself, to float16.

Arrays and affines follow `geometry`. SciPy and SimpleITK are imported where they work: whoever only needs the settings,
or finds every scan in the cache, does not wait for them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.images import histogram
from tfmri.images.geometry import centred_grid, obliqueness, spacing_of, straightened, to_world
from tfmri.images.read import Volume, parse_volume, read_file

STEPS_VERSION = 1  # counts up whenever a scan would be prepared differently from before: the cache keys on it

ORIENTATIONS = ("world", "scan")
BIAS_CORRECTIONS = ("none", "n4")
REGISTRATIONS = ("none", "mni152")
MASKS = ("none", "head", "file")  # or a command
NORMALISATIONS = ("zscore", "percentiles", "mean", "none", "histogram")
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
        normalise: 'zscore': mean 0 and standard deviation 1 over the foreground, or the mask; 'percentiles': 0 is the
            background, 1 the 99.9th percentile of the foreground; 'mean': divided by the mean of the whole volume as
            read, or masked; 'none'; 'histogram': as 'zscore', with the landmarks by which a fit moves its scans onto
            one scale (`histogram`).
        channels: images that make up a scan.
        orientation: 'world': the grid is parallel to the world's axes; 'scan': to the scan's, those nearest to RAS+.
        bias_correction: 'none' or 'n4'.
        registration: 'none' or 'mni152': the grid lies in the template's mm, the same for all scans.
        mask: 'none'; 'head'; 'file': given with each scan; or a command with {scan} and {mask} (`mask.tool_mask`).

    Raises:
        ValueError: anything else.
    """

    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    normalise: str = "zscore"
    channels: int = 1
    orientation: str = "world"
    bias_correction: str = "none"
    registration: str = "none"
    mask: str = "none"

    def __post_init__(self) -> None:
        # 3 and 3.0, list and tuple are one setting, and must be one key of the cache
        object.__setattr__(self, "spacing", tuple(float(value) for value in self.spacing))
        object.__setattr__(self, "shape", tuple(int(value) for value in self.shape))
        if len(self.spacing) != 3 or not all(0 < value < np.inf for value in self.spacing):
            raise ValueError(f"spacing is three positive numbers in mm, not {self.spacing}")
        if len(self.shape) != 3 or not all(value > 0 for value in self.shape):
            raise ValueError(f"shape is three positive numbers of voxels, not {self.shape}")
        if self.channels < 1:
            raise ValueError(f"channels is 1 or more, not {self.channels}")
        for name, known in [
            ("normalise", NORMALISATIONS),
            ("orientation", ORIENTATIONS),
            ("bias_correction", BIAS_CORRECTIONS),
            ("registration", REGISTRATIONS),
        ]:
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}, not '{getattr(self, name)}'")
        if self.mask not in MASKS and not ("{scan}" in self.mask and "{mask}" in self.mask):
            raise ValueError(f"mask is one of {', '.join(MASKS)} or a command with {{scan}} and {{mask}}")
        if self.orientation == "scan" and self.registration != "none":
            raise ValueError("orientation is the template's where registration is mni152: leave orientation out")


@dataclass(frozen=True)
class Prepared:
    """A scan as a model sees it.

    Args:
        image: (x, y, z, channel) float16, C-ordered, axes parallel to the frame's.
        affine: (4, 4) voxel indices to mm of the frame: of the world, or of MNI152 where the scan was registered.
        background: the normalised intensity of air in each channel, with which padding pads.
        mask: (x, y, z) uint8, C-ordered, 1 inside; None where `Preparation.mask` is 'none'.
        done: what was done, for JSON.
    """

    image: np.ndarray
    affine: np.ndarray
    background: tuple[float, ...]
    mask: np.ndarray | None
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


def prepare_files(
    images: Sequence[Path],
    mask: Path | None,
    preparation: Preparation,
    standard: np.ndarray | None = None,
    read: Callable[[Path], bytes] = read_file,
) -> Prepared:
    """One scan from its files: the one way into training, prediction and export.

    Args:
        images: a NIfTI file for each channel.
        mask: a NIfTI file, where `preparation.mask` is 'file'.
        preparation: the settings.
        standard: (channel, landmarks) the scale of a fit, where `preparation.normalise` is 'histogram'. Without it the
            scan is as the cache keeps it, and the pipeline moves it onto the standard.
        read: gives the bytes of an image.

    Raises:
        InputError: a file that cannot be used; else as `prepare`.
    """
    volumes = [parse_volume(read(Path(path)), Path(path)) for path in images]
    given = None
    if preparation.mask == "file":
        from tfmri.images.mask import read_mask

        if mask is None:
            raise InputError(Problem(str(images[0]), "no mask is given with this scan", "a NIfTI file of 0 and 1"))
        given = read_mask(mask, volumes[0])
    prepared = prepare(volumes, preparation, given)
    return prepared if standard is None else standardised(prepared, standard)


def prepare(volumes: Volume | Sequence[Volume], preparation: Preparation, mask: np.ndarray | None = None) -> Prepared:
    """A scan on the grid and in the intensities that `preparation` asks for.

    Args:
        volumes: its channels; of one, the volume alone will do.
        preparation: the settings.
        mask: (x, y, z) bool on the grid of the first channel, where `preparation.mask` is 'file'.

    Raises:
        InputError: no head is found, or its intensities cannot be normalised or held in float16; as
            `register_to_template`, `head_mask` and `tool_mask`, where the settings ask for them.
    """
    volumes = [volumes] if isinstance(volumes, Volume) else list(volumes)
    if len(volumes) != preparation.channels:
        raise ValueError(f"{len(volumes)} volumes, and the preparation is of {preparation.channels} channels")
    inside = _mask(volumes[0], preparation.mask, mask)
    channels = [_channel(volume, volumes[0], inside, preparation) for volume in volumes]
    first = channels[0]
    frame, registration = _frame(first, preparation)
    if preparation.registration == "mni152":
        affine = _template_grid(preparation)
    elif frame is None:
        affine = place_grid(first.volume, first.head, preparation)
    else:
        straight = _in_frame(first.seen, frame)
        affine = place_grid(straight, find_head(straight), preparation)

    kept = None
    if inside is not None:
        assert first.inside is not None
        share = Volume(first.inside.astype(np.float32), first.volume.affine)
        kept = _resampled(share, frame, affine, preparation)[0] >= 0.5  # NaN, outside of the field of view, is not
    images, backgrounds, numbers = [], [], []
    for channel in channels:
        image, outside, sigmas = _resampled(channel.volume, frame, affine, preparation)
        image[outside] = channel.head.background
        if kept is not None:
            image[~kept] = channel.head.background
        image, background, done = normalise(image, channel.head, channel.seen, preparation.normalise, kept)
        images.append(image)
        backgrounds.append(background)
        numbers.append(_account(channel, sigmas, outside) | {"normalise": {"method": preparation.normalise, **done}})
    done = {"frame": (np.eye(4) if frame is None else frame).tolist(), **registration, "channels": numbers}
    if kept is not None:
        done["mask_ml"] = round(float(kept.sum() * np.prod(preparation.spacing) / 1000), 1)
    image = np.ascontiguousarray(np.stack(images, axis=-1))
    whole = None if kept is None else np.ascontiguousarray(kept, np.uint8)
    return Prepared(image, affine, tuple(backgrounds), whole, done)


def standardised(prepared: Prepared, standard: np.ndarray) -> Prepared:
    """`prepared` with 'histogram', moved onto the `standard` (channel, landmarks) of a fit."""
    own = [np.array(channel["normalise"]["landmarks"], np.float32) for channel in prepared.done["channels"]]
    image, background = prepared.image.copy(), []
    for index, (landmarks, scale) in enumerate(zip(own, np.asarray(standard, np.float32), strict=True)):
        moved = histogram.map_to_standard(image[..., index].astype(np.float32), landmarks, scale)
        image[..., index] = moved.astype(np.float16)
        air = np.array([prepared.background[index]], np.float32)
        background.append(float(histogram.map_to_standard(air, landmarks, scale).astype(np.float16)[0]))
    done = prepared.done | {"standard": np.asarray(standard).tolist()}
    return Prepared(image, prepared.affine, tuple(background), prepared.mask, done)


@dataclass(frozen=True)
class _Channel:
    """One image of a scan: corrected, on its own grid; `seen` is the same with all outside of `inside` background."""

    volume: Volume
    seen: Volume
    inside: np.ndarray | None
    head: Head


def _mask(volume: Volume, how: str, given: np.ndarray | None) -> np.ndarray | None:
    """(x, y, z) bool on the volume's grid: step 2."""
    if how == "none":
        return None
    from tfmri.images.mask import head_mask, tool_mask

    if how == "file":
        if given is None:
            raise ValueError("the settings ask for a mask that is given, and none is")
        return given
    return head_mask(volume, find_head(volume)) if how == "head" else tool_mask(how, volume)


def _channel(volume: Volume, first: Volume, inside: np.ndarray | None, preparation: Preparation) -> _Channel:
    """Steps 3 and 1 of one image, `inside` being the mask on the grid of the `first`."""
    if inside is not None and volume is not first:
        same = volume.data.shape == first.data.shape and np.allclose(volume.affine, first.affine, atol=1e-3)
        if not same:
            share = Volume(inside.astype(np.float32), first.affine)
            shape = (volume.data.shape[0], volume.data.shape[1], volume.data.shape[2])
            inside = resample(share, volume.affine, shape, np.zeros(3))[0] >= 0.5
            if not inside.any():
                found = f"the mask of {first.path or 'the first channel'} lies outside of it"
                raise _refusal(volume, found, "images of one session", "Look at where both lie, in a viewer.")
    if preparation.bias_correction == "n4":
        from tfmri.images.bias_field import correct_bias_field

        try:
            volume = correct_bias_field(volume, inside)
        except ValueError as error:
            raise _refusal(volume, str(error)) from error
    if inside is None:
        return _Channel(volume, volume, None, find_head(volume))
    air = find_head(volume).background
    seen = Volume(np.where(inside, volume.data, np.float32(air)), volume.affine, volume.path)
    return _Channel(volume, seen, inside, find_head(seen))


def _frame(first: _Channel, preparation: Preparation) -> tuple[np.ndarray | None, dict[str, Any]]:
    """From mm of the grid's frame to mm of the scan's world, None where they are the same; and the account of it."""
    if preparation.registration == "mni152":
        from tfmri.images.registration import register_to_template

        found = register_to_template(first.volume, first.head, first.inside)
        numbers = {"quality": round(found.quality, 4), "threshold": found.threshold, "good": bool(found.good)}
        return found.matrix, {"registration": {"matrix": found.matrix.tolist(), **numbers}}
    return (straightened(first.volume.affine) if preparation.orientation == "scan" else None), {}


@cache
def _template_grid(preparation: Preparation) -> np.ndarray:
    from tfmri.images.registration import template

    return place_grid(template(), find_head(template()), preparation)


def _in_frame(volume: Volume, frame: np.ndarray | None) -> Volume:
    return volume if frame is None else Volume(volume.data, np.linalg.solve(frame, volume.affine), volume.path)


def _resampled(
    volume: Volume, frame: np.ndarray | None, affine: np.ndarray, preparation: Preparation
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The volume on the grid, what the field of view does not reach, and the sigmas of the Gaussian before."""
    volume = _in_frame(volume, frame)
    sigmas = antialiasing(volume.affine, preparation.spacing)
    return *resample(volume, affine, preparation.shape, sigmas), sigmas


def _account(channel: _Channel, sigmas: np.ndarray, outside: np.ndarray) -> dict[str, Any]:
    volume, head = channel.volume, channel.head
    return {
        "source_shape": list(volume.data.shape),
        "source_spacing": spacing_of(volume.affine).round(4).tolist(),
        "oblique_degrees": round(obliqueness(volume.affine), 2),
        "gaussian_sigma_voxels": sigmas.round(4).tolist(),
        "head_mm": [head.low.round(1).tolist(), head.high.round(1).tolist()],
        "outside_field_of_view": round(float(outside.mean()), 4),
        "threshold": head.threshold,
        "background": head.background,
    }


def find_head(volume: Volume) -> Head:
    """The largest thing in the picture that is brighter than the background, as step 1 above says.

    Source: Otsu 1979, IEEE Transactions on Systems, Man and Cybernetics 9(1), for the threshold.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    factors = np.maximum(1, np.round(BLOCK / spacing_of(volume.affine)).astype(int))
    blocks = _block_means(volume.data, factors)

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


def _block_means(data: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """The means of `data` over blocks of `factors` voxels, of fewer where an axis ends."""
    order = np.argsort(-np.abs(data.strides))  # as it lies in memory: whole slabs first, the slow last axis on a rest
    blocks = data.transpose(order)
    for factor in factors[order]:  # the first axis is averaged and becomes the last
        starts = range(0, len(blocks), factor)
        blocks = np.stack([blocks[start : start + factor].mean(axis=0) for start in starts], axis=-1)
    return blocks.transpose(np.argsort(order))


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


def normalise(
    image: np.ndarray, head: Head, volume: Volume, method: str, inside: np.ndarray | None = None
) -> tuple[np.ndarray, float, dict[str, Any]]:
    """`image` (x, y, z) by `method`, one of those that `Preparation` explains.

    Args:
        image: on the grid.
        head: where it lies, for threshold and background.
        volume: as read; masked, where there is a mask.
        method: of NORMALISATIONS.
        inside: (x, y, z) bool, the mask on the grid; without one, what is brighter than the threshold is foreground.

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
        raise _refusal(volume, found)
    low, high = (float(value) for value in np.percentile(foreground, PERCENTILES))
    shift, scale, bounds = 0.0, 1.0, (-np.inf, np.inf)
    if method in ("zscore", "histogram"):
        usual = np.clip(foreground, low, high, dtype=np.float64)
        shift, scale, bounds = float(usual.mean()), float(usual.std()), (-LIMIT, LIMIT)
    elif method == "percentiles":
        shift, scale, bounds = head.background, high - head.background, (0.0, 1.0)
    elif method == "mean":
        scale = float(volume.data.mean(dtype=np.float64))
    if method != "none" and not scale > 1e-6 * abs(high):
        raise _refusal(volume, f"its intensities cannot be normalised by {method}: they would be divided by {scale:g}")

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
        raise _refusal(volume, found, "what float16 can hold", "Choose another `normalise`, zscore say.")
    result = moved.astype(np.float16, order="C")
    numbers = {"shift": shift, "scale": scale, "low": low, "high": high}
    if method == "histogram":
        try:
            numbers["landmarks"] = histogram.landmarks(result.astype(np.float32), inside).tolist()
        except ValueError as error:  # nearly all of it is of one intensity
            raise _refusal(volume, str(error)) from error
    return result, background, numbers


def _refusal(volume: Volume, found: str, expected: str = "an image of a head", advice: str = "") -> InputError:
    advice = advice or "Look at the scan: is it a mask, a label map, or mostly noise?"
    return InputError(Problem(str(volume.path or "the scan"), found, expected, advice))
