import gzip
import zipfile

import nibabel as nib
import numpy as np
import pytest
from drawn_heads import AFFINE, draw_head, save
from nibabel.orientations import axcodes2ornt, ornt_transform

from tfmri.checks.voxels import FINE, OUTSIDE, SMALL, digest_of, examine
from tfmri.images.prepare import prepare
from tfmri.images.read import read_volume

HEAD = np.rint(draw_head(0)).clip(0, None)


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    return save(tmp_path_factory.mktemp("scans") / "a.nii.gz", HEAD, dtype=np.int16)


def digest(path) -> str:
    return digest_of(read_volume(path))


def test_one_image_has_one_digest_however_it_is_stored(scan, tmp_path):
    (tmp_path / "unpacked.nii").write_bytes(gzip.decompress(scan.read_bytes()))
    save(tmp_path / "floats.nii", HEAD)
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt("PIL"))
    nib.save(nib.load(scan).as_reoriented(turn), tmp_path / "turned.nii")
    with zipfile.ZipFile(tmp_path / "1.zip", "w") as archive:
        archive.write(scan, "T1.nii.gz")
    assert examine([scan], 1, False)[0].digest == digest(scan) != ""
    for name in ("unpacked.nii", "floats.nii", "turned.nii", "1.zip/T1.nii.gz"):
        assert digest(tmp_path / name) == digest(scan), name


def test_another_image_has_another_digest(scan, tmp_path):
    other = HEAD.copy()
    other[30, 30, 30] += 1
    moved = AFFINE.copy()
    moved[0, 3] += 1
    assert digest(save(tmp_path / "voxel.nii", other)) != digest(scan)
    assert digest(save(tmp_path / "moved.nii", HEAD, moved)) != digest(scan)
    assert digest(save(tmp_path / "mirrored.nii", HEAD[::-1])) != digest(scan)


def test_the_small_copy_is_the_scan_prepared(scan):
    small = examine([scan], 1, False)[0].small
    expected = prepare(read_volume(scan), SMALL).image[..., 0]
    assert small.shape == SMALL.shape and small.dtype == np.float16
    assert np.corrcoef(small.ravel(), expected.ravel())[0, 1] > 0.99
    assert small.astype(np.float64).std() == pytest.approx(expected.astype(np.float64).std(), rel=0.1)


def test_the_planes_show_three_slices_and_where_the_field_of_view_ends(tmp_path):
    shown = examine([save(tmp_path / "a.nii.gz", HEAD[:, :-20])], 1, False)[0].planes
    x, y, z = FINE.shape
    assert shown.dtype == np.uint8 and shown.shape == (max(y, z), x + x + y)
    sagittal = shown[:, 2 * x :]
    assert (sagittal[40:60, -8:] == OUTSIDE).all()  # in front of the face, in the right of the picture
    assert (sagittal[40:60, 30:80] != OUTSIDE).mean() > 0.95


def test_what_cannot_be_read_is_told_and_the_rest_is_examined(scan, tmp_path):
    (tmp_path / "cut.nii.gz").write_bytes(scan.read_bytes()[:5000])
    found = examine([tmp_path / "none.nii", scan, tmp_path / "cut.nii.gz"], 1, False)
    assert [len(each.problems) for each in found] == [1, 0, 1]
    assert found[0].digest == "" and found[0].small is None and found[0].planes.size == 0 and not found[0].measures
    assert str(tmp_path / "none.nii") in found[0].problems[0].where
    assert found[1].measures["skull"] > 0.65


def test_a_picture_without_a_head_is_shown_all_the_same(tmp_path):
    half = np.zeros((20, 20, 20))
    half[3, 4, 5] = 1
    found = examine([save(tmp_path / "a.nii", half)], 1, False)[0]
    assert found.problems and found.digest and found.small is None and found.planes.size


def test_several_processes_find_what_one_finds(scan, tmp_path, capfd):
    mirrored = save(tmp_path / "mirrored.nii.gz", HEAD[::-1])
    paths = [mirrored, tmp_path / "none.nii", scan]
    several, one = examine(paths, 2), examine(paths, 1, False)
    assert "examining scans: 3 of 3" in capfd.readouterr().err
    for mine, yours in zip(several, one, strict=True):
        assert mine.digest == yours.digest and mine.measures == yours.measures and mine.problems == yours.problems
        np.testing.assert_array_equal(mine.planes, yours.planes)


def test_no_scans_are_nothing_to_do():
    assert examine([]) == []
