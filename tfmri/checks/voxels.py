"""What the voxels of scans say: each file is read once, in parallel, and gives measures, a digest, small pictures."""

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tfmri.checks.measures import measure
from tfmri.errors import InputError, Problem
from tfmri.images.grid import antialiasing, place_grid, resample
from tfmri.images.head import find_head
from tfmri.images.normalise import normalise
from tfmri.images.prepare import Preparation
from tfmri.images.read import Volume, read_volume
from tfmri.machine import processors
from tfmri.processes import in_processes
from tfmri.progress import progress

SMALL = Preparation(spacing=(4.0, 4.0, 4.0), shape=(48, 56, 48), normalise="zscore")
FINE = Preparation(spacing=(2.0, 2.0, 2.0), shape=(96, 112, 96), normalise="zscore")  # the same room as SMALL
OUTSIDE = 40  # grey in `planes` of what the field of view does not reach


@dataclass(frozen=True)
class Voxels:
    """What was found in one file.

    Args:
        measures: name -> number, as `measures.MEASURES` explains; empty where there is no head to measure.
        digest: SHA-256 of voxels and affine, the same however they are stored: packed or not, axes in any order. ''
            where the file cannot be read.
        small: (48, 56, 48) float16, the scan prepared as `SMALL` says; None where it cannot be.
        planes: (height, width) uint8, an axial, a coronal and a sagittal slice side by side; of no size where the file
            cannot be read. What lies outside of the field of view is dark grey, not black.
        problems: why it cannot be read or prepared.
    """

    measures: dict[str, float] = field(default_factory=dict)
    digest: str = ""
    small: np.ndarray | None = None
    planes: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.uint8))
    problems: tuple[Problem, ...] = ()


def examine(paths: Sequence[Path], workers: int | None = None, shown: bool = True) -> list[Voxels]:
    """Reads and measures every scan.

    Args:
        paths: NIfTI files, of their own or in zip archives.
        workers: processes; by default as many as this job has processors. 1 stays in this process.
        shown: whether to show, on standard error, how far it is.

    Raises:
        InputError: a worker process died.
    """
    found: list[Voxels | None] = [None] * len(paths)
    if not paths:
        return []
    outcomes = in_processes(_examine, [(str(path),) for path in paths], workers or processors(), "examining scans")
    with closing(outcomes), progress(len(paths), "examining", "scans", shown) as advance:
        for position, voxels in outcomes:
            found[position] = voxels
            advance()
    return [voxels for voxels in found if voxels is not None]


def _examine(path: str) -> Voxels:
    try:
        volume = read_volume(Path(path))
    except InputError as error:
        return Voxels(problems=error.problems)
    except MemoryError:
        return Voxels(problems=(Problem(path, "too large for the memory", advice="Give the job more memory."),))
    return examine_volume(volume)


def examine_volume(volume: Volume) -> Voxels:
    """What `volume` holds."""
    voxels = Voxels(digest=digest_of(volume))
    try:
        head = find_head(volume)
        fine, outside = _on_grid(volume, place_grid(volume, head, FINE.spacing, FINE.shape), FINE, head.background)
        voxels = replace(voxels, measures=measure(volume, head), planes=_planes(fine.data, outside))
        small, _ = _on_grid(fine, place_grid(volume, head, SMALL.spacing, SMALL.shape), SMALL, head.background)
        return replace(voxels, small=normalise(small.data, head, volume, SMALL.normalise)[0])
    except InputError as error:
        planes = voxels.planes if voxels.planes.size else _planes(volume.data, np.zeros(volume.data.shape, bool))
        return replace(voxels, planes=planes, problems=error.problems)


def _on_grid(volume: Volume, affine: np.ndarray, grid: Preparation, air: float) -> tuple[Volume, np.ndarray]:
    """`volume` on the grid, and where its field of view does not reach."""
    image, outside = resample(volume, affine, grid.shape, antialiasing(volume.affine, grid.spacing))
    image[outside] = air
    return Volume(image, affine, volume.path), outside


def digest_of(volume: Volume) -> str:
    """SHA-256 of the voxels and of the affine to a thousandth of a mm."""
    shape = np.array(volume.data.shape, np.int64)
    affine = np.round(volume.affine * 1000).astype(np.int64)  # integers: no -0
    voxels = np.ascontiguousarray(volume.data.T, np.float32) + np.float32(0)  # nor here
    digest = hashlib.sha256(shape.tobytes() + affine.tobytes())
    digest.update(voxels.data)
    return digest.hexdigest()


def _planes(image: np.ndarray, outside: np.ndarray) -> np.ndarray:
    from tfmri.images.montage import montage

    planes = montage(image[np.newaxis], planes="three")
    if outside.any():
        planes[montage(outside[np.newaxis].astype(np.float32), planes="three") > 0] = OUTSIDE
    return planes
