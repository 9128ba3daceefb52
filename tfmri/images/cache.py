"""Prepared scans on disk: made once, in parallel, found again by what they were made from.

    cache/
      <key>.npy       one prepared scan, C-ordered float16 (x, y, z, 1)
      <key>.json      its record: source, settings, affine, background, what was done; written last
      sources.json    size, time of change and SHA-256 of every source file seen, so that it is hashed once

The key is a hash of the source's *content*, the settings and `STEPS_VERSION`: nothing outlives a change of any of them.
Files land whole, so that several jobs may fill one directory, on a network disk too; at worst they do some work twice.
Workers are fresh processes ("spawn": the caller may hold TensorFlow's threads), so that a script which calls
`prepare_scans` with more than one worker needs the usual ``if __name__ == "__main__":``.

Nothing here imports nibabel, SciPy or SimpleITK before a scan has to be prepared.
"""

import hashlib
import io
import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfmri import files
from tfmri.errors import InputError, Problem
from tfmri.images import prepare
from tfmri.images.prepare import Preparation
from tfmri.images.read import parse_volume, read_file
from tfmri.machine import processors
from tfmri.progress import progress

SOURCES = "sources.json"
SAVE_EVERY = 30.0  # seconds between two writings of it
Identity = tuple[int, int]  # size in bytes and time of change in ns: a file whose identity stays is not hashed again


@dataclass(frozen=True)
class CachedScan:
    """One prepared scan on disk.

    Args:
        image: the `.npy` file, whose last ``2 * prod(shape)`` bytes are the voxels.
        background: the normalised intensity with which padding pads.
        sha256: of the `.npy` file.
        record: all that its `.json` says.
    """

    image: Path
    background: float
    sha256: str
    record: dict[str, Any]

    @property
    def source_sha256(self) -> str:
        """Of the file that was prepared."""
        return self.record["source"]["sha256"]


def prepare_scans(
    paths: Sequence[Path], preparation: Preparation, cache: Path, workers: int | None = None, shown: bool = True
) -> list[CachedScan]:
    """The prepared form of every scan in `paths`, in their order; what `cache` lacks is made first.

    An interrupted call loses only the scans it was working on: call it again.

    Args:
        paths: NIfTI files.
        preparation: spacing, shape, normalisation.
        cache: the directory, made if need be.
        workers: processes; by default as many as this job has processors. 1 stays in this process.
        shown: whether to show, on standard error, how far it is.

    Raises:
        InputError: with one problem for every scan that cannot be used, after all others were prepared; or at once,
            where the directory cannot be written to or a process dies.
    """
    cache = Path(cache).absolute()
    sources = _read_sources(cache)
    wanted = [os.path.abspath(path) for path in paths]  # noqa: PTH100 (Path.absolute keeps '..')
    found: dict[str, CachedScan] = {}
    for path in dict.fromkeys(wanted):
        digest = _known_digest(path, sources)
        scan = _look_up(cache, scan_key(digest, preparation)) if digest else None
        if scan:
            found[path] = scan
    missing = [path for path in dict.fromkeys(wanted) if path not in found]
    if missing:
        problems = _fill(missing, preparation, cache, workers or processors(), shown, sources, found)
        if problems:
            raise InputError(*problems)
    return [found[path] for path in wanted]


