import contextlib
import dataclasses
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tfmri import processes
from tfmri.errors import InputError
from tfmri.images import cache as cache_module
from tfmri.images.cache import ScanFiles, find_scans, prepare_scans
from tfmri.images.prepare import Preparation, prepare, prepare_files
from tfmri.images.read import read_volume
from tfmri.machine import processors

PREPARATION = Preparation((6, 6, 6), (28, 32, 28))
BYTES = 2 * 28 * 32 * 28


@pytest.fixture(autouse=True)
def _files_are_trusted_however_fresh(monkeypatch):
    monkeypatch.setattr(cache_module, "RECENT", 0.0)


PROGRAM = """
import sys
from pathlib import Path
from tfmri.images.cache import prepare_scans
from tfmri.images.prepare import Preparation

if __name__ == "__main__":
    cache, workers, *paths = sys.argv[1:]
    preparation = Preparation((6, 6, 6), (28, 32, 28))
    scans = prepare_scans([Path(path) for path in paths], preparation, Path(cache), int(workers))
    print(len(scans), *[name for name in ("nibabel", "scipy", "SimpleITK", "tensorflow") if name in sys.modules])
"""


@pytest.fixture
def program(tmp_path):
    """Starts a program of its own that fills a cache, as the command line does."""
    (tmp_path / "program.py").write_text(PROGRAM)

    def start(cache: Path, workers: int, paths: list[Path]) -> subprocess.Popen:
        command = [sys.executable, tmp_path / "program.py", cache, str(workers), *paths]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )

    return start


def record_of(cached):
    return cached.image.parent / f"{cached.image.name[:32]}.json"


def made(cache):
    return {path.name: path.stat().st_mtime_ns for path in cache.glob("[!.]*.npy")}


def test_the_cache_holds_what_prepare_makes(tmp_path, scan):
    [cached] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    prepared = prepare(read_volume(scan()), PREPARATION)
    np.testing.assert_array_equal(np.load(cached.image), prepared.image)
    voxels = np.frombuffer(cached.image.read_bytes()[-BYTES:], np.float16).reshape(28, 32, 28, 1)
    np.testing.assert_array_equal(voxels, prepared.image)
    assert cached.background == prepared.background == tuple(cached.record["background"])
    np.testing.assert_allclose(cached.record["affine"], prepared.affine)
    assert cached.record["done"] == prepared.done
    assert [source["path"] for source in cached.record["sources"]] == [str(scan())]
    assert cached.sha256 == hashlib.sha256(cached.image.read_bytes()).hexdigest()
    assert cached.source_sha256 == hashlib.sha256(scan().read_bytes()).hexdigest()


def test_two_processes_make_the_same_bytes_as_one_in_the_order_asked_for(tmp_path, scan):
    paths = [scan(number) for number in (3, 1, 2, 0)]
    paths.append(paths[1])
    alone = prepare_scans(paths, PREPARATION, tmp_path / "one", workers=1)
    together = prepare_scans(paths, PREPARATION, tmp_path / "two", workers=2, shown=False)
    assert [one.sha256 for one in alone] == [two.sha256 for two in together]
    assert [one.record for one in alone] == [two.record for two in together]
    assert [one.record["sources"][0]["path"] for one in alone] == [str(path) for path in paths]
    assert len(made(tmp_path / "two")) == 4
    assert not list((tmp_path / "two").glob(".*"))


def test_a_full_cache_starts_no_process_and_reads_no_scan(tmp_path, scan, monkeypatch):
    paths = [scan(number) for number in range(3)]
    first = prepare_scans(paths, PREPARATION, tmp_path / "cache", workers=1)
    monkeypatch.setattr(cache_module, "_fill", None)
    assert prepare_scans(paths, PREPARATION, tmp_path / "cache", workers=4) == first


def test_a_full_cache_is_found_without_the_libraries_that_fill_it(tmp_path, scan, program):
    paths = [scan(number) for number in range(2)]
    prepare_scans(paths, PREPARATION, tmp_path / "cache", workers=1)
    output, errors = program(tmp_path / "cache", 2, paths).communicate(timeout=60)
    assert (output.split(), errors) == (["2"], "")


