import hashlib
import io
import os
import signal
import subprocess
import tarfile

import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.images import cache as cache_module
from tfmri.images.archive import unpack_archive, write_archive
from tfmri.images.cache import find_scans, leftovers, prepare_scans
from tfmri.images.prepare import Preparation

PREPARATION = Preparation((6, 6, 6), (28, 32, 28), mask="head")


@pytest.fixture(autouse=True)
def _files_are_trusted_however_fresh(monkeypatch):
    monkeypatch.setattr(cache_module, "RECENT", 0.0)


@pytest.fixture
def cohort(tmp_path, scan):
    """Three scans, prepared in `cache` and written to `cohort.tar`."""
    paths = [scan(number) for number in range(3)]
    scans = prepare_scans(paths, PREPARATION, tmp_path / "cache", workers=1, shown=False)
    prepare_scans(paths, Preparation((6, 6, 6), (28, 32, 28)), tmp_path / "cache", workers=1, shown=False)
    write_archive(scans, tmp_path / "cohort.tar", shown=False)
    return paths, scans, tmp_path / "cohort.tar"


def contents(folder):
    files = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "sources.json"]
    return {path.name: path.read_bytes() for path in files}


def test_an_archive_holds_the_scans_of_one_experiment_and_any_tar_reads_it(tmp_path, cohort):
    _, scans, archive = cohort
    names = subprocess.run(["tar", "tf", archive], capture_output=True, text=True, check=True).stdout.split()
    assert names[0] == "manifest.json"
    arrays = [array["name"] for scan in scans for array in scan.record["arrays"].values()]
    assert sorted(names[1:]) == sorted([*arrays, *(scan.path.name for scan in scans)])
    assert len(contents(tmp_path / "cache")) == 3 * 3 + 3 * 2


def test_unpacked_it_is_the_cache_it_was_made_from_and_no_scan_is_read_again(tmp_path, cohort, monkeypatch):
    paths, scans, archive = cohort
    assert unpack_archive(archive, tmp_path / "scratch", shown=False) == 3
    monkeypatch.setattr(cache_module, "read_file", None)
    monkeypatch.setattr(cache_module, "_fill", None)
    found = prepare_scans(paths, PREPARATION, tmp_path / "scratch")
    assert [each.record for each in found] == [each.record for each in scans]
    for one, two in zip(found, scans, strict=True):
        np.testing.assert_array_equal(np.load(one.image), np.load(two.image))
        np.testing.assert_array_equal(np.load(one.mask), np.load(two.mask))
    assert contents(tmp_path / "scratch").items() <= contents(tmp_path / "cache").items()
    assert not leftovers(tmp_path / "scratch")


def test_unpacking_into_a_cache_that_has_some_of_it_changes_nothing_there(tmp_path, cohort):
    paths, _, archive = cohort
    prepare_scans(paths[:2], PREPARATION, tmp_path / "scratch", workers=1, shown=False)
    before = contents(tmp_path / "scratch")
    unpack_archive(archive, tmp_path / "scratch", shown=False)
    assert before.items() <= contents(tmp_path / "scratch").items()
    assert all(find_scans(paths, PREPARATION, tmp_path / "scratch", hashing=False))


def rewritten(archive, change):
    """The archive with each member's name and content changed."""
    with tarfile.open(archive) as tar:
        members = [(member.name, tar.extractfile(member).read()) for member in tar]
    with tarfile.open(archive, "w") as tar:
        for name, content in change(members):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def flip_a_bit(archive):
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)


DAMAGES = {
    "cut short": (lambda archive: os.truncate(archive, archive.stat().st_size * 2 // 3), ["cohort.tar", "damaged"]),
    "cut between members": (lambda archive: rewritten(archive, lambda all_: all_[:-2]), ["2 of 9 files are missing"]),
    "a flipped bit": (flip_a_bit, ["damaged: the checksum of"]),
    "a path that leads out": (lambda a: rewritten(a, lambda all_: [*all_, ("../evil.npy", b"x")]), ["'../evil.npy'"]),
    "a file of somebody else": (lambda a: rewritten(a, lambda all_: [*all_, ("0" * 32 + ".npy", b"")]), ["0.npy'"]),
    "another tar": (lambda a: rewritten(a, lambda _: [("a.txt", b"a")]), ["no archive of prepared scans"]),
    "a text": (lambda archive: archive.write_text("hello " * 900), ["no archive of prepared scans"]),
    "nothing": (lambda archive: archive.write_bytes(b""), ["no archive of prepared scans"]),
    "no file": (lambda archive: archive.unlink(), ["no such file", "Check the path"]),
    "a manifest of another kind": (lambda a: rewritten(a, lambda _: [("manifest.json", b"[1]")]), ["damaged"]),
    "another version": (
        lambda a: rewritten(a, lambda _: [("manifest.json", b'{"version": 2, "files": {}}')]),
        ["version 2", "expected version 1"],
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_archive_is_refused_in_a_sentence_and_leaves_nothing(tmp_path, cohort, damage):
    _, _, archive = cohort
    spoil, said = DAMAGES[damage]
    spoil(archive)
    with pytest.raises(InputError) as caught:
        unpack_archive(archive, tmp_path / "scratch", shown=False)
    assert len(caught.value.problems) == 1 and caught.value.problems[0].where == str(archive)
    for words in said:
        assert words in str(caught.value)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not (tmp_path / "evil.npy").exists()


def test_a_bit_that_rotted_in_the_cache_does_not_get_into_an_archive(tmp_path, cohort):
    _, scans, archive = cohort
    before = hashlib.sha256(archive.read_bytes()).hexdigest()
    flip_a_bit(scans[1].image)
    with pytest.raises(InputError, match=rf"{scans[1].image.name}: it is not what its record says.*Delete it"):
        write_archive(scans, archive, shown=False)
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == before
    assert [path.name for path in tmp_path.glob(".writing-*")] == []


def test_a_disk_that_is_too_small_gets_nothing_of_it(tmp_path, cohort):
    _, _, archive = cohort
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk to fill can be mounted by root only")
    try:
        with pytest.raises(InputError, match="cache: cannot be written to: no space left on device"):
            unpack_archive(archive, disk / "cache", shown=False)
        assert list((disk / "cache").iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_killed_in_the_midst_it_has_put_nothing_into_the_cache(tmp_path, cohort, monkeypatch):
    _, _, archive = cohort
    child = os.fork()
    if child == 0:
        fsync, files = os.fsync, []

        def third_is_the_last(file):
            files.append(file)
            if len(files) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
            fsync(file)

        monkeypatch.setattr(os, "fsync", third_is_the_last)
        unpack_archive(archive, tmp_path / "scratch", shown=False)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert contents(tmp_path / "scratch") == {} and len(leftovers(tmp_path / "scratch")) == 1
    assert unpack_archive(archive, tmp_path / "scratch", shown=False) == 3
