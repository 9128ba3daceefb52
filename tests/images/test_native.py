"""A map on the prepared grid comes back to where the scan lies, as nibabel and SciPy bring it back."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from scipy import ndimage

from tfmri.images.cache import prepare_scans
from tfmri.images.geometry import to_world
from tfmri.images.native import in_native_space
from tfmri.images.prepare import Preparation

MIDDLE, MARKER = np.array([3.0, -10.0, 11.0]), np.array([21.0, -33.0, 27.0])  # mm
WAYS = {
    "world": Preparation((5, 4.5, 5), (42, 46, 42), "none"),
    "scan": Preparation((5, 4.5, 5), (42, 46, 42), "none", orientation="scan"),
    "mni152": Preparation((5, 4.5, 5), (42, 46, 42), "none", registration="mni152"),
}


def write_scan(path, codes, affine, shape, kind=nib.Nifti1Image):
    """A ball with a bright marker in it, stored along the axes `codes`."""
    world = to_world(affine, np.moveaxis(np.indices(shape), 0, -1))
    ball = np.square((world - MIDDLE) / (62, 75, 66)).sum(-1) < 1
    data = 100 * ball + 900 * np.exp(-np.square(world - MARKER).sum(-1) / (2 * 7.0**2))
    turn = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(codes))
    scan = kind(data.astype(np.float32), affine).as_reoriented(turn)
    scan.set_sform(scan.affine, code=1)
    scan.header["descrip"] = "somebody's name"
    nib.save(scan, path)


RAS = ("RAS", (4, 4, 4), (0, 0, 0), nib.Nifti1Image)
LAS = ("LAS", (3, 4, 4.5), (12, -9, 20), nib.Nifti1Image)
PSR = ("PSR", (4.4, 3.5, 4), (-20, 8, 5), nib.Nifti2Image)


@pytest.mark.parametrize(
    ("way", "stored"), [("world", RAS), ("world", LAS), ("scan", LAS), ("scan", PSR), ("mni152", PSR)]
)
def test_what_is_planted_in_a_scan_comes_back_to_its_place(tmp_path, grid, way, stored):
    codes, spacing, degrees, kind = stored
    path, shape = tmp_path / "scan.nii.gz", tuple(int(190 / mm) for mm in spacing)
    write_scan(path, codes, grid(spacing, shape, degrees, middle=MIDDLE), shape, kind)
    (prepared,) = prepare_scans([path], WAYS[way], tmp_path / "cache", 1, shown=False)
    values = np.load(prepared.image)[..., 0].astype(np.float32)
    back, scan = in_native_space(values, prepared.record, path), nib.load(path)
    assert back.shape == scan.shape and nib.aff2axcodes(back.affine) == tuple(codes)
    np.testing.assert_allclose(back.affine, scan.affine, atol=1e-4)
    assert int(back.header["sform_code"]) == 1 and not back.header["descrip"].item()

    spot = np.maximum(back.get_fdata() - 300, 0)
    found = to_world(scan.affine, np.array(ndimage.center_of_mass(spot)))
    np.testing.assert_allclose(found, MARKER, atol=0.25 * min(spacing))
    seen = back.get_fdata() != 0
    assert np.corrcoef(back.get_fdata()[seen], scan.get_fdata()[seen])[0, 1] > 0.95


def test_nibabel_and_scipy_bring_a_map_back_to_the_same_values(tmp_path, grid):
    path, shape = tmp_path / "scan.nii", (60, 50, 47)
    write_scan(path, "LPI", grid((3, 4, 4.2), shape, (12, -9, 20), middle=MIDDLE), shape)
    (prepared,) = prepare_scans([path], WAYS["world"], tmp_path / "cache", 1, shown=False)
    values = np.random.default_rng(0).normal(size=WAYS["world"].shape).astype(np.float32)
    found, scan = in_native_space(values, prepared.record, path).get_fdata(), nib.load(path)
    there = nib.Nifti1Image(values, np.array(prepared.record["affine"]))  # the frame is the world: no more is needed
    expected = resample_from_to(there, scan, order=1, cval=np.nan).get_fdata()
    inside = np.isfinite(expected)
    assert inside.mean() > 0.4
    np.testing.assert_allclose(found[inside], expected[inside], atol=2e-3)


def test_on_a_coarser_scan_a_map_is_smoothed_and_where_the_grid_ends_there_is_nothing(tmp_path, grid):
    path, shape = tmp_path / "scan.nii", (40, 40, 40)
    write_scan(path, "RAS", grid((6, 6, 6), shape, middle=MIDDLE), shape)
    preparation = Preparation((2, 2, 2), (90, 100, 90), "none")
    (prepared,) = prepare_scans([path], preparation, tmp_path / "cache", 1, shown=False)
    values = 1 + np.random.default_rng(0).normal(size=preparation.shape).astype(np.float32)
    found = in_native_space(values, prepared.record, path).get_fdata()
    inside = found != 0
    assert 0.3 < inside.mean() < 0.6  # 180 x 200 x 180 mm of 240³
    assert found[inside].std() < 0.2 and found[inside].mean() == pytest.approx(1, abs=0.02)
