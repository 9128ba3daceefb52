"""Where a scan's voxels end up in the world, whatever the order, direction and angle in which the file stores them.

Every test goes through files, and compares with a closed form, with nibabel and SciPy, or with SimpleITK, each of which
reads the file and its geometry by itself.
"""

import itertools
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.processing import resample_from_to
from scipy import ndimage

from tfmri.images.geometry import to_world
from tfmri.images.grid import antialiasing
from tfmri.images.prepare import Preparation, prepare
from tfmri.images.read import read_volume

SHAPE = (41, 46, 37)  # no multiples of the blocks in which the head is looked for
ANGLES = [(0, 0, 0), (0, 0, 7), (14, -9, 23), (-30, 20, 35), (3, 40, 0)]
FINE = Preparation((3.5, 3.0, 3.2), (56, 64, 58), "none")  # finer than the scans: nothing is smoothed


def smooth_head(world):
    """(...) intensities at the places `world` (..., 3) mm: Gaussians, as (height, middle, sigma) in mm."""
    parts = [(200, (4, -14, 12), 42), (130, (30, 25, 30), 14), (-90, (-25, 5, 5), 16), (110, (-8, -50, -10), 12)]
    return sum(
        height * np.exp(-((world - np.array(middle)) ** 2).sum(-1) / (2 * sigma**2)) for height, middle, sigma in parts
    )


LARGEST_BEND = 200 / 42**2 + 130 / 14**2 + 90 / 16**2 + 110 / 12**2  # of smooth_head along any line, per mm²


def rendered(affine, shape):
    return smooth_head(to_world(affine, np.moveaxis(np.indices(shape), 0, -1))).astype(np.float32)


def orientations():
    """All 48: for each the order of the axes and which of them are turned around."""
    return itertools.product(itertools.permutations(range(3)), itertools.product([1, -1], repeat=3))


def stored_otherwise(data, affine, order, directions):
    """The same scan with its axes in another order and direction: array and affine."""
    turned = data.transpose(order)[tuple(slice(None, None, direction) for direction in directions)]
    matrix = np.zeros((4, 4))
    matrix[3, 3] = 1
    for axis, (source, direction) in enumerate(zip(order, directions, strict=True)):
        matrix[source, axis] = direction
        matrix[source, 3] = 0 if direction == 1 else data.shape[source] - 1
    return turned, affine @ matrix


def same_place(one, other):
    np.testing.assert_allclose(one.affine, other.affine, atol=1e-4)


@pytest.mark.parametrize("angles", [(0, 0, 0), (14, -9, 23)])
def test_a_scan_in_any_of_48_orientations_becomes_the_same_array(tmp_path, grid, angles):
    affine = grid((4.0, 4.4, 5.1), SHAPE, angles, middle=(3, -10, 11))
    data = rendered(affine, SHAPE) * np.random.default_rng(0).normal(1, 0.2, SHAPE).astype(np.float32)
    images, codes = [], set()
    for order, directions in orientations():
        turned, its_affine = stored_otherwise(data, affine, order, directions)
        nib.save(nib.Nifti1Image(turned, its_affine), tmp_path / "scan.nii")
        codes.add(nib.aff2axcodes(its_affine))
        images.append(prepare(read_volume(tmp_path / "scan.nii"), FINE))
    assert len(codes) == len(images) == 48
    for image in images[1:]:
        same_place(image, images[0])
        np.testing.assert_allclose(image.image.astype(float), images[0].image.astype(float), rtol=2e-3, atol=0.02)


@pytest.mark.parametrize("angles", ANGLES)
@pytest.mark.parametrize("spacing", [(3.6, 3.6, 3.6), (4.0, 3.5, 5.0)])
def test_every_voxel_of_an_oblique_scan_has_the_intensity_of_its_place(tmp_path, grid, spacing, angles):
    shape = tuple(int(250 / step) for step in spacing)
    affine = grid(spacing, shape, angles, middle=(3, -10, 11))
    nib.save(nib.Nifti1Image(rendered(affine, shape), affine), tmp_path / "scan.nii.gz")
    prepared = prepare(read_volume(tmp_path / "scan.nii.gz"), Preparation((3.2, 3.2, 3.2), (36, 42, 38), "none"))
    expected = rendered(prepared.affine, (36, 42, 38))
    assert prepared.done["channels"][0]["outside_field_of_view"] == 0
    error = LARGEST_BEND / 8 * np.square(spacing).sum()  # of linear interpolation, by Taylor
    assert error < 0.1 * np.ptp(expected)
    assert np.abs(prepared.image[..., 0] - expected).max() < error


