"""Prepared scans on disk: made once, in parallel, found again by what they were made from.

    cache/
      <key>.json            the record of one prepared scan: sources, settings, affine, background, what was done, and
                            names, sizes and hashes of its arrays; written last: what has a record is whole
      <key>-<hash>.npy      the image, C-ordered float16 (x, y, z, channel)
      <key>-<hash>.npy      its mask, C-ordered uint8 (x, y, z), where there is one
      sources.json          size, times and SHA-256 of every source file seen, so that it is hashed once

The key is a hash of the sources' *content*, the settings and `STEPS_VERSION`: nothing outlives a change of any of them.
An array's name holds a hash of its own bytes: where two jobs make the same scan at once, on machines whose last bits
differ perhaps, each record leads to the very array it tells of. Files land whole, so that several jobs may fill one
directory, on a network disk too; at worst they do some work twice.

A script that calls `prepare_scans` with more than one worker needs ``if __name__ == "__main__":`` (`tfmri.processes`).

Nothing here imports nibabel, SciPy or SimpleITK before a scan has to be prepared.
"""

import hashlib
import io
import json
import os
import shutil
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfmri import archives, files
from tfmri.errors import InputError, Problem
from tfmri.images import prepare
from tfmri.images.mask import check_command
from tfmri.images.prepare import MASKS, Preparation, prepare_files
from tfmri.images.read import read_file
from tfmri.machine import processors
from tfmri.processes import in_processes
from tfmri.progress import progress

SOURCES = "sources.json"
SAVE_EVERY = 30.0  # seconds between two writings of it
WRITING = ".writing-*"  # what a writer has begun, and leaves behind when it is killed
DAY = 24 * 3600.0  # seconds: nothing that is being written is as old
RECENT = 2.0  # seconds: a file changed within them may change again without its times telling, on the coarsest clocks
Identity = tuple[int, int, int]  # bytes, ns of change of content, and of anything: while it stays, nothing is hashed
Sources = dict[str, tuple[Identity, str]]  # path -> identity, SHA-256


@dataclass(frozen=True)
class ScanFiles:
    """The files of one scan.

    Args:
        images: one for each channel, the first leads.
        mask: where masks are given.
    """

    images: tuple[Path, ...]
    mask: Path | None = None

    @property
    def paths(self) -> list[str]:
        """All of them, absolute."""
        given = self.images if self.mask is None else (*self.images, self.mask)
        return [os.path.abspath(path) for path in given]  # noqa: PTH100 (Path.absolute keeps '..')


@dataclass(frozen=True)
class CachedScan:
    """One prepared scan on disk.

    Args:
        image: the `.npy` file, whose last ``2 * prod(shape)`` bytes are the voxels.
        mask: the `.npy` file of the mask, whose last ``prod(shape)`` bytes are its voxels; None where there is none.
        record: all that its `.json` says.
    """

    image: Path
    mask: Path | None
    record: dict[str, Any]

    @property
    def path(self) -> Path:
        """The `.json` file of the record."""
        return self.image.with_name(f"{self.image.name.partition('-')[0]}.json")

    @property
    def background(self) -> tuple[float, ...]:
        """The normalised intensity in each channel with which padding pads."""
        return tuple(self.record["background"])

    @property
    def sha256(self) -> str:
        """Of the image's file."""
        return self.record["arrays"]["image"]["sha256"]

    @property
    def source_sha256(self) -> str:
        """Of the files that were prepared."""
        return self.record["source_sha256"]

    @property
    def landmarks(self) -> np.ndarray:
        """(channel, k) float32, by which a fit moves the image onto its standard; only of 'histogram'."""
        channels = self.record["done"]["channels"]
        return np.array([channel["normalise"]["landmarks"] for channel in channels], np.float32)


