import zipfile

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from drawn_heads import AFFINE, draw_head, save
from scipy.spatial.transform import Rotation

from tfmri.checks.files import file_findings
from tfmri.checks.finding import Finding, Harm
from tfmri.checks.headers import read_headers
from tfmri.checks.voxels import examine

HEAD, BRAIN = draw_head(0), draw_head(1, whole=False)


def look(*paths, site="", voxels=True) -> list[Finding]:
    table = pd.DataFrame({"scan": [path.name for path in paths], "path": [str(path) for path in paths], "site": site})
    return file_findings(table, read_headers(paths), examine(paths, 1, False) if voxels else None)


def only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [str(finding) for finding in findings]
    assert findings[0].found and findings[0].advice and "\n" not in str(findings[0])
    return findings[0]


def forms(path, data=HEAD, qform=(AFFINE, 1), sform=(AFFINE, 1)):
    image = nib.Nifti1Image(data, AFFINE)
    image.set_qform(*qform)
    image.set_sform(*sform)
    nib.save(image, path)
    return path


def rotated(degrees, axis="x"):
    affine = AFFINE.copy()
    affine[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix() @ AFFINE[:3, :3]
    return affine


@pytest.mark.parametrize("kind", ["head", "brain", "one form", "zip", "slightly oblique"])
def test_a_sound_scan_has_no_findings(tmp_path, kind):
    path = tmp_path / "a.nii.gz"
    if kind == "one form":
        forms(path, qform=(None, 0), sform=(AFFINE, 2))
    elif kind == "slightly oblique":
        save(path, HEAD, rotated(1))
    else:
        save(path, BRAIN if kind == "brain" else HEAD)
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "1.zip", "w") as archive:
            archive.write(path, "T1/T1.nii.gz")
        path = tmp_path / "1.zip" / "T1" / "T1.nii.gz"
    assert look(path) == []


def blank(path):
    return save(path, np.full((20, 20, 20), 7.0))


def zeros(path):
    return save(path, np.zeros((20, 20, 20)))


def with_nan(path):
    data = HEAD.copy()
    data[:3] = np.nan
    return save(path, data)


def with_infinity(path):
    data = HEAD.copy()
    data[30, 30, 30] = np.inf
    return save(path, data)


def series(path):
    return save(path, np.stack([HEAD[:20, :20, :20]] * 3, axis=-1))


def flat(path):
    return save(path, HEAD[:, :, 30])


def cut_short(path):
    save(path, HEAD)
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def flipped(path):
    save(path, HEAD)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    return path


def text(path):
    path.write_text("not an image\n")
    return path


def hollow(path):
    path.touch()
    return path


def nothing(path):
    return path


def folder(path):
    path.mkdir()
    return path


def dots(path):
    data = np.zeros((20, 20, 20))
    data[5, 5, 5] = 1
    return save(path, data)


SPOILT = [
    (nothing, "unreadable_scan", "no such file"),
    (folder, "unreadable_scan", "a directory"),
    (hollow, "unreadable_scan", "an empty file"),
    (text, "unreadable_scan", "not a NIfTI file"),
    (cut_short, "unreadable_scan", "cut short"),
    (flipped, "unreadable_scan", "damaged"),
    (with_nan, "unreadable_scan", "NaN or infinite"),
    (with_infinity, "unreadable_scan", "NaN or infinite"),
    (blank, "unreadable_scan", "all voxels are 7"),
    (zeros, "unreadable_scan", "all voxels are 0"),
    (series, "many_volumes", "4 axes"),
    (flat, "unreadable_scan", "2 axes"),
    (dots, "unpreparable_scan", "head"),
]


@pytest.mark.parametrize(("damage", "check", "told"), SPOILT, ids=lambda value: getattr(value, "__name__", None))
def test_what_training_would_refuse_spoils(tmp_path, damage, check, told):
    path = damage(tmp_path / "a.nii.gz")
    found = only(look(path))
    assert found.harm == Harm.SPOILS and found.check == check and told in found.found
    assert found.where == str(path) and found.scans == ("a.nii.gz",)


@pytest.mark.parametrize(
    ("damage", "check"), [(nothing, "unreadable_scan"), (text, "unreadable_scan"), (series, "many_volumes")]
)
def test_headers_alone_tell_some_of_it(tmp_path, damage, check):
    assert only(look(damage(tmp_path / "a.nii.gz"), voxels=False)).check == check


def test_scans_with_one_mistake_are_told_together(tmp_path):
    good = save(tmp_path / "good.nii.gz", HEAD)
    found = only(look(tmp_path / "1.nii", good, tmp_path / "2.nii", tmp_path / "3.nii", tmp_path / "4.nii"))
    assert found.scans == ("1.nii", "2.nii", "3.nii", "4.nii") and found.where == "4 scans, 1.nii, 2.nii, 3.nii, ..."


def test_a_scan_beside_its_packed_twin_is_doubtful(tmp_path):
    save(tmp_path / "a.nii", HEAD)
    found = only(look(save(tmp_path / "a.nii.gz", HEAD), voxels=False))
    assert found.check == "shadowed_scan" and found.harm == Harm.DOUBTFUL


