import gzip
import struct
import zipfile

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, ornt_transform
from scipy.spatial.transform import Rotation

from tfmri.checks.headers import read_headers

SHAPE, SPACING = (20, 30, 40), (1.0, 2.0, 3.0)
AFFINE = np.diag([*SPACING, 1.0])


def image(shape=SHAPE, affine=AFFINE, qform=1, sform=1, kind=nib.Nifti1Image) -> nib.Nifti1Image:
    made = kind(np.random.default_rng(0).integers(0, 999, shape).astype(np.int16), affine)
    made.set_qform(affine, qform)
    made.set_sform(affine, sform)
    return made


def row(path):
    return read_headers([path]).iloc[0]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR", "SLP", "LIA", "IPR"])
def test_sizes_and_spacings_are_along_the_axes_of_the_subject(tmp_path, name, kind, codes):
    turn = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(codes))
    turned = image(kind=kind).as_reoriented(turn)
    turned.set_qform(turned.affine, 1)
    nib.save(turned, tmp_path / name)
    found = row(tmp_path / name)
    assert found["problem"] == "" and found["axes"] == codes and found["dims"] == 3 and found["volumes"] == 1
    assert tuple(found[f"size_{axis}"] for axis in "xyz") == SHAPE
    np.testing.assert_allclose([found[f"spacing_{axis}"] for axis in "xyz"], SPACING)
    np.testing.assert_allclose([found[f"field_of_view_{axis}"] for axis in "xyz"], [20, 60, 120])
    assert found["dtype"] == "int16" and found["bytes"] == (tmp_path / name).stat().st_size
    assert found["oblique_degrees"] == pytest.approx(0, abs=1e-3) and found["forms_differ_mm"] < 1e-3


def test_a_big_endian_header_is_read(tmp_path):
    swapped = nib.Nifti1Image(np.zeros(SHAPE, ">i2"), AFFINE, nib.Nifti1Header(endianness=">"))
    nib.save(swapped, tmp_path / "a.nii")
    assert (tmp_path / "a.nii").read_bytes()[:4] == struct.pack(">i", 348)
    assert row(tmp_path / "a.nii")["size_z"] == 40


def test_the_angle_of_an_oblique_scan_is_that_of_its_rotation(tmp_path):
    affine = AFFINE.copy()
    affine[:3, :3] = Rotation.from_euler("x", 17, degrees=True).as_matrix() @ AFFINE[:3, :3]
    nib.save(image(affine=affine), tmp_path / "a.nii")
    assert row(tmp_path / "a.nii")["oblique_degrees"] == pytest.approx(17, abs=0.01)


def test_forms_that_disagree_are_measured_where_they_disagree_most(tmp_path):
    made = image()
    other = Rotation.from_euler("z", 10, degrees=True).as_matrix() @ AFFINE[:3, :3]
    made.set_qform(nib.affines.from_matvec(other, [0, 0, 0]), 1)
    nib.save(made, tmp_path / "a.nii")
    far = 2 * np.sin(np.radians(5)) * np.hypot(19, 29 * 2)  # the chord of the corner farthest from the axis
    assert row(tmp_path / "a.nii")["forms_differ_mm"] == pytest.approx(far, rel=1e-3)
    assert not row(tmp_path / "a.nii")["forms_mirrored"]


def test_forms_of_different_handedness_are_told(tmp_path):
    made = image()
    made.set_qform(np.diag([-1.0, 2, 3, 1]), 1)
    nib.save(made, tmp_path / "a.nii")
    assert row(tmp_path / "a.nii")["forms_mirrored"]


def test_codes_are_told_and_forms_that_are_not_set_do_not_disagree(tmp_path):
    nib.save(image(qform=0, sform=2), tmp_path / "a.nii")
    nib.save(image(qform=0, sform=0), tmp_path / "b.nii")
    found = read_headers([tmp_path / "a.nii", tmp_path / "b.nii"])
    assert found["qform_code"].tolist() == [0, 0] and found["sform_code"].tolist() == [2, 0]
    assert found["forms_differ_mm"].isna().all()


