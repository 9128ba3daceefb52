"""The prepared scans of a cohort in one file: where a quota counts files, and for jobs that begin with an empty disk.

A tar, not packed (noise does not shrink). Its first member is

    manifest.json   {"version", "files": {name: SHA-256}, "sources": {path: [bytes, ns, ns, SHA-256]}}

and then come the files of a cache under their own names, each record after its arrays. `sources` lets the cache that it
is unpacked into know the scans' files by their sizes and times, so that no job reads them again.
"""

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfmri.errors import InputError, Problem
from tfmri.files import whole_path
from tfmri.images.cache import CachedScan, known_sources, refusing_a_useless_directory, remember_sources
from tfmri.progress import progress

VERSION = 1
MANIFEST = "manifest.json"
NAMES = re.compile(r"[0-9a-f]{32}(-[0-9a-f]{8})?\.(npy|json)")  # of the files that a cache holds, and of no others
MAKE_AGAIN = "Copy it again, or make it again (tfmri prepare EXP --archive FILE)."


def write_archive(scans: Sequence[CachedScan], target: Path, shown: bool = True) -> int:
    """Writes the files of prepared `scans`, all of one cache, to `target`, whole or not at all; returns its bytes.

    Raises:
        InputError: a file of the cache is not what its record says.
    """
    cache = scans[0].image.parent
    records = {scan.path.name: scan.path.read_bytes() for scan in scans}
    arrays = {each["name"]: each["sha256"] for scan in scans for each in scan.record["arrays"].values()}
    digests = arrays | {name: hashlib.sha256(content).hexdigest() for name, content in records.items()}
    used = {source["path"] for scan in scans for source in scan.record["sources"]}
    manifest = {"version": VERSION, "files": digests, "sources": known_sources(cache, used)}
    with whole_path(target) as beside, tarfile.open(beside, "w") as tar:
        _add(tar, MANIFEST, json.dumps(manifest, indent=1).encode())
        with progress(len(digests), "archiving", "files", shown) as advance:
            for name in digests:  # arrays first
                content = records[name] if name in records else (cache / name).read_bytes()
                if hashlib.sha256(content).hexdigest() != digests[name]:
                    found = "it is not what its record says: it was damaged"
                    raise InputError(
                        Problem(str(cache / name), found, "", "Delete it, and run the same command again.")
                    )
                _add(tar, name, content)
                advance()
    return target.stat().st_size


def unpack_archive(archive: Path, cache: Path, shown: bool = True) -> int:
    """Puts all that `archive` holds into `cache`, or nothing of it; returns the number of scans.

    Everything is unpacked beside its place and compared with its checksum before anything is moved there.

    Raises:
        InputError: no such file, no archive of prepared scans, cut short, a checksum that differs, no room.
    """
    with refusing_a_useless_directory(cache):
        cache.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=cache, prefix=".writing-", suffix="-archive"))
    try:
        with _refusing_a_useless_archive(archive), tarfile.open(archive, "r:") as tar:
            manifest = _unpack(tar, archive, beside, shown)
        with refusing_a_useless_directory(cache):
            for name in manifest["files"]:  # arrays first, so that a record never stands there without them
                (beside / name).replace(cache / name)
            remember_sources(cache, manifest["sources"])
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sum(name.endswith(".json") for name in manifest["files"])


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _unpack(tar: tarfile.TarFile, archive: Path, folder: Path, shown: bool) -> dict[str, Any]:
    """Puts the files of `tar` into `folder`, each verified; returns the manifest."""
    first = tar.next()
    if first is None or first.name != MANIFEST:
        raise _refusal(archive, "no archive of prepared scans")
    manifest = json.loads(_content(tar, first))
    if manifest["version"] != VERSION:
        raise _refusal(archive, f"an archive of version {manifest['version']}", f"version {VERSION}")
    missing = dict(manifest["files"])
    with progress(len(missing), "unpacking", "files", shown) as advance:
        while member := tar.next():
            if not member.isfile() or not NAMES.fullmatch(member.name) or member.name not in missing:
                raise _refusal(archive, f"it holds '{member.name}', of which its manifest does not tell")
            content = _content(tar, member)
            if hashlib.sha256(content).hexdigest() != missing.pop(member.name):
                raise _refusal(archive, f"damaged: the checksum of {member.name} differs")
            with refusing_a_useless_directory(folder.parent), (folder / member.name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            advance()
    if missing:
        raise _refusal(archive, f"cut short: {len(missing)} of {len(manifest['files'])} files are missing")
    return manifest


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member)
    return stream.read() if stream else b""


@contextmanager
def _refusing_a_useless_archive(archive: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise _refusal(archive, "there is no such file", "an archive of prepared scans", "Check the path.") from error
    except (tarfile.TarError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _refusal(archive, f"no archive of prepared scans, or a damaged one ({error})") from error


def _refusal(archive: Path, found: str, expected: str = "", advice: str = MAKE_AGAIN) -> InputError:
    return InputError(Problem(str(archive), found, expected, advice))