def test_scans_at_all_angles_become_the_same_array(tmp_path, grid):
    arrays = []
    for angles in ANGLES:
        affine = grid((2.4, 2.4, 2.4), (96, 96, 96), angles, middle=(3, -10, 11))
        nib.save(nib.Nifti1Image(rendered(affine, (96, 96, 96)), affine), tmp_path / "scan.nii")
        prepared = prepare(read_volume(tmp_path / "scan.nii"), Preparation((4, 4, 4), (40, 46, 42)))
        arrays.append((prepared.image[..., 0].astype(float), prepared.affine))
    inner = (slice(2, -2),) * 3
    expected, its_affine = arrays[0][0][inner], arrays[0][1]
    error = LARGEST_BEND / 8 * 3 * 2.4**2 / 70  # in standard deviations, of which one is 70 here
    for array, affine in arrays[1:]:
        moved = np.linalg.solve(affine, its_affine)[:3, 3]  # voxels: the head's box is found in blocks
        assert np.abs(moved).max() < 1
        seen = ndimage.shift(array, -moved, order=3, mode="nearest")[inner]
        assert np.abs(seen - expected).max() < 2 * error
        assert np.corrcoef(seen.ravel(), expected.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("forms", ["both", "sform", "qform", "nifti2", "big-endian"])
def test_a_marker_lands_at_its_millimetre(tmp_path, grid, forms):
    middle, marker, shape = np.array([3.0, -10.0, 11.0]), np.array([21.0, -33.0, 27.0]), (48, 48, 48)
    first = ["both", "sform", "qform", "nifti2", "big-endian"].index(forms)
    for number, (order, directions) in list(enumerate(orientations()))[first::5]:  # together all of the 48
        affine = grid((4, 4, 4), shape, ANGLES[number // 5 % len(ANGLES)], middle=middle)
        world = to_world(affine, np.moveaxis(np.indices(shape), 0, -1))
        ball = np.square(world - middle).sum(-1) < 70**2
        data = 100 * ball + 900 * np.exp(-np.square(world - marker).sum(-1) / (2 * 6.0**2))
        turned, its_affine = stored_otherwise(data.astype(np.int16), affine, order, directions)
        header = nib.Nifti1Header(endianness=">" if forms == "big-endian" else "<")
        header.set_data_dtype(np.int16)
        scan = nib.Nifti2Image(turned, None) if forms == "nifti2" else nib.Nifti1Image(turned, None, header)
        wrong = np.diag([4.0, 4.0, 4.0, 1.0])
        scan.set_sform(its_affine if forms != "qform" else wrong, code=forms != "qform")
        scan.set_qform(its_affine if forms != "sform" else wrong, code=forms != "sform")
        nib.save(scan, tmp_path / "scan.nii")
        prepared = prepare(read_volume(tmp_path / "scan.nii"), Preparation((3, 3, 3), (50, 50, 50), "none"))
        excess = np.maximum(prepared.image[..., 0].astype(float) - 130, 0)
        found = to_world(prepared.affine, np.array(ndimage.center_of_mass(excess)))
        np.testing.assert_allclose(found, marker, atol=0.15)


def by_nibabel(path, prepared, sigmas):
    """The file's voxels on the prepared grid: read by nibabel, smoothed and interpolated by SciPy; and what is inside.

    `sigmas` are in mm along the axes as they are stored.
    """
    scan = nib.load(path)
    data = np.squeeze(scan.get_fdata())
    smooth = ndimage.gaussian_filter(data, sigmas / nib.affines.voxel_sizes(scan.affine), truncate=6)
    onto = (prepared.image.shape[:3], prepared.affine)
    image = resample_from_to(nib.Nifti1Image(smooth, scan.affine), onto, order=1, cval=np.nan).get_fdata()
    return image, np.isfinite(image)


def by_simpleitk(path, prepared, sigmas):
    """The same by SimpleITK alone, whose world is LPS and whose arrays are (z, y, x)."""
    scan = sitk.ReadImage(str(path), sitk.sitkFloat64)
    if sigmas.any():
        variance = np.maximum(sigmas**2, 1e-6).tolist()
        scan = sitk.DiscreteGaussian(scan, variance, 64, [1e-4] * 3, True)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ prepared.affine
    spacing = np.abs(np.diag(prepared.affine)[:3])
    grid = sitk.Image([int(length) for length in prepared.image.shape[:3]], sitk.sitkFloat64)
    grid.SetSpacing(spacing.tolist())
    grid.SetOrigin(to_lps[:3, 3].tolist())
    grid.SetDirection((to_lps[:3, :3] / spacing).ravel().tolist())
    image = sitk.GetArrayFromImage(sitk.Resample(scan, grid, sitk.Transform(), sitk.sitkLinear, np.nan)).T
    return image, np.isfinite(image)


def compared(path, preparation, other):
    """The largest and the mean difference to the `other` program's array, as shares of its range; and its inside."""
    volume = read_volume(path)
    prepared = prepare(volume, preparation)
    sigmas = antialiasing(volume.affine, preparation.spacing) * nib.affines.voxel_sizes(volume.affine)  # mm, RAS order
    order = nib.io_orientation(nib.load(path).affine)[:, 0].astype(int)
    image, inside = other(path, prepared, sigmas[order])
    difference = np.abs(prepared.image[..., 0] - image)[inside] / np.ptp(image[inside])
    return difference.max(), difference.mean(), inside


@pytest.mark.parametrize("other", [by_nibabel, by_simpleitk])
@pytest.mark.parametrize("angles", ANGLES)
def test_other_programs_put_the_same_voxels_in_the_same_places(tmp_path, grid, angles, other):
    affine = grid((4.0, 4.4, 5.1), SHAPE, angles, middle=(3, -10, 11))
    data = rendered(affine, SHAPE) * np.random.default_rng(1).uniform(0.5, 1.5, SHAPE).astype(np.float32)
    for order, directions in list(orientations())[:: 7 if angles == (0, 0, 0) else 11]:
        turned, its_affine = stored_otherwise(data, affine, order, directions)
        nib.save(nib.Nifti1Image(turned, its_affine), tmp_path / "scan.nii.gz")
        largest, _, inside = compared(tmp_path / "scan.nii.gz", FINE, other)
        assert inside.mean() > 0.6
        assert largest < 1e-3


@pytest.mark.parametrize("other", [by_nibabel, by_simpleitk])
def test_other_programs_smooth_what_becomes_coarser_alike(tmp_path, grid, other):
    affine = grid((1.5, 2.0, 3.0), (120, 100, 64), (14, -9, 23), middle=(3, -10, 11))
    data = rendered(affine, (120, 100, 64))
    data *= np.random.default_rng(2).uniform(0.5, 1.5, data.shape).astype(np.float32)
    turned, its_affine = stored_otherwise(data, affine, (2, 0, 1), (-1, 1, -1))
    nib.save(nib.Nifti1Image(turned, its_affine), tmp_path / "scan.nii")
    largest, mean, _ = compared(tmp_path / "scan.nii", Preparation((5, 5, 5), (36, 40, 36), "none"), other)
    assert largest < 0.02
    assert mean < 1e-3


@pytest.mark.skipif("TFMRI_TEST_DATA" not in os.environ, reason="TFMRI_TEST_DATA names no folder of real scans")
@pytest.mark.parametrize("other", [by_nibabel, by_simpleitk])
@pytest.mark.parametrize(
    "name",
    ["native/ds002748_sub-03_T1w.nii.gz", "native/ds000011_sub-01_T1w.nii.gz"],  # 11 degrees oblique; int16
)
def test_other_programs_see_real_scans_in_the_same_places(name, other):
    path = Path(os.environ["TFMRI_TEST_DATA"]) / name
    largest, mean, _ = compared(path, Preparation((2, 2, 2), (80, 96, 80), "none"), other)
    assert mean < 1e-3
    assert largest < 0.04  # SciPy samples the Gaussian, of which there is less than one voxel's width to sample