@pytest.mark.parametrize(
    "other",
    [
        Preparation((6, 6, 6.5), (28, 32, 28)),
        Preparation((6, 6, 6), (28, 32, 30)),
        Preparation((6, 6, 6), (28, 32, 28), "percentiles"),
        Preparation((6, 6, 6), (28, 32, 28), "histogram"),
        Preparation((6, 6, 6), (28, 32, 28), orientation="scan"),
        Preparation((6, 6, 6), (28, 32, 28), mask="head"),
    ],
)
def test_other_settings_are_prepared_anew_and_both_stay(tmp_path, scan, other):
    [one] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    [two] = prepare_scans([scan()], other, tmp_path / "cache", workers=1)
    assert one.image != two.image
    np.testing.assert_array_equal(np.load(two.image), prepare(read_volume(scan()), other).image)
    assert prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1) == [one]


def test_another_version_of_the_steps_is_prepared_anew(tmp_path, scan, monkeypatch):
    [one] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    monkeypatch.setattr(cache_module.prepare, "STEPS_VERSION", cache_module.prepare.STEPS_VERSION + 1)
    [two] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    assert one.image != two.image


def test_a_scan_of_the_same_size_written_later_is_noticed(tmp_path, scan):
    path = scan(0, "a.nii")
    [one] = prepare_scans([path], PREPARATION, tmp_path / "cache", workers=1)
    size = path.stat().st_size
    scan(9, "a.nii")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert path.stat().st_size == size
    [two] = prepare_scans([path], PREPARATION, tmp_path / "cache", workers=1)
    assert two.source_sha256 != one.source_sha256
    assert two.image != one.image


def test_the_same_content_in_another_place_is_not_prepared_twice(tmp_path, scan):
    prepare_scans([scan(0, "a.nii.gz")], PREPARATION, tmp_path / "cache", workers=1)
    before = made(tmp_path / "cache")
    copy = tmp_path / "copy.nii.gz"
    copy.write_bytes(scan(0, "a.nii.gz").read_bytes())
    os.utime(scan(0, "a.nii.gz"), ns=(1, 1))
    prepare_scans([copy, scan(0, "a.nii.gz")], PREPARATION, tmp_path / "cache", workers=1)
    assert made(tmp_path / "cache") == before


def test_a_scan_replaced_by_one_of_the_same_size_and_time_is_noticed(tmp_path, scan):
    path = scan(0, "a.nii")
    [one] = prepare_scans([path], PREPARATION, tmp_path / "cache", workers=1)
    before = path.stat()
    scan(9, "a.nii")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as cp -p, rsync -t and some synchronising tools do
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    [two] = prepare_scans([path], PREPARATION, tmp_path / "cache", workers=1)
    assert two.image != one.image


def test_a_file_too_fresh_for_its_times_to_tell_of_another_change_is_hashed_again(tmp_path, scan, monkeypatch):
    monkeypatch.setattr(cache_module, "RECENT", 3600.0)
    path = scan()
    prepare_scans([path], PREPARATION, tmp_path / "cache", workers=1)
    assert json.loads((tmp_path / "cache" / "sources.json").read_text()) == {}
    assert find_scans([path], PREPARATION, tmp_path / "cache", hashing=False) == [None]
    assert find_scans([path], PREPARATION, tmp_path / "cache") != [None]


def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, scan, monkeypatch):
    path = scan()

    def slow(*arguments, **named):
        os.utime(path, ns=(1, 1))
        return prepare_files(*arguments, **named)

    monkeypatch.setattr(cache_module, "prepare_files", slow)
    with pytest.raises(InputError, match=r"scan-0.*changed while it was read"):
        prepare_scans([path], PREPARATION, tmp_path / "cache", workers=1)
    assert not made(tmp_path / "cache")


def test_scans_inside_an_archive_are_prepared_and_known_by_the_archive(tmp_path, scan):
    inside = tmp_path / "1000012_20252_2_0.zip" / "T1" / "T1.nii.gz"
    plain = [scan(number) for number in range(2)]
    expected = prepare_scans(plain, PREPARATION, tmp_path / "other", workers=1)
    for path, same in zip(plain, expected, strict=True):
        with zipfile.ZipFile(inside.parents[1], "w") as archive:
            archive.write(path, "T1/T1.nii.gz")
        assert find_scans([inside], PREPARATION, tmp_path / "cache", hashing=False) == [None]
        [one] = prepare_scans([inside], PREPARATION, tmp_path / "cache", workers=1)
        assert (one.sha256, one.source_sha256) == (same.sha256, same.source_sha256)
        assert find_scans([inside], PREPARATION, tmp_path / "cache", hashing=False) == [one]
    assert expected[0].sha256 != expected[1].sha256


