"""From anatomy and amplitudes to a scan as a scanner stores it: deformed, unevenly bright, noisy, in the site's grid.

A voxel of the scan looks up its intensity: scan mm -> (position, rotation, size of the head) -> template mm ->
(individual and planted displacement) -> template mm -> intensity. Displacements are added, not composed: they are
small and smooth.
"""

from dataclasses import dataclass
from functools import cache

import nibabel as nib
import numpy as np
from scipy import ndimage

from tfmri.phantom.anatomy import CSF, FIELD_STEP, SPACING, Anatomy
from tfmri.phantom.effects import Amplitudes


@dataclass(frozen=True)
class Site:
    """How one site's scanner stores a head.

    Args:
        name: as in labels.csv.
        orientation: axis codes of the stored array.
        spacing: mm, along left-right, back-front, down-up.
        tilt: degrees about the left-right axis by which the grid is oblique to the head's axes.
        dtype: of the stored voxels.
        brightness: stored value of white matter, on average.
        noise: standard deviation, as a fraction of white matter.
        bias: standard deviation of the logarithm of the bias field.
        contrast: exponent of intensities.
    """

    name: str
    orientation: str
    spacing: tuple[float, float, float]
    tilt: float
    dtype: str
    brightness: float
    noise: float
    bias: float
    contrast: float


SITES = (
    Site("north", "RAS", (3.0, 3.0, 3.0), 0.0, "int16", 600.0, 0.02, 0.08, 1.0),
    Site("east", "LIA", (2.8, 3.0, 2.8), 0.0, "int16", 1100.0, 0.025, 0.10, 1.15),
    Site("south", "PSR", (3.4, 2.7, 2.7), -8.0, "float32", 350.0, 0.03, 0.12, 0.9),
)
FIELD_OF_VIEW = (186.0, 228.0, 180.0)  # mm
CENTRE = (0.0, -16.0, 10.0)  # mm in the template, where the field of view is centred


