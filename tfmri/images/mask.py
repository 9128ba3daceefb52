"""Which voxels of a scan are head, or brain: by Otsu's threshold, from a file, or from a program such as SynthStrip.

A mask is (x, y, z) bool on the grid of the volume it belongs to.
"""

import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.images.geometry import spacing_of
from tfmri.images.head import Head, refusal
from tfmri.images.read import Volume, read_volume

BLOCK = 2.0  # mm, the size of the blocks on which the head's outline is found
GAP = 8.0  # mm, half the width of openings that are closed before cavities are filled
PIECE = 0.1  # of the largest one's size makes a piece large: scalp around a dark skull is, a head holder is not
INSIDE = 0.5  # above lies the mask: 1 of 0 and 1, 255 of 0 and 255, any label, what is more likely than not
LOST = 0.1  # the fraction of a mask that may lie outside of its scan
INSTALL = {
    "mri_synthstrip": "It comes with FreeSurfer 7.3 and later (https://surfer.nmr.mgh.harvard.edu/docs/synthstrip).",
    "bet": "It comes with FSL (https://fsl.fmrib.ox.ac.uk).",
    "hd-bet": "Install it with `pip install hd-bet`.",
}


def head_mask(volume: Volume, head: Head) -> np.ndarray:
    """All of the head, or of the extracted brain, its cavities included.

    On blocks of about 2 mm: what is brighter than `head.threshold`, its large pieces, closed across gaps of 16 mm and
    filled. The outline on the scan's own grid is where the linear interpolation of the blocks passes one half.

    Raises:
        InputError: nothing is brighter than the threshold.
    """
    from scipy import ndimage

    factors = np.maximum(1, np.round(BLOCK / spacing_of(volume.affine)).astype(int))
    bright = block_means(volume.data, factors) > head.threshold
    opened = ndimage.binary_opening(bright)
    pieces, count = ndimage.label(opened if opened.any() else bright)
    if not count:
        raise refusal(volume, "no head stands out from the background", "a head", "Look at the scan.")
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    blocks = ndimage.binary_propagation((sizes >= PIECE * sizes.max())[pieces], mask=bright)

    spacing = spacing_of(volume.affine) * factors
    margin = np.ceil(GAP / spacing).astype(int) + 1
    blocks = np.pad(blocks, [(width, width) for width in margin])
    grown = ndimage.distance_transform_edt(~blocks, sampling=spacing) <= GAP
    closed = blocks | (ndimage.distance_transform_edt(grown, sampling=spacing) > GAP)
    filled = ndimage.binary_fill_holes(closed)
    return magnified(filled, factors, -margin, volume.data.shape) > 0.5


