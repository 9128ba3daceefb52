"""What a cache holds, and how what nobody needs leaves it. Only files that are named as its own are touched."""

import json
import os
import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfmri.images.archive import NAMES
from tfmri.images.cache import leftovers

HOUR = 3600.0  # seconds: what a living writer has begun is younger


@dataclass(frozen=True)
class Entry:
    """One prepared scan: its key, its record, and its files with their sizes in bytes."""

    key: str
    record: dict[str, Any]
    files: dict[str, int]


@dataclass(frozen=True)
class Holdings:
    """What lies in a cache.

    Args:
        scans: whole ones.
        leftovers: files with their sizes that were begun and not ended, and arrays without a record that tells of them:
            their writer was killed, or is at work.
    """

    scans: tuple[Entry, ...]
    leftovers: dict[str, int]

    @property
    def bytes(self) -> int:
        """Of all of it."""
        return sum(sum(files.values()) for files in (*(scan.files for scan in self.scans), self.leftovers))


def holdings(cache: Path, older_than: float = 0.0) -> Holdings:
    """Looks through `cache`; at leftovers only if they are older than so many seconds."""
    now = time.time()
    found: defaultdict[str, dict[str, os.stat_result]] = defaultdict(dict)
    if cache.is_dir():
        for entry in os.scandir(cache):
            if NAMES.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # somebody else prunes
                    found[re.split("[-.]", entry.name)[0]][entry.name] = entry.stat()
    scans, left = [], {path.name: _size(path) for path in leftovers(cache, older_than)}
    for key, files in found.items():
        try:
            record = json.loads((cache / f"{key}.json").read_bytes())
            told = {f"{key}.json", *(array["name"] for array in record["arrays"].values())}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            record, told = {}, set()
        if told and told <= files.keys():
            scans.append(Entry(key, record, {name: files[name].st_size for name in told}))
        else:
            told = set()
        others = {name: status for name, status in files.items() if name not in told}
        left |= {name: each.st_size for name, each in others.items() if now - each.st_mtime >= older_than}
    return Holdings(tuple(scans), left)


def unneeded(cache: Path, needed: Callable[[Entry], bool]) -> Holdings:
    """The part of `cache` that can go: scans that are not `needed`, and leftovers older than an hour."""
    everything = holdings(cache, HOUR)
    return replace(everything, scans=tuple(scan for scan in everything.scans if not needed(scan)))


def remove(cache: Path, what: Holdings) -> None:
    """Removes it, each scan's record first, so that what is left half-way is no scan any more."""
    names = [name for scan in what.scans for name in sorted(scan.files, key=lambda name: name.endswith(".npy"))]
    for name in [*names, *what.leftovers]:
        with suppress(FileNotFoundError):
            path = cache / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _size(path: Path) -> int:
    with suppress(FileNotFoundError):
        return sum(each.stat().st_size for each in path.iterdir()) if path.is_dir() else path.stat().st_size
    return 0
