"""Paths that lead into zip archives."""

import zipfile

import pytest

from tfmri.archives import is_file, read_bytes, split_archive, status


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "1000012_20252_2_0.ZIP"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("T1/T1.nii.gz", b"voxels" * 100)
    return path


def test_a_member_is_read_as_though_the_archive_were_a_folder(archive):
    member = archive / "T1" / "T1.nii.gz"
    assert split_archive(member) == (archive, "T1/T1.nii.gz")
    assert is_file(member)
    assert read_bytes(member) == b"voxels" * 100
    assert status(member).st_mtime_ns == archive.stat().st_mtime_ns


def test_an_absent_member_is_no_file_and_says_which_archive_lacks_it(archive):
    absent = archive / "T1" / "T2.nii.gz"
    assert not is_file(absent)
    with pytest.raises(FileNotFoundError, match=archive.name):
        read_bytes(absent)


def test_ordinary_files_are_left_to_the_file_system_though_a_folder_is_called_zip(tmp_path):
    path = tmp_path / "cohort.zip" / "a.nii"
    path.parent.mkdir()
    path.write_bytes(b"x")
    assert split_archive(path) is None
    assert is_file(path)
    assert read_bytes(path) == b"x"


def test_a_damaged_archive_is_an_error_of_reading_not_wrong_bytes(archive):
    content = bytearray(archive.read_bytes())
    content[40:60] = b"\0" * 20  # in the packed bytes of the member
    archive.write_bytes(content)
    with pytest.raises(OSError, match="damaged"):
        read_bytes(archive / "T1" / "T1.nii.gz")
