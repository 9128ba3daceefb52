"""The cache under many processes at once, under kill -9, on a full disk: what is there is right, the rest follows."""

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.images import cache as cache_module
from tfmri.images.cache import leftovers, prepare_scans, sweep
from tfmri.images.prepare import Preparation

PREPARATION = Preparation((6, 6, 6), (28, 32, 28), mask="head")

# Forks the processes that fill caches, so that the libraries are loaded once. Each job is [cache, paths, moments]: a
# process a moment, all at once; a process whose moment is n is killed as it is about to do the nth thing to the
# directory. Prints the exit status of each, and how many such things it did.
FORKING = """
import json, os, sys
from pathlib import Path
import nibabel, scipy.ndimage, scipy.special, SimpleITK
from tfmri.images import cache as cache_module
from tfmri.images.mask import head_mask
from tfmri.images.prepare import Preparation

cache_module.RECENT = 0.0

def fill(cache, paths, moment, say):
    done, fsync = 0, os.fsync

    def reached():
        nonlocal done
        done += 1
        if done == moment:
            os.kill(os.getpid(), 9)

    def watch(event, arguments):
        if event in ("open", "os.rename", "os.chmod", "os.remove", "os.mkdir") and cache in str(arguments[:2]):
            reached()

    def watched_fsync(file):
        reached()
        fsync(file)

    sys.addaudithook(watch)
    os.fsync = watched_fsync
    preparation = Preparation((6, 6, 6), (28, 32, 28), mask="head")
    scans = cache_module.prepare_scans([Path(path) for path in paths], preparation, Path(cache), 1, shown=False)
    assert all(scan.image.exists() and scan.mask.exists() for scan in scans)
    os.write(say, str(done).encode())

results = []
for cache, paths, moments in json.load(sys.stdin):
    start, go = os.pipe()
    running = []
    for number, moment in enumerate(moments):
        hear, say = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(go)
            os.read(start, 1)
            fill(cache, paths[number:] + paths[:number], moment, say)
            os._exit(0)
        os.close(say)
        running.append((child, hear))
    os.close(start)
    os.close(go)
    results.append([[os.waitpid(child, 0)[1], int(os.read(hear, 9) or 0)] for child, hear in running])
print(json.dumps(results))
"""


@pytest.fixture(autouse=True)
def _files_are_trusted_however_fresh(monkeypatch):
    monkeypatch.setattr(cache_module, "RECENT", 0.0)


@pytest.fixture
def forking():
    def run(jobs):
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        command = [sys.executable, "-c", FORKING]
        done = subprocess.run(command, input=json.dumps(jobs), env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def contents(cache: Path) -> dict[str, str]:
    """Name and hash of every finished file; the list of sources is no part of what is served."""
    files = [path for path in cache.iterdir() if not path.name.startswith(".") and path.name != "sources.json"]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_cache_that_was_killed_at_any_moment_is_completed_to_what_a_clean_one_is(tmp_path, scan, forking):
    paths = [str(scan(number)) for number in range(4)]
    [[[status, events]]] = forking([[str(tmp_path / "clean"), paths, [0]]])
    assert status == 0 and events > 4 * 3 * 4  # of each scan: image, mask and record, each opened, flushed, renamed
    moments = np.random.default_rng(0).choice(np.arange(1, events + 1), 12, replace=False).tolist()
    jobs = []
    for moment in moments:
        jobs += [[str(tmp_path / f"killed-{moment}"), paths, each] for each in ([moment], [0])]
    results = forking(jobs)
    clean = contents(tmp_path / "clean")
    assert len(clean) == 12
    for moment, killed, completed in zip(moments, results[::2], results[1::2], strict=True):
        assert (killed[0][0], completed[0][0]) == (9, 0)
        assert contents(tmp_path / f"killed-{moment}") == clean
        assert len(list((tmp_path / f"killed-{moment}").glob(".writing-*"))) <= 1
    assert any(list((tmp_path / f"killed-{moment}").glob(".writing-*")) for moment in moments)


def test_eight_processes_fill_one_directory_at_once(tmp_path, scan, forking):
    paths = [str(scan(number)) for number in range(8)]
    together, alone = forking([[str(tmp_path / "shared"), paths, [0] * 8], [str(tmp_path / "alone"), paths, [0]]])
    assert [status for status, _ in [*together, *alone]] == [0] * 9
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")
    assert len(json.loads((tmp_path / "shared" / "sources.json").read_text())) == 8
    assert not list((tmp_path / "shared").glob(".writing-*"))


def test_eight_processes_of_which_some_are_killed_leave_what_the_others_need(tmp_path, scan, forking):
    paths = [str(scan(number)) for number in range(6)]
    moments = [0, 5, 0, 17, 0, 26, 0, 34]
    together = forking([[str(tmp_path / "shared"), paths, moments], [str(tmp_path / "alone"), paths, [0]]])[0]
    assert [status for status, _ in together] == [9 * (moment > 0) for moment in moments]
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_what_killed_writers_leave_is_swept_when_it_is_a_day_old(tmp_path, scan):
    cache, paths = tmp_path / "cache", [scan(0), scan(1)]
    prepare_scans(paths[:1], PREPARATION, cache, workers=1)
    for name in (".writing-old.npy", ".writing-new.npy"):
        (cache / name).write_bytes(b"half")
    (cache / ".writing-archive").mkdir()
    (cache / ".writing-archive" / "file").write_bytes(b"half")
    yesterday = time.time() - 86_401
    for name in (".writing-old.npy", ".writing-archive"):
        os.utime(cache / name, (yesterday, yesterday))
    assert len(leftovers(cache)) == 3
    prepare_scans(paths[:1], PREPARATION, cache, workers=1)
    assert len(leftovers(cache)) == 3  # nothing had to be made: a warm cache is not looked through
    prepare_scans(paths, PREPARATION, cache, workers=1)
    assert [path.name for path in leftovers(cache)] == [".writing-new.npy"]
    assert [path.name for path in sweep(cache, older_than=0)] == [".writing-new.npy"]
    assert len(contents(cache)) == 6


@pytest.fixture
def tiny_disk(tmp_path):
    """A real file system of 200 KiB, and the function that makes it larger."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk to fill can be mounted by root only")
    yield disk, lambda: subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True)
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_keeps_what_it_has_and_the_next_call_with_room_makes_the_rest(tmp_path, scan, tiny_disk):
    disk, enlarge = tiny_disk
    paths = [scan(number) for number in range(5)]
    clean = prepare_scans(paths, PREPARATION, tmp_path / "clean", workers=1)
    with pytest.raises(InputError, match=r"cache: cannot be written to: no space left on device.*TFMRI_CACHE"):
        prepare_scans(paths, PREPARATION, disk / "cache", workers=1)
    there = contents(disk / "cache")
    assert 0 < len(there) < 15
    assert there.items() <= contents(tmp_path / "clean").items()
    assert not leftovers(disk / "cache")
    enlarge()
    completed = prepare_scans(paths, PREPARATION, disk / "cache", workers=1)
    assert [scan.sha256 for scan in completed] == [scan.sha256 for scan in clean]
    assert contents(disk / "cache") == contents(tmp_path / "clean")