def test_a_scan_with_neither_form_does_not_tell_left_from_right(tmp_path):
    found = only(look(forms(tmp_path / "a.nii.gz", qform=(None, 0), sform=(None, 0)), voxels=False))
    assert found.check == "left_right_ambiguous" and found.harm == Harm.DOUBTFUL and "neither" in found.found


def test_forms_that_mirror_each_other_do_not_tell_left_from_right(tmp_path):
    mirrored = np.diag([-1.0, 1, 1, 1]) @ AFFINE
    found = only(look(forms(tmp_path / "a.nii.gz", qform=(mirrored, 1)), voxels=False))
    assert found.check == "left_right_ambiguous" and "mirror" in found.found


def test_forms_that_disagree_are_told_with_the_distance(tmp_path):
    moved = AFFINE.copy()
    moved[1, 3] += 5
    found = only(look(forms(tmp_path / "a.nii.gz", qform=(moved, 1)), voxels=False))
    assert found.check == "forms_disagree" and found.numbers["millimetres"] == pytest.approx(5, abs=0.01)


def test_oblique_is_worth_knowing_and_tilted_is_doubtful(tmp_path):
    notes = look(save(tmp_path / "a.nii.gz", HEAD, rotated(12)), voxels=False)
    assert only(notes).check == "oblique" and notes[0].harm == Harm.NOTE and "12.0" in notes[0].found
    tilted = look(save(tmp_path / "b.nii.gz", HEAD, rotated(40)), voxels=False)
    assert only(tilted).check == "oblique" and tilted[0].harm == Harm.DOUBTFUL and "40" in tilted[0].found


@pytest.mark.parametrize("spacing", [(1, 1, 6), (0.2, 0.2, 0.2), (0.5, 0.5, 3)])
def test_extreme_spacings_are_doubtful(tmp_path, spacing):
    shape = np.ceil(200 / np.array(spacing)).astype(int)
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros(np.minimum(shape, 400), np.uint8), np.diag([*spacing, 1])), path)
    found = next(finding for finding in look(path, voxels=False) if "spacing" in finding.check)
    assert found.check == "extreme_spacing" and " x ".join(f"{length:g}" for length in spacing) in found.found


@pytest.mark.parametrize("spacing", [0.5, 12.0])
def test_heads_of_no_human_size_are_doubtful(tmp_path, spacing):
    affine = np.diag([spacing] * 3 + [1.0])
    found = look(save(tmp_path / "a.nii.gz", HEAD, affine), voxels=False)
    assert {each.check for each in found} <= {"odd_field_of_view", "extreme_spacing"} and found


def test_one_scan_stored_unlike_the_rest_of_its_site_is_doubtful(tmp_path):
    small = np.arange(1000.0).reshape(10, 10, 10)
    grid = np.diag([20.0, 20, 20, 1])
    paths = [save(tmp_path / f"{n}.nii", small, grid) for n in range(11)]
    paths.append(save(tmp_path / "odd.nii", small, grid @ np.diag([-1, 1, 1, 1])))
    found = [each for each in look(*paths, site="A", voxels=False) if each.check == "other_axes"]
    assert only(found).scans == ("odd.nii",) and "LAS at A where 11 of 12 are RAS" in found[0].found


def test_sites_that_store_otherwise_are_only_noted(tmp_path):
    small, grid = np.arange(1000.0).reshape(10, 10, 10), np.diag([20.0, 20, 20, 1])
    paths = [save(tmp_path / f"{n}.nii", small, grid @ np.diag([1 - 2 * (n % 2), 1, 1, 1])) for n in range(24)]
    found = [each for each in look(*paths, site=["A", "B"] * 12, voxels=False) if "axes" in each.check]
    assert only(found).check == "mixed_axes" and found[0].harm == Harm.NOTE and "12 LAS, 12 RAS" in found[0].found


def cropped(path, data, axis, start, stop):
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, axis] * start
    return save(path, np.take(data, np.arange(start, stop), axis=axis), affine)


@pytest.mark.parametrize(
    ("axis", "start", "stop", "told"),
    [(2, 0, 48, "above"), (0, 18, 64, "at a side"), (1, 0, 56, "at a side"), (2, 26, 66, "below")],
)
@pytest.mark.parametrize("data", [HEAD, BRAIN], ids=["head", "brain"])
def test_a_field_of_view_that_ends_within_the_brain_is_doubtful(tmp_path, data, axis, start, stop, told):
    found = [each for each in look(cropped(tmp_path / "a.nii.gz", data, axis, start, stop)) if each.check == "cut_head"]
    assert only(found).harm == Harm.DOUBTFUL and f"ends {told} within the brain" in found[0].found


def test_a_neck_and_a_scalp_may_be_cut(tmp_path):
    assert look(cropped(tmp_path / "a.nii.gz", HEAD, 2, 10, 63)) == []


def test_a_scan_that_was_normalised_inside_a_mask_is_doubtful(tmp_path):
    inside = BRAIN != 0
    scores = np.where(inside, (BRAIN - BRAIN[inside].mean()) / BRAIN[inside].std(), 0)
    found = [each for each in look(save(tmp_path / "a.nii.gz", scores)) if each.harm == Harm.DOUBTFUL]
    assert found[0].check == "normalised_before"
