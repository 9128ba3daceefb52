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
from tfmri.images.geometry import spacing_of, to_world
from tfmri.images.prepare import Head
from tfmri.images.read import Volume, read_volume

BLOCK = 2.0  # mm, the blocks on which the head's outline is found
GAP = 8.0  # mm, how far openings may be across that are closed: ears, nose, the shadow of a vein
INSIDE = (
    0.5  # what is above belongs to a mask: 1 of 0 and 1, 255 of 0 and 255, any label, more than half of a probability
)
LOST = 0.1  # fraction of a mask that may lie outside of its scan


def head_mask(volume: Volume, head: Head) -> np.ndarray:
    """All of the head, or of the extracted brain: the largest piece above `head.threshold`, closed and filled.

    On blocks of about 2 mm, so that noise does not fray it; the outline is interpolated between them.
    """
    from scipy import ndimage

    raise NotImplementedError


def read_mask(path: Path, volume: Volume) -> np.ndarray:
    """The mask in the NIfTI file at `path`, on the grid of `volume`; from another grid the nearest voxel is taken.

    Raises:
        InputError: as `read_volume`; nothing in the mask; it lies outside of the scan.
    """
    raise NotImplementedError


def tool_mask(command: str, volume: Volume) -> np.ndarray:
    """The mask that a program makes of `volume`.

    Args:
        command: with {scan} and {mask}, the files it reads and writes: "mri_synthstrip -i {scan} -m {mask}".
        volume: the scan.

    Raises:
        InputError: the command lacks one of the two, is not installed, fails, writes nothing, or writes no mask.
    """
    raise NotImplementedError
