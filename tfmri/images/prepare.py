"""From a scan as it was acquired to the array a model sees: steps 1 to 8, whose numbers `Prepared.done` tells.

A scan is one file, or several: its channels (T1, T2, FLAIR...), of which the first leads, and a mask. Steps 2, 3 and 5
are done where the settings ask for them.

1. Find the head (`head`).
2. Mask: which voxels of the first channel count (`mask`). Outside of it all is background from here on.
3. Take the bias field out of each channel (`bias_field`).
4. Place the grid around the head (`grid`).
5. The frame whose axes the grid follows is the world, in which an oblique scan stands straight, or the scan's own axes,
   or MNI152 (`registration`), where the grid is the same for every scan: the one around the template.
6. Resample, in one interpolation straight from the scan's own, perhaps oblique, grid: a Gaussian against aliasing where
   the new grid is coarser, then linear interpolation. What lies outside of the field of view becomes background. Other
   channels lie where their own affines put them; nothing moves them onto the first.
7. Apply the mask.
8. Normalise and clip, each channel by itself, to float16 (`normalise`).

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
from tfmri.images.bias_field import correct_bias_field
from tfmri.images.geometry import obliqueness, spacing_of, straightened
from tfmri.images.grid import antialiasing, place_grid, resample
from tfmri.images.head import Head, find_head, refusal
from tfmri.images.mask import head_mask, read_mask, tool_mask
from tfmri.images.normalise import NORMALISATIONS, normalise
from tfmri.images.read import Volume, parse_volume, read_file
from tfmri.images.registration import register_to_template, template

STEPS_VERSION = 2  # counts up whenever a scan would be prepared differently from before: the cache keys on it

MNI152_BOX = 182.0 * 218.0 * 182.0  # mm³: FSL's and UK Biobank's volume of MNI152, over which SFCN's mean is taken

ORIENTATIONS = ("world", "scan")
BIAS_CORRECTIONS = ("none", "n4")
REGISTRATIONS = ("none", "mni152")
MASKS = ("none", "head", "file")  # or a command


@dataclass(frozen=True)
class Preparation:
    """How scans are prepared.

    Args:
        spacing: (x, y, z) mm.
        shape: (x, y, z) voxels.
        normalise: 'zscore': mean 0 and standard deviation 1 over the foreground, or the mask; 'percentiles': 0 is the
            background, 1 the 99.9th percentile of the foreground; 'mean': divided by the mean of the whole volume as
            read, or masked, and with 'mni152' by its mean over `MNI152_BOX`, whatever its field of view; 'none';
            'histogram': as 'zscore', with the landmarks by which a fit moves its scans onto one scale (`histogram`).
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
        affine = template_grid(preparation.spacing, preparation.shape)
    elif frame is None:
        affine = place_grid(first.volume, first.head, preparation.spacing, preparation.shape)
    else:
        straight = _in_frame(first.seen, frame)
        affine = place_grid(straight, find_head(straight), preparation.spacing, preparation.shape)

    kept = None
    if inside is not None:
        assert first.inside is not None
        share = Volume(first.inside.astype(np.float32), first.volume.affine)
        kept = _resampled(share, frame, affine, preparation)[0] >= 0.5  # NaN, outside of the field of view, is not
    box = MNI152_BOX if preparation.registration == "mni152" else None
    images, backgrounds, numbers = [], [], []
    for channel in channels:
        image, outside, sigmas = _resampled(channel.volume, frame, affine, preparation)
        image[outside] = channel.head.background
        if kept is not None:
            image[~kept] = channel.head.background
        seen = _in_frame(channel.seen, frame)
        image, background, done = normalise(image, channel.head, seen, preparation.normalise, kept, box)
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
                raise refusal(volume, found, "images of one session", "Look at where both lie, in a viewer.")
    if preparation.bias_correction == "n4":
        try:
            volume = correct_bias_field(volume, inside)
        except ValueError as error:
            raise refusal(volume, str(error)) from error
    if inside is None:
        return _Channel(volume, volume, None, find_head(volume))
    air = find_head(volume).background
    seen = Volume(np.where(inside, volume.data, np.float32(air)), volume.affine, volume.path)
    return _Channel(volume, seen, inside, find_head(seen))


def _frame(first: _Channel, preparation: Preparation) -> tuple[np.ndarray | None, dict[str, Any]]:
    """From mm of the grid's frame to mm of the scan's world, None where they are the same; and the account of it."""
    if preparation.registration == "mni152":
        found = register_to_template(first.volume, first.head, first.inside)
        numbers = {"quality": round(found.quality, 4), "threshold": found.threshold, "good": bool(found.good)}
        return found.matrix, {"registration": {"matrix": found.matrix.tolist(), **numbers}}
    return (straightened(first.volume.affine) if preparation.orientation == "scan" else None), {}


@cache
def template_grid(spacing: tuple[float, float, float], shape: tuple[int, int, int]) -> np.ndarray:
    """The affine of the grid of every registered scan."""
    return place_grid(template(), find_head(template()), spacing, shape)


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