def prepare_scans(
    scans: Sequence[Path | ScanFiles],
    preparation: Preparation,
    cache: Path,
    workers: int | None = None,
    shown: bool = True,
) -> list[CachedScan]:
    """The prepared form of every scan in `scans`, in their order; what `cache` lacks is made first.

    Ctrl-C leaves once the scans in hand are prepared; the same call goes on where it stopped.

    Args:
        scans: their files; a path alone stands for a scan of one channel.
        preparation: the settings.
        cache: the directory, made if need be.
        workers: processes; by default as many as this job has processors. 1 stays in this process.
        shown: whether to show, on standard error, how far it is.

    Raises:
        InputError: with one problem for every scan that cannot be used, after all others were prepared; or at once,
            where the directory cannot be written to or a process dies.
    """
    cache = Path(cache).absolute()
    sources = _read_sources(cache)
    wanted = [_files_of(scan) for scan in scans]
    found: dict[ScanFiles, CachedScan] = {}
    for scan in dict.fromkeys(wanted):
        cached = _known(scan, sources, preparation, cache)
        if cached:
            found[scan] = cached
    missing = [scan for scan in dict.fromkeys(wanted) if scan not in found]
    if missing:
        problems = _fill(missing, preparation, cache, workers or processors(), shown, sources, found)
        if problems:
            raise InputError(*problems)
    return [found[scan] for scan in wanted]


def find_scans(
    scans: Sequence[Path | ScanFiles], preparation: Preparation, cache: Path, hashing: bool = True, shown: bool = True
) -> list[CachedScan | None]:
    """What `cache` holds of `scans`, in their order; None for those it lacks, or whose files cannot be read.

    Nothing is prepared. Files that the cache has not seen before are hashed, if `hashing`; else it holds none of them.
    """
    cache = Path(cache).absolute()
    sources = _read_sources(cache)
    wanted = [_files_of(scan) for scan in scans]
    if not hashing:
        return [_known(scan, sources, preparation, cache) for scan in wanted]
    paths = dict.fromkeys(path for scan in wanted for path in scan.paths)
    unknown = [path for path in paths if not _known_digest(path, sources)]
    if unknown:
        with ThreadPoolExecutor(processors()) as pool, progress(len(unknown), "reading", "files", shown) as advance:
            for path, seen in zip(unknown, pool.map(_hashed, unknown), strict=True):
                advance()
                sources[path] = seen
        with suppress(OSError):  # a cache that can only be read, or is not there yet
            if cache.is_dir():
                _save_sources(cache, sources)
    digests = [[sources[path][1] for path in scan.paths] for scan in wanted]
    return [_look_up(cache, scan_key(combined(each), preparation)) if all(each) else None for each in digests]


def scan_key(source_sha256: str, preparation: Preparation) -> str:
    """The name in the cache of sources with this hash (`combined`), prepared like this by these steps."""
    settings = json.dumps([source_sha256, asdict(preparation), prepare.STEPS_VERSION], sort_keys=True)
    return hashlib.sha256(settings.encode()).hexdigest()[:32]


def combined(digests: Sequence[str]) -> str:
    """One SHA-256 for those of a scan's files: of one file, its own."""
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def known_sources(cache: Path, paths: Collection[str]) -> dict[str, list[Any]]:
    """What `cache` knows of these files, for JSON: size, times, SHA-256."""
    return {path: [*identity, digest] for path, (identity, digest) in _read_sources(cache).items() if path in paths}


def remember_sources(cache: Path, known: Mapping[str, Sequence[Any]]) -> None:
    """Adds what another cache knew of its files (`known_sources`)."""
    _save_sources(cache, {path: ((size, time, other), digest) for path, (size, time, other, digest) in known.items()})


def sweep(cache: Path, older_than: float = DAY) -> list[Path]:
    """Removes what killed writers have left in `cache`, if it is older than so many seconds; says what that was.

    A writer keeps its file for seconds, so that none that lives loses it.
    """
    old = leftovers(cache, older_than)
    for path in old:
        with suppress(OSError):  # somebody else was quicker
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return old


