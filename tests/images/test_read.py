import gzip
import struct

import nibabel as nib
import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.images.read import read_volume

AFFINE = np.diag([2.0, 3.0, 4.0, 1.0])
VOXELS = np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7)


def save(path, data=VOXELS, affine=AFFINE, kind=nib.Nifti1Image):
    nib.save(kind(data, affine), path)
    return path


def bad(path):
    with pytest.raises(InputError) as caught:
        read_volume(path)
    assert len(caught.value.problems) == 1
    problem = caught.value.problems[0]
    assert problem.where == str(path)
    assert problem.expected or problem.advice
    assert "\n" not in str(problem)
    return problem.found


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "packed-without-saying-so.nii", "spaces and ü.nii.gz"])
def test_a_scan_is_read_as_it_was_written(tmp_path, name):
    path = save(tmp_path / name)
    if name.startswith("packed"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    volume = read_volume(path)
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_every_type_of_voxel_is_read(tmp_path, kind, dtype):
    np.testing.assert_array_equal(read_volume(save(tmp_path / "a.nii", VOXELS.astype(dtype), kind=kind)).data, VOXELS)


def test_the_slope_and_intercept_of_the_header_are_applied(tmp_path):
    path = save(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<ff", content, 112, 0.5, -10)  # scl_slope and scl_inter, by the NIfTI-1 standard
    path.write_bytes(content)
    np.testing.assert_array_equal(read_volume(path).data, VOXELS * 0.5 - 10)


def test_a_big_endian_scan_is_read(tmp_path):
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(VOXELS, AFFINE, header), tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == struct.pack(">i", 348)
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").data, VOXELS)


@pytest.mark.parametrize("axes", [(1,), (1, 1)])
def test_trailing_axes_of_length_one_are_dropped(tmp_path, axes):
    volume = read_volume(save(tmp_path / "a.nii.gz", VOXELS.reshape(*VOXELS.shape, *axes)))
    np.testing.assert_array_equal(volume.data, VOXELS)


@pytest.mark.parametrize("code", ["RAS", "LAS", "LIA", "PSR", "SLP", "AIL"])
def test_axes_come_out_right_anterior_superior(tmp_path, code):
    turn = nib.orientations.ornt_transform(nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(code))
    turned = nib.Nifti1Image(VOXELS, AFFINE).as_reoriented(turn)
    assert "".join(nib.aff2axcodes(turned.affine)) == code
    nib.save(turned, tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.data, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_a_broken_neighbour_of_the_same_name_is_not_read_instead(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    (tmp_path / "a.nii").write_bytes(gzip.decompress(path.read_bytes())[:400])
    np.testing.assert_array_equal(read_volume(path).data, VOXELS)


def test_files_that_are_none_are_refused(tmp_path):
    assert bad(tmp_path / "missing.nii.gz") == "no such file"
    assert bad(tmp_path) == "a directory"
    (tmp_path / "link.nii.gz").symlink_to("annex/object")
    assert bad(tmp_path / "link.nii.gz") == "a link to annex/object, which does not exist"
    (tmp_path / "empty.nii.gz").touch()
    assert bad(tmp_path / "empty.nii.gz") == "an empty file"
    for name in ("text.nii.gz", "text.nii"):
        (tmp_path / name).write_text("404 Not Found " * 100)
        assert bad(tmp_path / name) == "not a NIfTI file"


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair, nib.Spm99AnalyzeImage])
@pytest.mark.parametrize("half", ["a.hdr", "a.img"])
def test_half_of_a_pair_is_refused(tmp_path, kind, half):
    nib.save(kind(VOXELS, AFFINE), tmp_path / "a.img")
    assert bad(tmp_path / half) == "not a NIfTI file"


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_a_packed_scan_that_is_cut_short_is_refused(tmp_path, share):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20), np.int16))
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert bad(path) == "a packed file that is cut short"


def test_a_packed_scan_with_a_flipped_bit_is_refused(tmp_path):
    path = save(tmp_path / "a.nii.gz", np.random.default_rng(0).integers(0, 999, (20, 20, 20), np.int16))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "damaged" in bad(path)


@pytest.mark.parametrize("length", [200, 352, 400])
def test_an_unpacked_scan_that_is_cut_short_is_refused(tmp_path, length):
    path = save(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes()[:length])
    assert bad(path) == (
        "not a NIfTI file" if length < 348 else f"cut short, {352 + VOXELS.nbytes - length} bytes are missing"
    )


def test_what_is_not_one_volume_of_numbers_is_refused(tmp_path):
    assert bad(save(tmp_path / "series.nii.gz", np.stack([VOXELS, VOXELS], -1))) == "4 axes, (5, 6, 7, 2)"
    assert "picture" in bad(save(tmp_path / "flat.nii.gz", VOXELS[:, :, 0]))
    assert "picture" in bad(save(tmp_path / "slice.nii.gz", VOXELS[:, :, :1]))
    assert "complex64" in bad(save(tmp_path / "complex.nii.gz", VOXELS.astype(np.complex64)))
    colours = np.zeros(VOXELS.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    assert "voxels of type" in bad(save(tmp_path / "colours.nii.gz", colours))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_voxels_that_are_no_numbers_are_counted_and_refused(tmp_path, value):
    data = VOXELS.astype(np.float64)
    data[1, 2, 3] = data[4, 4, 4] = value
    assert bad(save(tmp_path / "a.nii.gz", data)) == "2 of 210 voxels are NaN or infinite"


def test_a_constant_scan_is_refused(tmp_path):
    assert bad(save(tmp_path / "a.nii.gz", np.full((5, 6, 7), 3, np.int16))) == "all voxels are 3"


@pytest.mark.parametrize("rows", [np.zeros((3, 4)), np.eye(3, 4) * [[1], [1], [0]], np.full((3, 4), np.nan)])
def test_an_affine_that_places_the_voxels_nowhere_is_refused(tmp_path, rows):
    path = save(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    struct.pack_into("<hh12f", content, 252, 0, 1, *(0,) * 6, *rows.ravel()[:6])  # codes, quaternion, part of sform
    struct.pack_into("<12f", content, 280, *rows.ravel())
    path.write_bytes(content)
    assert "singular affine" in bad(path)