def test_a_mask_lies_beside_its_image_as_bytes_and_a_changed_one_is_noticed(tmp_path, scan):
    image = scan(0)
    volume = nib.load(image)
    inside = (volume.get_fdata() > 50).astype(np.uint8)

    def draw(array):
        nib.save(nib.Nifti1Image(array, volume.affine), tmp_path / "mask.nii.gz")
        return ScanFiles((image,), tmp_path / "mask.nii.gz")

    preparation = Preparation((6, 6, 6), (28, 32, 28), mask="file")
    [one] = prepare_scans([draw(inside)], preparation, tmp_path / "cache", workers=1)
    mask = np.load(one.mask)
    assert mask.dtype == np.uint8 and mask.shape == (28, 32, 28) and set(np.unique(mask)) == {0, 1}
    np.testing.assert_array_equal(np.frombuffer(one.mask.read_bytes()[-mask.size :], np.uint8), mask.ravel())
    assert (np.load(one.image)[mask == 0] == np.float16(one.background[0])).all()
    inside[:, :, 12:] = 0
    [two] = prepare_scans([draw(inside)], preparation, tmp_path / "cache", workers=1)
    assert two.mask != one.mask and two.source_sha256 != one.source_sha256
    two.mask.unlink()
    assert prepare_scans([draw(inside)], preparation, tmp_path / "cache", workers=1) == [two]
    assert two.mask.exists()
    with pytest.raises(InputError, match="no mask is given"):
        prepare_scans([image], preparation, tmp_path / "cache", workers=1)


def test_channels_in_another_order_are_another_scan(tmp_path, scan):
    paths = scan(0), scan(1)
    preparation = Preparation((6, 6, 6), (28, 32, 28), channels=2)
    scans = [ScanFiles(paths), ScanFiles(paths[::-1])]
    one, two = prepare_scans(scans, preparation, tmp_path / "cache", workers=1)
    assert one.image != two.image
    assert np.load(one.image).shape == (28, 32, 28, 2) and len(one.background) == 2
    np.testing.assert_array_equal(np.load(one.image)[..., 1], np.load(two.image)[..., 0])


def test_a_program_whose_masks_differ_from_time_to_time_leaves_each_record_its_own_arrays(tmp_path, scan, monkeypatch):
    [one] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    kept = one.path.read_bytes()
    prepared = prepare(read_volume(scan()), PREPARATION)
    other = dataclasses.replace(prepared, image=prepared.image + np.float16(0.5))
    monkeypatch.setattr(cache_module, "prepare_files", lambda *_, **__: other)
    one.path.unlink()  # as though another job had looked a moment before the first had ended
    [two] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    np.testing.assert_array_equal(np.load(two.image), other.image)
    one.path.write_bytes(kept)  # the first ends last
    [last] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    assert hashlib.sha256(last.image.read_bytes()).hexdigest() == last.sha256 == one.sha256 != two.sha256


def test_a_mistake_that_all_scans_share_is_told_once(tmp_path, scan):
    preparation = Preparation((6, 6, 6), (28, 32, 28), mask="nonesuch {scan} {mask}")
    with pytest.raises(InputError) as caught:
        prepare_scans([scan(0), scan(1)], preparation, tmp_path / "cache", workers=1)
    assert len(caught.value.problems) == 1 and "nonesuch is not installed" in str(caught.value)


@pytest.mark.parametrize("damage", ["short image", "no image", "short record", "no record", "odd record"])
def test_what_is_not_whole_in_the_cache_is_made_again(tmp_path, scan, damage):
    [one] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    content = one.image.read_bytes()
    part, kind = damage.split()
    path = one.image if kind == "image" else record_of(one)
    if part == "no":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10] if part == "short" else b"[1, 2]")
    assert prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1) == [one]
    assert one.image.read_bytes() == content
    assert json.loads(record_of(one).read_text()) == one.record


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"/a": [1'])
def test_a_damaged_list_of_sources_costs_a_second_look_and_no_more(tmp_path, scan, content):
    [one] = prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1)
    before = made(tmp_path / "cache")
    (tmp_path / "cache" / "sources.json").write_text(content)
    assert prepare_scans([scan()], PREPARATION, tmp_path / "cache", workers=1) == [one]
    assert made(tmp_path / "cache") == before
    assert str(scan()) not in content
    assert str(one.record["sources"][0]["path"]) in json.loads((tmp_path / "cache" / "sources.json").read_text())