def scan_key(sha256: str, preparation: Preparation) -> str:
    """The name in the cache of a source file with this hash, prepared like this by these steps."""
    settings = json.dumps([sha256, asdict(preparation), prepare.STEPS_VERSION], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class _Outcome:
    """What became of one scan: the scan and its source's identity and hash, or the problems it has."""

    scan: CachedScan | None = None
    source: tuple[Identity, str] | None = None
    problems: tuple[Problem, ...] = ()


def _fill(
    missing: list[str],
    preparation: Preparation,
    cache: Path,
    workers: int,
    shown: bool,
    sources: dict[str, tuple[Identity, str]],
    found: dict[str, CachedScan],
) -> list[Problem]:
    """Prepares the scans in `missing`, adds them to `found` and `sources`; returns the problems, in order of paths."""
    problems: dict[str, tuple[Problem, ...]] = {}
    saved = time.monotonic()
    with _refusing_a_useless_directory(cache):
        cache.mkdir(parents=True, exist_ok=True)
    try:
        outcomes = _outcomes(missing, preparation, cache, min(workers, len(missing)))
        with closing(outcomes), progress(len(missing), "preparing", "scans", shown) as advance:
            for path, outcome in outcomes:
                advance()
                if outcome.scan and outcome.source:
                    found[path], sources[path] = outcome.scan, outcome.source
                else:
                    problems[path] = outcome.problems
                if time.monotonic() - saved > SAVE_EVERY:
                    _save_sources(cache, sources)
                    saved = time.monotonic()
    finally:
        with suppress(OSError):  # without it the sources are hashed again, no more
            _save_sources(cache, sources)
    return [problem for path in missing for problem in problems.get(path, ())]


def _outcomes(paths: list[str], preparation: Preparation, cache: Path, workers: int) -> Generator[tuple[str, _Outcome]]:
    if workers == 1:
        for path in paths:
            yield path, _prepare_scan(path, preparation, cache)
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    try:
        running = {pool.submit(_prepare_scan, path, preparation, cache): path for path in paths}
        for future in as_completed(running):
            yield running[future], future.result()
    except BrokenProcessPool as error:
        advice = f"Most likely the memory ran out: give the job more, or fewer workers than {workers}."
        raise InputError(Problem("preparing scans", "a worker process died", advice=advice)) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends the pool in order
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """Ends this worker when its parent is killed; it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _prepare_scan(path: str, preparation: Preparation, cache: Path) -> _Outcome:
    """Prepares one scan and puts it in the cache, if it is not there."""
    try:
        identity = _identity(path)
        content = read_file(Path(path))
        digest = hashlib.sha256(content).hexdigest()
        key = scan_key(digest, preparation)
        scan = _look_up(cache, key)  # the same content under another name, or put there by another job
        if scan is None:
            prepared = prepare.prepare(parse_volume(content, Path(path)), preparation)
    except InputError as error:
        return _Outcome(problems=error.problems)
    except MemoryError:
        return _Outcome(problems=(Problem(path, "too large for the memory", advice="Give the job more memory."),))
    if scan is None:
        source = {"path": path, "size": len(content), "sha256": digest}
        with _refusing_a_useless_directory(cache):
            scan = _store(cache, key, prepared, source, preparation)
    return _Outcome(scan, (identity, digest))


def _store(
    cache: Path, key: str, prepared: prepare.Prepared, source: dict[str, Any], preparation: Preparation
) -> CachedScan:
    buffer = io.BytesIO()  # np.save to a file does not say why a write failed
    np.save(buffer, prepared.image)
    content = buffer.getvalue()
    record = {
        "source": source,
        "preparation": asdict(preparation),
        "steps_version": prepare.STEPS_VERSION,
        "shape": list(prepared.image.shape),
        "dtype": str(prepared.image.dtype),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "affine": prepared.affine.tolist(),
        "background": prepared.background,
        "done": prepared.done,
    }
    image = cache / f"{key}.npy"
    files.write_bytes(image, content)
    files.write_json(cache / f"{key}.json", record)
    return CachedScan(image, prepared.background, record["sha256"], json.loads(json.dumps(record)))


def _look_up(cache: Path, key: str) -> CachedScan | None:
    """The scan under `key`, if it is there whole."""
    image = cache / f"{key}.npy"
    try:
        record = json.loads((cache / f"{key}.json").read_bytes())
        if image.stat().st_size != record["bytes"]:
            return None
        return CachedScan(image, record["background"], record["sha256"], record)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _identity(path: str) -> Identity:
    try:
        status = os.stat(path)  # noqa: PTH116 (a Path for each of thousands of files costs more than the call)
    except OSError:
        return (-1, -1)  # reading it will tell why
    return status.st_size, status.st_mtime_ns


def _known_digest(path: str, sources: dict[str, tuple[Identity, str]]) -> str | None:
    identity, digest = sources.get(path, (None, None))
    return digest if identity == _identity(path) else None


def _read_sources(cache: Path) -> dict[str, tuple[Identity, str]]:
    try:
        stored = json.loads((cache / SOURCES).read_bytes())
        return {path: ((size, changed), digest) for path, (size, changed, digest) in stored.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _save_sources(cache: Path, sources: dict[str, tuple[Identity, str]]) -> None:
    """Writes `sources`, and what other jobs have written meanwhile."""
    merged = _read_sources(cache) | sources
    files.write_json(cache / SOURCES, {path: [*identity, digest] for path, (identity, digest) in merged.items()})


@contextmanager
def _refusing_a_useless_directory(cache: Path) -> Iterator[None]:
    """Makes an error of the disk a problem of the person's: full, over quota, read-only, not a directory."""
    try:
        yield
    except OSError as error:
        found = f"cannot be written to: {(error.strerror or str(error)).lower()}"
        advice = "Free some space or name another directory (TFMRI_CACHE). What is there stays, the rest follows."
        raise InputError(Problem(str(cache), found, "room for the prepared scans", advice)) from error
