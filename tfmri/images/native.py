"""A map on the grid of a prepared scan, brought back onto the grid of the file that was prepared.

The way there was one affine, of which the record in the cache tells both parts: from voxels of the grid to mm of its
frame (`affine`), and from there to mm of the scan's world (`done.frame`: by how much an oblique scan was turned, or
where registration found the template). The way back is its inverse: nothing is estimated anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from tfmri.images.geometry import spacing_of
from tfmri.images.grid import antialiasing, resample
from tfmri.images.read import Volume, read_header


def in_native_space(values: np.ndarray, record: Mapping[str, Any], path: Path) -> nibabel.Nifti1Image:
    """A map of a prepared scan where the scan itself lies: its own affine, shape and order of axes.

    Interpolated as preparation interpolates, once and linearly, after a Gaussian along axes on which the scan is the
    coarser one. 0 where the prepared grid does not reach.

    Args:
        values: (x, y, z) on the prepared grid.
        record: of the prepared scan (`CachedScan.record`).
        path: the scan's file, of several channels the first one's.
    """
    header = read_header(path)
    shape, stored = header.get_data_shape()[:3], np.asarray(header.get_best_affine(), np.float64)
    to_world = np.asarray(record["done"]["frame"]) @ np.asarray(record["affine"])
    spacing = spacing_of(stored)
    own = np.diag([*spacing, 1.0])  # mm along the scan's own axes, however it lies in the world
    volume = Volume(np.asarray(values, np.float32), own @ np.linalg.solve(stored, to_world))
    sigmas = antialiasing(volume.affine, (spacing[0], spacing[1], spacing[2]))
    data, outside = resample(volume, own, shape, sigmas)
    data[outside] = 0
    own_header = header.copy()  # its codes say in whose mm the affine is
    own_header.set_data_dtype(np.float32)
    own_header["descrip"] = own_header["aux_file"] = b""  # some scanners write names of people there
    own_header["cal_min"] = own_header["cal_max"] = 0
    return nibabel.Nifti1Image(data, stored, own_header)
