"""Prepared scans copied to a disk of the machine that reads them again and again, such as a cluster node's own."""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tfmri.images.cache import CachedScan
from tfmri.machine import processors

ROOM = 0.9  # share of what is free on the disk that may be taken


def scratch_folder() -> Path | None:
    """`TFMRI_SCRATCH`, the folder that a job script makes for its job and removes; None outside of jobs."""
    return Path(given) if (given := os.environ.get("TFMRI_SCRATCH")) else None


def stage(cached: Sequence[CachedScan], rows: Sequence[int], folder: Path, most: float) -> list[CachedScan]:
    """`cached` with the images and masks of `rows` copied into `folder`; as it is where they do not fit.

    Nothing depends on the copies: where the disk fills up meanwhile, the scans are read from where they lie.

    Args:
        cached: n prepared scans.
        rows: of those that are read often.
        folder: for nothing else; made if need be.
        most: bytes that may be taken.
    """
    files = {path: folder / path.name for row in rows for path in (cached[row].image, cached[row].mask) if path}
    needed = sum(path.stat().st_size for path in files)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = ROOM * shutil.disk_usage(folder).free
        if needed > min(most, free):
            print(f"{_size(needed)} of prepared scans do not fit into the {_size(min(most, free))} of {folder}")
            return list(cached)
        with ThreadPoolExecutor(2 * processors()) as pool:
            list(pool.map(_copy, files, files.values()))
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        print(f"prepared scans could not be copied to {folder} ({error.strerror}): they are read from where they lie")
        return list(cached)
    print(f"{len(files)} files of {len(rows)} prepared scans, {_size(needed)}, copied to {folder}", flush=True)
    staged = list(cached)
    for row in rows:
        mask = cached[row].mask
        staged[row] = replace(cached[row], image=files[cached[row].image], mask=mask and files[mask])
    return staged


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        beside = target.with_name(f".copying-{target.name}")
        shutil.copyfile(source, beside)
        beside.replace(target)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