def leftovers(cache: Path, older_than: float = 0.0) -> list[Path]:
    """What was begun in `cache` more than so many seconds ago, and not ended."""
    found = []
    for path in cache.glob(WRITING):
        with suppress(OSError):  # ended meanwhile
            if time.time() - path.stat().st_mtime >= older_than:
                found.append(path)
    return found


@contextmanager
def refusing_a_useless_directory(cache: Path) -> Iterator[None]:
    """Makes an error of the disk a problem of the person's: full, over quota, read-only, not a directory."""
    try:
        yield
    except OSError as error:
        found = f"cannot be written to: {(error.strerror or str(error)).lower()}"
        advice = "Free some space or name another directory (TFMRI_CACHE). What is there stays, the rest follows."
        raise InputError(Problem(str(cache), found, "room for the prepared scans", advice)) from error


def _files_of(scan: Path | ScanFiles) -> ScanFiles:
    scan = scan if isinstance(scan, ScanFiles) else ScanFiles((scan,))
    *images, last = [Path(path) for path in scan.paths]
    return ScanFiles((*images, last)) if scan.mask is None else ScanFiles(tuple(images), last)


def _known(scan: ScanFiles, sources: Sources, preparation: Preparation, cache: Path) -> CachedScan | None:
    digests = [_known_digest(path, sources) for path in scan.paths]
    return _look_up(cache, scan_key(combined(digests), preparation)) if all(digests) else None


@dataclass(frozen=True)
class _Outcome:
    """What became of one scan: the scan, and its sources' identities and hashes; or the problems it has."""

    scan: CachedScan | None = None
    sources: Sources | None = None
    problems: tuple[Problem, ...] = ()


def _fill(
    missing: list[ScanFiles],
    preparation: Preparation,
    cache: Path,
    workers: int,
    shown: bool,
    sources: Sources,
    found: dict[ScanFiles, CachedScan],
) -> list[Problem]:
    """Prepares the scans in `missing`, adds them to `found` and `sources`; returns the problems, in order of scans."""
    if preparation.mask not in MASKS:
        check_command(preparation.mask)  # once, before every scan is read for it
    problems: dict[ScanFiles, tuple[Problem, ...]] = {}
    saved = time.monotonic()
    with refusing_a_useless_directory(cache):
        cache.mkdir(parents=True, exist_ok=True)
    sweep(cache)
    try:
        calls = [(scan, preparation, cache) for scan in missing]
        outcomes = in_processes(_prepare_scan, calls, workers, "preparing scans", goes_on=True)
        with closing(outcomes), progress(len(missing), "preparing", "scans", shown) as advance:
            for position, outcome in outcomes:
                scan = missing[position]
                advance()
                if outcome.scan and outcome.sources is not None:
                    found[scan] = outcome.scan
                    sources.update(outcome.sources)
                else:
                    problems[scan] = outcome.problems
                if time.monotonic() - saved > SAVE_EVERY:
                    _save_sources(cache, sources)
                    saved = time.monotonic()
    finally:
        with suppress(OSError):  # without it the sources are hashed again, no more
            _save_sources(cache, sources)
    return [problem for scan in missing for problem in problems.get(scan, ())]


def _prepare_scan(scan: ScanFiles, preparation: Preparation, cache: Path) -> _Outcome:
    """Prepares one scan and puts it in the cache, if it is not there."""
    try:
        before = {path: _identity(path) for path in scan.paths}
        contents = {path: read_file(Path(path)) for path in scan.paths}
        digests = {path: hashlib.sha256(content).hexdigest() for path, content in contents.items()}
        source = combined(list(digests.values()))
        key = scan_key(source, preparation)
        cached = _look_up(cache, key)  # the same content under another name, or put there by another job
        if cached is None:
            images = [Path(path) for path in scan.paths[: len(scan.images)]]
            prepared = prepare_files(images, scan.mask, preparation, read=lambda path: contents[str(path)])
        if changed := [path for path, identity in before.items() if _identity(path) != identity]:
            advice = "Wait until it is written, and run the same command again."
            return _Outcome(problems=(Problem(changed[0], "this file changed while it was read", advice=advice),))
    except InputError as error:
        return _Outcome(problems=error.problems)
    except MemoryError:
        problem = Problem(scan.paths[0], "too large for the memory", advice="Give the job more memory.")
        return _Outcome(problems=(problem,))
    if cached is None:
        known = [{"path": path, "size": len(contents[path]), "sha256": digests[path]} for path in scan.paths]
        with refusing_a_useless_directory(cache):
            cached = _store(cache, key, prepared, {"sources": known, "source_sha256": source}, preparation)
    return _Outcome(cached, {path: (_trusted(before[path]), digest) for path, digest in digests.items()})