def block_means(data: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """float32 means of blocks of `factors` (3,) voxels of `data` (x, y, z); the last ones may hold fewer."""
    for axis in np.argsort(np.abs(data.strides))[::-1]:  # last the one along which memory runs: it is the slowest
        starts = np.arange(0, data.shape[axis], factors[axis])
        sizes = np.diff([*starts, data.shape[axis]]).astype(np.float32)
        data = np.add.reduceat(data, starts, axis=axis) / np.expand_dims(sizes, tuple({0, 1, 2} - {int(axis)}))
    return data


def magnified(blocks: np.ndarray, factors: np.ndarray, first: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """float32 of `shape`: `blocks` of `factors` (3,) voxels each, linearly interpolated between their middles.

    Args:
        blocks: (x, y, z).
        factors: as given to `block_means`.
        first: (3,) which of all blocks of `shape` the first of `blocks` is; beyond the outermost ones they go on.
        shape: of the voxels.
    """
    result = blocks.astype(np.float32)
    for axis in range(3):
        at = (np.arange(shape[axis]) + 0.5) / factors[axis] - 0.5 - first[axis]
        at = np.clip(at, 0, blocks.shape[axis] - 1)
        below = np.minimum(at.astype(int), max(blocks.shape[axis] - 2, 0))
        above = np.minimum(below + 1, blocks.shape[axis] - 1)
        weight = np.expand_dims((at - below).astype(np.float32), tuple({0, 1, 2} - {axis}))
        low = result.take(below, axis)
        result = low + weight * (result.take(above, axis) - low)
    return result


def read_mask(path: Path, volume: Volume) -> np.ndarray:
    """The mask in the NIfTI file at `path`, on the grid of `volume`: what is above 0.5 there.

    On another grid than the scan's, each voxel of the scan asks the nearest one of the mask, by their places in mm.

    Raises:
        InputError: as `read_volume`; nothing is in the mask; more than a tenth of it lies outside of the scan.
    """
    return _on_grid(read_volume(Path(path)), volume, str(path))


def _on_grid(mask: Volume, volume: Volume, where: str) -> np.ndarray:
    scan = volume.path or "the scan"
    inside = mask.data > INSIDE
    if not inside.any():
        raise InputError(Problem(where, f"an empty mask: nothing in it is above {INSIDE}", "0 and 1", "Make it again."))
    if inside.shape == volume.data.shape and np.allclose(mask.affine, volume.affine, atol=1e-3):
        return inside

    steps = np.linalg.solve(mask.affine, volume.affine)  # from the scan's indices to the mask's
    result = np.zeros(volume.data.shape, bool)
    rows, columns = (np.arange(length) for length in volume.data.shape[1:])
    for plane in range(len(result)):  # one at a time: coordinates are large
        at = [row[0] * plane + row[1] * rows[:, np.newaxis] + row[2] * columns + row[3] for row in steps[:3]]
        nearest = [np.rint(axis).astype(int) for axis in at]
        known = np.logical_and.reduce([(n >= 0) & (n < size) for n, size in zip(nearest, inside.shape, strict=True)])
        result[plane][known] = inside[tuple(n[known] for n in nearest)]
    here = np.linalg.solve(volume.affine, mask.affine)
    indices = np.argwhere(inside) @ here[:3, :3].T + here[:3, 3]
    lost = ((indices < -0.5) | (indices > np.array(volume.data.shape) - 0.5)).any(axis=1).mean()
    if lost > LOST or not result.any():
        found = f"a mask of which {lost:.0%} lies outside of {scan}"
        advice = "Make it from this very scan, or mend its sform and qform."
        raise InputError(Problem(where, found, "one that lies on the scan", advice))
    return result


def check_command(command: str) -> list[str]:
    """The words of a command that makes masks, with {scan} and {mask} among them, whose program is installed here.

    Raises:
        InputError: it lacks one of the two, or is not installed.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise _no_command(command, f"cannot be taken apart ({error})") from error
    if not words or not all(any(name in word for word in words[1:]) for name in ("{scan}", "{mask}")):
        raise _no_command(command, "does not say where the scan and the mask go")
    if shutil.which(words[0]) is None:
        advice = INSTALL.get(words[0], "Install it, or give the whole path of the program.")
        advice += " Or choose `mask: head`, or give masks in a column of the labels."
        raise InputError(Problem(f"mask '{command}'", f"{words[0]} is not installed here", advice=advice))
    return words


def tool_mask(command: str, volume: Volume) -> np.ndarray:
    """The mask that a program makes of `volume`, which it is given as a RAS+ `.nii.gz`.

    Args:
        command: with {scan} and {mask}, the files it reads and writes: "mri_synthstrip -i {scan} -m {mask}". No shell
            sees it.
        volume: the scan.

    Raises:
        InputError: as `check_command`; or it fails, writes nothing, or writes no mask.
    """
    import nibabel as nib

    words = check_command(command)
    with tempfile.TemporaryDirectory(prefix="tfmri-mask-") as folder:
        scan, mask = Path(folder, "scan.nii.gz"), Path(folder, "mask.nii.gz")
        nib.save(nib.Nifti1Image(volume.data, volume.affine), scan)
        words = [word.replace("{scan}", str(scan)).replace("{mask}", str(mask)) for word in words]
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        said = (ran.stderr.strip() or ran.stdout.strip())[-500:]
        if ran.returncode:
            found = f"{words[0]} ended with exit code {ran.returncode}" + (f" and said: {said}" if said else "")
            raise refusal(volume, found, "a mask", f"Try the command by hand: {command}")
        if not mask.exists():
            found = f"{words[0]} wrote no mask" + (f"; it said: {said}" if said else "")
            raise refusal(volume, found, "a file at {mask}, .nii.gz", f"Try the command by hand: {command}")
        return _on_grid(read_volume(mask), volume, f"{volume.path or 'the scan'}, mask by {words[0]}")


def _no_command(command: str, found: str) -> InputError:
    expected = "a program and its arguments, with {scan} and {mask} among them"
    return InputError(Problem(f"mask '{command}'", found, expected, 'As in "mri_synthstrip -i {scan} -m {mask}".'))
