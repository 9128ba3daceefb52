import os
import time

import pytest

from tfmri.images import cache as cache_module
from tfmri.images.cache import prepare_scans
from tfmri.images.prepare import Preparation
from tfmri.images.upkeep import HOUR, holdings, remove, unneeded

PREPARATION = Preparation((6, 6, 6), (28, 32, 28), mask="head")
OTHER = Preparation((6, 6, 6), (28, 32, 28), "mean")


@pytest.fixture
def cache(tmp_path, scan, monkeypatch):
    """Two scans with one preparation, one with another; an orphan and a leftover, old and new; a person's own file."""
    monkeypatch.setattr(cache_module, "RECENT", 0.0)
    cache, paths = tmp_path / "cache", [scan(0), scan(1)]
    scans = prepare_scans(paths, PREPARATION, cache, workers=1, shown=False)
    scans += prepare_scans(paths[:1], OTHER, cache, workers=1, shown=False)
    for name in (".writing-a.npy", ".writing-b.npy", "0" * 32 + "-11111111.npy", "0" * 32 + "-22222222.npy", "my.npy"):
        (cache / name).write_bytes(bytes(1000))
    for name in (".writing-a.npy", "0" * 32 + "-11111111.npy"):
        os.utime(cache / name, (time.time() - HOUR - 1,) * 2)
    return cache, scans, paths


def names_in(cache):
    return {path.name for path in cache.iterdir()}


def test_what_a_cache_holds_adds_up_to_what_lies_there(cache):
    cache, scans, _ = cache
    held = holdings(cache)
    assert {scan.key for scan in held.scans} == {scan.path.stem for scan in scans}
    ours = [path for path in cache.iterdir() if path.name not in ("my.npy", "sources.json")]
    assert held.bytes == sum(path.stat().st_size for path in ours)
    assert len(held.leftovers) == 4
    assert holdings(cache.parent / "nowhere").bytes == 0


def test_only_what_nobody_needs_goes_and_what_may_be_at_work_stays(cache):
    cache, scans, paths = cache
    before, needed = names_in(cache), {scans[0].path.stem}
    going = unneeded(cache, lambda entry: entry.key in needed)
    assert {scan.key for scan in going.scans} == {scan.path.stem for scan in scans[1:]}
    assert names_in(cache) == before
    remove(cache, going)
    kept = {scans[0].path.name, scans[0].image.name, scans[0].mask.name}
    young = {".writing-b.npy", "0" * 32 + "-22222222.npy"}
    assert names_in(cache) == {*kept, *young, "my.npy", "sources.json"}
    assert prepare_scans(paths, PREPARATION, cache, workers=1, shown=False) == scans[:2]


def test_a_record_without_its_array_is_no_scan_and_goes_when_it_is_old(cache):
    cache, scans, _ = cache
    scans[2].image.unlink()
    assert len(holdings(cache).scans) == 2
    os.utime(scans[2].path, (0, 0))
    remove(cache, unneeded(cache, lambda entry: True))
    assert not scans[2].path.exists() and scans[0].path.exists()
