"""Scans that have their id in their name, as public cohorts publish them, in one version of several.

A cohort is often there more than once: as it was published, brain-extracted, in a template's space. What stands in a
name besides the id tells which version a file is. One version is taken for all, the one that most scans have: from a
mixture, a model would learn which is which.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfmri.cohort.layouts.found import unusable
from tfmri.errors import InputError, Problem

ENDINGS = re.compile(r"\.(nii|nii\.gz|img|img\.gz)$", re.IGNORECASE)


@dataclass(frozen=True)
class NamedScan:
    """A file that has an id in its name, or else in the name of a folder that it is in.

    Args:
        path: the file, absolute.
        id: the match of the id.
        version: the file's name without ending, `*` for the id.
    """

    path: Path
    id: re.Match[str]
    version: str

    @property
    def is_nifti(self) -> bool:
        """Whether it is named like a NIfTI file; Analyze (.img with .hdr) is not."""
        return self.path.name.lower().endswith((".nii", ".nii.gz"))


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As os.walk, in alphabetic order, into linked folders too but nowhere twice, and not into hidden ones.

    Names taken out of the list of folders are not descended into.
    """
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        if (place := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(folder), folders, sorted(name for name in files if not name.startswith("."))


def find_named(root: Path, pattern: re.Pattern[str], varying: str = r"(?!)") -> list[NamedScan]:
    """The images below `root` whose own name, or that of a folder they are in, holds an id.

    Args:
        root: absolute.
        pattern: of an id.
        varying: a pattern of what differs between the names of one version, such as the number of a run.
    """
    found = []
    for folder, _, files in walk(root):
        parts = reversed((root.name, *folder.relative_to(root).parts))
        above = next((id for part in parts if (id := pattern.search(part))), None)
        for name in files:
            if not (ending := ENDINGS.search(name)):
                continue
            stem = name[: ending.start()]
            if id := pattern.search(stem) or above:
                version = re.sub(varying, "*", pattern.sub("*", stem))
                found.append(NamedScan(folder / name, id, version))
    return found


def take_version(
    scans: Sequence[NamedScan], preferred: Sequence[str], root: Path
) -> tuple[list[NamedScan], dict[Path, str]]:
    """One scan for each id, all of one version; and why the others are not taken.

    Args:
        scans: NIfTI files, at least one.
        preferred: versions, best first, for where several are there for equally many ids.
        root: for the message.

    Returns:
        the scans in the order of their ids, and the reason for each of the other files' paths. Of several files of
        one id in the version, the first one by name is taken.

    Raises:
        InputError: it cannot be told which version is meant, or files of one name stand in several folders.
    """
    ids = {version: len({s.id[0] for s in scans if s.version == version}) for version in {s.version for s in scans}}
    most = [version for version, count in ids.items() if count == max(ids.values())]
    best = [version for version in preferred if version in most] or most
    if len(best) > 1 and best[0] not in preferred:
        found = f"there are several images of each scan: {_listed(sorted(best))}"
        advice = "Give a folder with one of them only, or move the others elsewhere."
        raise InputError(Problem(str(root), found, "one image for each scan", advice))
    taken: dict[str, NamedScan] = {}
    left_out, twice = {}, []
    for scan in sorted(scans, key=lambda scan: (scan.path.name.removesuffix(".gz"), scan.path.suffix != ".gz")):
        if scan.version != best[0] or (reason := unusable(scan.path)):
            left_out[scan.path] = reason if scan.version == best[0] else f"repeated: another version, {scan.version}"
            continue
        first = taken.setdefault(scan.id[0], scan)
        if first is scan:
            continue
        same_name = first.path.name.removesuffix(".gz") == scan.path.name.removesuffix(".gz")
        if same_name and first.path.parent != scan.path.parent:
            twice.append((first.path.parent, scan.path.parent))
        left_out[scan.path] = f"repeated: {'the same again' if same_name else 'another run of the session'}"
    if twice:
        places = list(dict.fromkeys(str(folder) for pair in twice for folder in pair))
        found = f"{len(twice)} scans are there in several folders: {_listed(places)}"
        raise InputError(Problem(str(root), found, "each once", "Give the one folder that you mean."))
    for path, version in ((scan.path, scan.version) for scan in scans if scan.id[0] not in taken):
        if version != best[0]:
            left_out[path] = f"no image: no {best[0]} of it, as there is of the others"
    return sorted(taken.values(), key=lambda scan: scan.id[0]), left_out


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