def test_all_bad_scans_are_told_at_once_and_the_good_ones_are_kept(tmp_path, scan):
    broken = scan(1)
    broken.write_bytes(broken.read_bytes()[:-40])
    paths = [tmp_path / "missing.nii.gz", scan(0), broken, scan(2), tmp_path]
    with pytest.raises(InputError) as caught:
        prepare_scans(paths, PREPARATION, tmp_path / "cache", workers=2)
    assert [problem.where for problem in caught.value.problems] == [str(paths[0]), str(broken), str(tmp_path)]
    assert len(made(tmp_path / "cache")) == 2


def test_a_log_gets_ten_lines_and_silence_is_possible(tmp_path, scan, capsys):
    paths = [scan(number) for number in range(20)]
    prepare_scans(paths, PREPARATION, tmp_path / "cache", workers=1)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[-1] == "preparing scans: 20 of 20"
    prepare_scans(paths[:2], PREPARATION, tmp_path / "other", workers=1, shown=False)
    assert capsys.readouterr() == ("", "")


def finished(cache: Path) -> list[Path]:
    """The scans that the cache holds whole; names that begin with a dot are still being written."""
    records = [json.loads(path.read_text()) for path in cache.glob("[!.]*.json") if path.name != "sources.json"]
    return [cache / record["arrays"]["image"]["name"] for record in records]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_program_leaves_no_process_and_no_half_file_and_is_resumed(tmp_path, scan, program, blow):
    paths = [scan(number) for number in range(16)]
    paths[-1].rename(aside := tmp_path / "aside")
    os.mkfifo(paths[-1])  # whoever reads it waits, so that the program cannot end before it is stopped
    cache = tmp_path / "cache"
    killed = program(cache, 2, paths)
    deadline = time.monotonic() + 60
    while len(finished(cache)) < 3 and time.monotonic() < deadline:
        time.sleep(0.005)
    children = Path(f"/proc/{killed.pid}/task/{killed.pid}/children")
    workers = children.read_text().split() if children.exists() else []
    if blow == signal.SIGKILL:
        killed.kill()  # the program alone: its workers are to notice
    else:
        os.killpg(killed.pid, blow)  # all of them, as Ctrl-C in a terminal does
        while killed.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # nobody reads it yet
                os.close(os.open(paths[-1], os.O_WRONLY | os.O_NONBLOCK))
            time.sleep(0.01)
    aside.replace(paths[-1])
    assert killed.communicate()[1].count("Traceback") <= 1
    assert killed.returncode == -blow
    while any(Path(f"/proc/{worker}").exists() for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    whole = finished(cache)
    assert 3 <= len(whole) < len(paths)
    before = {path.name: path.stat().st_mtime_ns for path in whole}
    scans = prepare_scans(paths, PREPARATION, cache, workers=1, shown=False)
    after = made(cache)
    assert len(after) == len(paths)
    assert {name: after[name] for name in before} == before
    expected = prepare_scans(paths, PREPARATION, tmp_path / "fresh", workers=1, shown=False)
    assert [one.sha256 for one in scans] == [one.sha256 for one in expected]


def die(*_):
    os._exit(1)


def test_a_worker_that_dies_is_told_with_advice(tmp_path, scan, monkeypatch):
    monkeypatch.setattr(processes, "_work", die)
    with pytest.raises(InputError, match=r"worker process died.*fewer workers than 2"):
        prepare_scans([scan(0), scan(1)], PREPARATION, tmp_path / "cache", workers=2)


def test_a_limit_on_the_size_of_files_is_told(tmp_path, scan):
    path, (soft, hard) = scan(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES // 2, hard))
    try:
        with pytest.raises(InputError, match="cannot be written to: file too large"):
            prepare_scans([path], PREPARATION, tmp_path / "cache", workers=1, shown=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_a_cache_that_is_a_file_is_refused(tmp_path, scan):
    (tmp_path / "cache").touch()
    with pytest.raises(InputError, match=r"cache: cannot be written to: file exists"):
        prepare_scans([scan()], PREPARATION, tmp_path / "cache")


@pytest.mark.parametrize(("slots", "expected"), [("1", 1), ("2", 2), ("100", 8), ("", 8), ("undefined", 8), ("0", 8)])
def test_no_more_processes_than_the_job_has_slots(monkeypatch, slots, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("NSLOTS", slots)
    assert processors() == expected