def _store(
    cache: Path, key: str, prepared: prepare.Prepared, source: dict[str, Any], preparation: Preparation
) -> CachedScan:
    arrays = {"image": prepared.image} if prepared.mask is None else {"image": prepared.image, "mask": prepared.mask}
    told = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()  # np.save to a file does not say why a write failed
        np.save(buffer, array)
        content = buffer.getvalue()
        digest = hashlib.sha256(content).hexdigest()
        told[name] = {
            "name": f"{key}-{digest[:8]}.npy",
            "bytes": len(content),
            "sha256": digest,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
        }
        files.write_bytes(cache / f"{key}-{digest[:8]}.npy", content)
    record = {
        **source,
        "preparation": asdict(preparation),
        "steps_version": prepare.STEPS_VERSION,
        "arrays": told,
        "affine": prepared.affine.tolist(),
        "background": list(prepared.background),
        "done": prepared.done,
    }
    files.write_json(cache / f"{key}.json", record)
    return _scan_of(cache, json.loads(json.dumps(record)))


def _look_up(cache: Path, key: str) -> CachedScan | None:
    """The scan under `key`, if it is there whole."""
    try:
        record = json.loads((cache / f"{key}.json").read_bytes())
        for array in record["arrays"].values():
            if (cache / array["name"]).stat().st_size != array["bytes"]:
                return None
        return _scan_of(cache, record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _scan_of(cache: Path, record: dict[str, Any]) -> CachedScan:
    arrays = {name: cache / array["name"] for name, array in record["arrays"].items()}
    return CachedScan(arrays["image"], arrays.get("mask"), record)


def _identity(path: str) -> Identity:
    try:
        status = archives.status(Path(path))
    except OSError:
        return (-1, -1, -1)  # reading it will tell why
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _trusted(identity: Identity) -> Identity:
    """`identity`, or one that no file has where the file is too fresh for its times to tell of another change."""
    return identity if time.time() - max(identity[1:]) / 1e9 >= RECENT else (-1, -1, -1)


def _hashed(path: str) -> tuple[Identity, str]:
    """Identity and SHA-256 of a file; '' for one that cannot be read."""
    identity = _identity(path)
    try:
        return _trusted(identity), hashlib.sha256(read_file(Path(path))).hexdigest()
    except InputError:
        return (-1, -1, -1), ""


def _known_digest(path: str, sources: Sources) -> str:
    """SHA-256 of a file that has not changed since it was hashed, else ''."""
    identity, digest = sources.get(path, ((-1, -1, -1), ""))
    return digest if identity[0] >= 0 and identity == _identity(path) else ""


def _read_sources(cache: Path) -> Sources:
    try:
        stored = json.loads((cache / SOURCES).read_bytes())
        return {path: ((size, changed, touched), digest) for path, (size, changed, touched, digest) in stored.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _save_sources(cache: Path, sources: Sources) -> None:
    """Writes `sources`, and what other jobs have written meanwhile."""
    known = {path: source for path, source in sources.items() if source[0][0] >= 0}
    merged = _read_sources(cache) | known
    files.write_json(cache / SOURCES, {path: [*identity, digest] for path, (identity, digest) in merged.items()})