def test_only_the_begin_of_a_file_is_needed(tmp_path):
    nib.save(image((60, 60, 60)), tmp_path / "whole.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "whole.nii.gz").read_bytes()[:3000])
    assert row(tmp_path / "cut.nii.gz")["problem"] == "" and row(tmp_path / "cut.nii.gz")["size_x"] == 60


def test_a_series_tells_its_volumes(tmp_path):
    nib.save(image((5, 6, 7, 8)), tmp_path / "a.nii")
    nib.save(image((5, 6, 7, 1)), tmp_path / "b.nii")
    assert read_headers([tmp_path / "a.nii", tmp_path / "b.nii"])["volumes"].tolist() == [8, 1]


def test_members_of_archives_are_read_in_their_places(tmp_path):
    nib.save(image(), tmp_path / "a.nii.gz")
    nib.save(image((9, 9, 9)), tmp_path / "b.nii")
    with zipfile.ZipFile(tmp_path / "1.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "a.nii.gz", "T1/T1.nii.gz")
        archive.write(tmp_path / "b.nii", "T1/T1.nii")
        archive.writestr("T1/cut.nii", (tmp_path / "b.nii").read_bytes()[:-700])
    inside = tmp_path / "1.zip" / "T1"
    found = read_headers(
        [inside / "T1.nii.gz", tmp_path / "a.nii.gz", inside / "T1.nii", inside / "T2.nii", inside / "cut.nii"]
    )
    assert found["size_x"].tolist()[:3] == [20, 20, 9]
    assert found["shadowed"].tolist() == [True, False, True, False, False]
    expected = ["", "", "", "not in the archive 1.zip", "cut short, 700 bytes are missing"]
    assert found["problem"].tolist() == expected


def test_a_file_beside_its_packed_twin_is_told(tmp_path):
    nib.save(image(), tmp_path / "a.nii.gz")
    nib.save(image(), tmp_path / "a.nii")
    nib.save(image(), tmp_path / "b.nii.gz")
    paths = [tmp_path / "a.nii.gz", tmp_path / "a.nii", tmp_path / "b.nii.gz"]
    assert read_headers(paths)["shadowed"].tolist() == [True, True, False]


def damaged(tmp_path):
    """Name -> how it is damaged."""
    nib.save(image(), tmp_path / "good.nii")
    good = (tmp_path / "good.nii").read_bytes()
    nib.save(image(), tmp_path / "good.nii.gz")
    packed = (tmp_path / "good.nii.gz").read_bytes()
    (tmp_path / "link.nii").symlink_to(tmp_path / "nowhere.nii")
    (tmp_path / "folder.nii").mkdir()
    (tmp_path / "broken.zip").write_bytes(b"PK\3\4 and no more")
    contents = {
        "empty.nii": b"",
        "text.nii": b"subject,age\n" * 99,
        "short.nii": good[:300],
        "short.nii.gz": gzip.compress(good[:300]),
        "noise.nii.gz": packed[:20] + bytes(range(256)) * 4,
        "begun.nii.gz": packed[:60],
        "cut.nii": good[:-1],
        "header.nii": good[:352],
        "hollow.nii.gz": gzip.compress(good[:40] + struct.pack("<8h", 3, 999, 999, 999, 1, 1, 1, 1) + good[56:2000]),
        "dims.nii": good[:40] + struct.pack("<8h", 3, -20, 30, 40, 1, 1, 1, 1) + good[56:],
        "axes.nii": good[:40] + struct.pack("<8h", 9, 20, 30, 40, 1, 1, 1, 1) + good[56:],
        "dtype.nii": good[:70] + struct.pack("<h", 999) + good[72:],
        "singular.nii": good[:280] + bytes(48) + good[328:],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {
        "nowhere.nii": "no such file",
        "link.nii": "a link to what does not exist",
        "folder.nii": "a directory",
        "broken.zip/a.nii": "the archive broken.zip is damaged",
        "empty.nii": "an empty file",
        "text.nii": "not a NIfTI file",
        "short.nii": "not a NIfTI file",
        "short.nii.gz": "not a NIfTI file",
        "noise.nii.gz": "a packed file that is damaged",
        "begun.nii.gz": "a packed file that is cut short",
        "cut.nii": "cut short, 1 bytes are missing",
        "header.nii": "cut short, 48000 bytes are missing",
        "hollow.nii.gz": "cut short, at least ",
        "dims.nii": "a damaged NIfTI header",
        "axes.nii": "a damaged NIfTI header",
        "dtype.nii": "a damaged NIfTI header",
        "singular.nii": "a damaged NIfTI header",
    }


def test_what_cannot_be_read_is_told_in_its_row_and_the_rest_is_read(tmp_path):
    expected = damaged(tmp_path)
    paths = [tmp_path / name for name in expected]
    found = read_headers([*paths, tmp_path / "good.nii"])
    for name, problem, told in zip(expected, found["problem"], expected.values(), strict=False):
        assert problem.startswith(told), name
    assert found["problem"].iloc[-1] == "" and found["size_x"].iloc[-1] == 20
    assert found["spacing_x"][:-1].isna().all()


def test_every_cut_and_every_flipped_byte_ends_in_a_row(tmp_path):
    nib.save(image(), tmp_path / "good.nii.gz")
    whole = gzip.decompress((tmp_path / "good.nii.gz").read_bytes())
    rng, paths = np.random.default_rng(0), []
    for number in range(150):
        content = bytearray(whole[: 2000 if number % 3 else int(rng.integers(1, 400))])
        for place in rng.integers(0, min(352, len(content)), 4):
            content[place] = int(rng.integers(256))
        paths.append(tmp_path / f"{number}.nii")
        paths[-1].write_bytes(content)
    assert len(read_headers(paths)) == 150


def test_no_scans_have_no_rows_but_all_columns(tmp_path):
    found = read_headers([])
    assert len(found) == 0 and {"problem", "axes", "spacing_x", "shadowed"} <= set(found)


def test_many_scans_keep_their_order(tmp_path):
    for size in range(3, 40):
        nib.save(image((size, 4, 5)), tmp_path / f"{size}.nii.gz")
    order = np.random.default_rng(1).permutation(np.arange(3, 40))
    assert read_headers([tmp_path / f"{size}.nii.gz" for size in order])["size_x"].tolist() == order.tolist()