def render_scan(
    anatomy: Anatomy,
    amounts: Amplitudes,
    site: Site,
    log_size: float,
    subject_rng: np.random.Generator,
    scan_rng: np.random.Generator,
) -> nib.Nifti1Image:
    """One scan of one subject.

    Args:
        anatomy: from `load_anatomy`.
        amounts: the planted effects.
        site: whose grid, noise and brightness.
        log_size: logarithm of the head's scale (length).
        subject_rng: for what all sessions of a subject share: the individual anatomy.
        scan_rng: for what differs: position in the scanner, a little deformation, bias, brightness, noise.
    """
    grid_shape = next(iter(anatomy.fields.values())).shape[1:]
    displacement = _smooth_field(subject_rng, grid_shape, control=7, spread=1.9)
    displacement += _smooth_field(subject_rng, grid_shape, control=12, spread=0.6)
    displacement += _smooth_field(scan_rng, grid_shape, control=7, spread=0.3)
    displacement += amounts.ventricles * anatomy.fields["lateral_ventricles"]
    displacement += amounts.brainstem * anatomy.fields["brainstem"]
    template = _change_tissue(anatomy, amounts, fat=subject_rng.uniform(0.7, 1.1))

    scan_affine, shape = _grid(site, scan_rng)
    to_map = np.linalg.inv(anatomy.affine) @ _pose(log_size, scan_rng) @ scan_affine  # scan voxel -> map voxel
    at = _voxels(shape, to_map)
    # Displacements are smooth: every second voxel is enough.
    half = tuple((length + 1) // 2 for length in shape)
    stretch = np.diag([*((n - 1) / (h - 1) for n, h in zip(shape, half, strict=True)), 1.0])
    coarse_at = _voxels(half, to_map @ stretch) / FIELD_STEP
    for axis in range(3):
        moved = ndimage.map_coordinates(displacement[axis], coarse_at, order=1, mode="nearest", output=np.float32)
        at[axis] += _upsample(moved.reshape(half), shape).ravel() / SPACING
    image = ndimage.map_coordinates(template, at, order=1, mode="nearest", output=np.float32)
    image = _acquire(image.reshape(shape), site, scan_rng)
    return _store(image, scan_affine, site)


def store_otherwise(image: nib.Nifti1Image) -> nib.Nifti1Image:
    """The same voxels at the same places, as float32 and along other axes, as another program may have saved them."""
    other = nib.Nifti1Image(np.asarray(image.dataobj, np.float32), image.affine)
    other.header.set_xyzt_units("mm")
    return _reorient(other, "LSP")


def _change_tissue(anatomy: Anatomy, amounts: Amplitudes, fat: float) -> np.ndarray:
    """The template's intensities with a subject's cortex, fissures, hippocampi and scalp."""
    template = anatomy.brain * (1 - amounts.thinning * anatomy.thinning)
    flat = template.ravel()
    indices, distance, reach = anatomy.sylvian
    _pour(flat, indices, _step(amounts.sylvian * reach - distance))
    indices, distance, weight = anatomy.hippocampi
    _pour(flat, indices, weight * _step(distance - amounts.hippocampi))
    return template + fat * anatomy.fat + anatomy.soft


def _step(distance: np.ndarray) -> np.ndarray:
    """A step at 0 mm, softened over about a millimetre."""
    return np.clip(0.5 + distance / 1.6, 0, 1)


def _pour(flat: np.ndarray, indices: np.ndarray, amount: np.ndarray) -> None:
    """Replaces a fraction of what is at the indices by fluid, in place."""
    flat[indices] += amount * (CSF - flat[indices])


def _smooth_field(rng: np.random.Generator, shape: tuple[int, ...], control: int, spread: float) -> np.ndarray:
    """(3, x, y, z) displacement in mm, cubic between `control`³ normal control points of this standard deviation."""
    return _upsample(rng.standard_normal((3, control, control, control), dtype=np.float32) * np.float32(spread), shape)


def _upsample(points: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Cubic splines through (..., a, b, c) points that span the volume, sampled at (..., *shape)."""
    for axis, length in zip((-3, -2, -1), shape, strict=True):
        weights = _cubic(points.shape[axis], length)
        points = np.moveaxis(np.tensordot(points, weights, axes=(axis, 1)), -1, axis)
    return points


@cache
def _cubic(control: int, length: int) -> np.ndarray:
    """(length, control) float32 weights of the cubic spline through `control` points, sampled at `length` points."""
    from scipy.interpolate import CubicSpline

    return CubicSpline(np.arange(control), np.eye(control))(np.linspace(0, control - 1, length)).astype(np.float32)


def _grid(site: Site, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, ...]]:
    """The affine (scan voxel -> scanner mm) and shape of a site's grid, in RAS order, its origin shifted at random."""
    spacing = np.array(site.spacing)
    shape = tuple(int(n) for n in np.round(np.array(FIELD_OF_VIEW) / spacing))
    affine = np.eye(4)
    affine[:3, :3] = _rotation(site.tilt, 0, 0) @ np.diag(spacing)
    affine[:3, 3] = CENTRE + rng.normal(0, 2, 3) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine, shape


def _pose(log_size: float, rng: np.random.Generator) -> np.ndarray:
    """(4, 4), scanner mm -> template mm: how the head lies (degrees, mm) and how large it is."""
    turned = _rotation(*np.clip(rng.normal(0, 2.5, 3), -7, 7)) / np.exp(log_size)
    pose = np.eye(4)
    pose[:3, :3] = turned
    pose[:3, 3] = CENTRE - turned @ CENTRE + rng.normal(0, 2, 3)
    return pose


def _rotation(pitch: float, roll: float, yaw: float) -> np.ndarray:
    """(3, 3) rotation about x, then y, then z, by degrees."""
    from scipy.spatial.transform import Rotation

    return Rotation.from_euler("xyz", [pitch, roll, yaw], degrees=True).as_matrix()


def _voxels(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """(3, voxels) float32: where the affine takes each voxel of a grid."""
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    at = [(row[0] * i + row[1] * j) + (row[2] * k + row[3]) for row in affine[:3].astype(np.float32)]
    return np.stack(at).reshape(3, -1).astype(np.float32, copy=False)


def _acquire(image: np.ndarray, site: Site, rng: np.random.Generator) -> np.ndarray:
    """What the scanner adds: contrast, bias field, noise of a magnitude image (Rician), an arbitrary brightness."""
    image = np.maximum(image, 0) ** np.float32(site.contrast * np.exp(rng.normal(0, 0.05)))
    bias = rng.standard_normal((4, 4, 4), dtype=np.float32) * np.float32(site.bias)
    image *= np.exp(_upsample(bias, image.shape))
    noise = rng.standard_normal((2, *image.shape), dtype=np.float32) * np.float32(site.noise)
    image = np.sqrt((image + noise[0]) ** 2 + noise[1] ** 2)
    return image * np.float32(site.brightness * np.exp(rng.normal(0, 0.25)))


def _store(image: np.ndarray, affine: np.ndarray, site: Site) -> nib.Nifti1Image:
    """A NIfTI image in the site's orientation and type."""
    values = np.clip(np.rint(image), 0, 32767) if site.dtype == "int16" else image
    stored = nib.Nifti1Image(values.astype(site.dtype), affine)
    stored.header.set_xyzt_units("mm")
    return _reorient(stored, site.orientation)


def _reorient(image: nib.Nifti1Image, orientation: str) -> nib.Nifti1Image:
    """The same image with its axes in the order and directions of these axis codes."""
    now = nib.orientations.io_orientation(image.affine)
    return image.as_reoriented(nib.orientations.ornt_transform(now, nib.orientations.axcodes2ornt(orientation)))
