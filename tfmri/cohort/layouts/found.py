"""The scans in a folder: which files are images, whose they are, and which is taken where there are several of one.

Nothing is lost on the way: an image that is not taken stays among the scans, with the reason.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from tfmri.cohort.layouts.names import is_image, read_name, session_of_folder
from tfmri.errors import InputError, Problem

FOREIGN = {  # endings of what is no NIfTI -> what turns it into one
    (".dcm", ".ima"): "DICOM files; convert them with dcm2niix",
    (".img", ".hdr"): "Analyze images; convert them with nib-convert, which comes with nibabel",
    (".mgz", ".mgh"): "FreeSurfer images; convert them with mri_convert",
    (".zip", ".tar", ".tgz", ".tar.gz"): "archives; unpack them first",
}
IMAGE_ENDINGS = re.compile(r"\.(nii|nii\.gz|img|img\.gz)$", re.IGNORECASE)


@dataclass(frozen=True)
class Scan:
    """One image file.

    Args:
        path: the file, absolute; it may be in an archive.
        subject: as its folder or name spells it.
        session: likewise, '' where there is none.
        parts: what else its name tells, such as run or site; columns of labels.csv.
        known: what is known of it besides a table of people: of its session, or its class; columns of labels.csv.
        version: the file's name without ending and ids, which images that were worked on in one way share.
        reason: why it is dropped, '' where it is not; the same words for the same reason, beginning with its kind ('no
            image: ...', 'no label: ...', 'repeated: ...').
        detail: what there is to add about this one.
    """

    path: Path
    subject: str
    session: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    reason: str = ""
    detail: str = ""


def open_root(root: Path, expected: str) -> Path:
    """The folder, absolute.

    Raises:
        InputError: there is none.
    """
    root = Path(root).expanduser().absolute()
    if not root.is_dir():
        found = "this is a file" if root.exists() else "there is no such folder"
        raise InputError(Problem(str(root), found, expected, "Check the path."))
    return root


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As os.walk, in alphabetic order, into linked folders too but nowhere twice, without what is hidden.

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


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_below(folder: Path) -> list[Path]:
    """All images in a folder and those below it, by name."""
    return sorted(above / name for above, _, files in walk(folder) for name in files if is_image(Path(name)))


def unusable(path: Path) -> str:
    """Why a file cannot be the image of a scan, '' if it may be."""
    if not path.exists():
        return "no image: a link to a file that is not there (with datalad: datalad get)"
    if not path.is_file():
        return "no image: a folder"
    if path.stat().st_size == 0:
        return "no image: an empty file"
    if path.suffix.lower() == ".nii" and path.with_name(path.name + ".gz").is_file():
        return "repeated: the same scan is there as .nii.gz"
    return ""


def read_scan(path: Path, folder: Path, subject: str, known: Mapping[str, str] | None = None) -> Scan:
    """A scan of a subject; its session is in the name of a folder between `folder` and it, or in its own."""
    name = read_name(path)
    between = path.relative_to(folder).parts[:-1]
    session = next((part for part in between if session_of_folder(part)), name.session)
    return Scan(path, subject, session, {"run": name.run} if name.run else {}, known or {}, reason=unusable(path))


def find_named(root: Path, pattern: re.Pattern[str], varying: str = r"(?!)") -> list[Scan]:
    """The images below `root`, NIfTI and Analyze (.img), whose own name or that of a folder they are in holds an id.

    Args:
        root: absolute.
        pattern: of an id. Its group `subject`, and `session` where it has one, are the scan's; other groups are parts.
        varying: a pattern of what differs between the names of one version, such as the number of a run.
    """
    scans = []
    for folder, _, files in walk(root):
        above = reversed((root.name, *folder.relative_to(root).parts))
        id_above = next((id for part in above if (id := pattern.search(part))), None)
        for name in files:
            if not (ending := IMAGE_ENDINGS.search(name)):
                continue
            stem = name[: ending.start()]
            if id := pattern.search(stem) or id_above:
                parts = id.groupdict()
                subject, session = parts.pop("subject"), parts.pop("session", "")
                version = re.sub(varying, "*", pattern.sub("*", stem))
                path = folder / name
                scans.append(Scan(path, subject, session, parts, version=version, reason=unusable(path)))
    return scans


def no_images(root: Path, expected: str, advice: str = "", kind: str = "images (.nii or .nii.gz)") -> InputError:
    """The mistake of a folder that has no images, with what it holds instead where there is no other advice."""
    kinds: Counter[str] = Counter()
    for _, _, files in walk(root):
        for name in files:
            kinds.update(said for endings, said in FOREIGN.items() if name.lower().endswith(endings))
    if not advice and kinds:
        said, count = kinds.most_common(1)[0]
        advice = f"There are {count} {said}."
    advice = advice or "For other layouts, see `tfmri labels --help`, or write the labels.csv in a spreadsheet."
    return InputError(Problem(str(root), f"there are no {kind} in this folder", expected, advice))


def that_fit(
    images: Mapping[Path, Sequence[Path]], pattern: str | None, root: Path
) -> tuple[list[tuple[Path, Path]], dict[Path, str]]:
    """Folder and image for each image whose name, or path below that folder, is as `pattern` says (``anat/*``).

    Case does not matter. The other images come second, with the reason.

    Args:
        images: folder -> images in it, at any depth.
        pattern: the person's; None: all.
        root: for the message.

    Raises:
        InputError: none is.
    """
    pairs = [(folder, path) for folder, paths in images.items() for path in paths]
    if pattern is None:
        return pairs, {}
    wanted = pattern.casefold()
    fitting = [
        (folder, path)
        for folder, path in pairs
        if any(fnmatchcase(name.casefold(), wanted) for name in (path.name, path.relative_to(folder).as_posix()))
    ]
    if not fitting:
        names = [name for name, _ in Counter(path.name for _, path in pairs).most_common(3)]
        found = f"none of the {len(pairs)} images in {root} fits '{pattern}'"
        advice = "A * stands for any letters; put the pattern in quotes, or the shell replaces it."
        raise InputError(Problem("--pattern", found, f"a name such as {', '.join(names)}", advice))
    taken = {path for _, path in fitting}
    return fitting, {path: f"does not fit '{pattern}'" for _, path in pairs if path not in taken}


def one_a_session(scans: Sequence[Scan], pattern: str | None) -> tuple[list[Scan], tuple[str, ...]]:
    """Drops scans of which a session has several, since it cannot be told which is meant, unless a pattern chose them.

    Runs of a session, which their names tell apart, stay.

    Args:
        scans: those with a reason stay as they are.
        pattern: the person's, or None.

    Returns:
        all scans, and what was assumed or how to choose.
    """
    groups = _by(scans, lambda scan: (scan.subject, scan.session, scan.parts.get("run", "")))
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return list(scans), ()
    if pattern is not None:
        example = ", ".join(scan.path.name for scan in several[0])
        note = f"{len(several)} sessions have several scans that fit '{pattern}' ({example}): kept as further runs."
        return list(scans), (note,)
    shapes = Counter(text for group in groups.values() for text in dict.fromkeys(map(_shape, group)))
    examples = ", ".join(f"'{text}' (fits {count})" for text, count in shapes.most_common(4) if count > 1)
    unclear = {scan.path for group in several for scan in group}
    reason = "repeated: several scans of one session; choose with --pattern"
    advice = f"Of several scans of a session, choose one with --pattern, such as {examples}, or move the others away."
    taken = [replace(scan, reason=reason) if scan.path in unclear else scan for scan in scans]
    return taken, (advice,) if examples else ()


def one_version(scans: Sequence[Scan], preferred: Sequence[str], root: Path) -> tuple[list[Scan], tuple[str, ...]]:
    """Drops all but one image of each scan, all of one version: from a mixture, a model would learn which is which.

    A cohort is often there more than once: as it was published, brain-extracted, in a template's space. The version is
    taken that most scans have; of several files of one scan in it, the first by name.

    Args:
        scans: with their versions; those with a reason stay as they are.
        preferred: versions, best first, for where several are there for equally many scans.
        root: for the message.

    Returns:
        all scans, by subject and session, and a note where there are several versions.

    Raises:
        InputError: it cannot be told which version is meant, or files of one name are in several folders.
    """
    by_name = sorted(scans, key=lambda scan: (scan.subject, scan.session, scan.path.name, scan.path))
    groups = _by(by_name, lambda scan: (scan.subject, scan.session, *scan.parts.values()))
    counts = Counter(version for group in groups.values() for version in {scan.version for scan in group})
    most = sorted(version for version, count in counts.items() if count == max(counts.values()))
    best = next((version for version in preferred if version in most), most[0] if most else "")
    if len(most) > 1 and best not in preferred:
        found = f"there are several images of each scan: {_listed(most)}"
        advice = "Give a folder with one of them only, or move the others elsewhere."
        raise InputError(Problem(str(root), found, "one image for each scan", advice))
    reasons: dict[Path, str] = {}
    twice: list[Scan] = []
    for group in groups.values():
        own = [scan for scan in group if scan.version == best]
        for scan in own[1:]:
            same = scan.path.name.removesuffix(".gz") == own[0].path.name.removesuffix(".gz")
            twice += [own[0], scan] if same else []
            reasons[scan.path] = "repeated: another run of the session"
        for scan in (scan for scan in group if scan.version != best):
            lacking = f"no image: no {best} of it, as there is of the others"
            reasons[scan.path] = f"repeated: another version, {scan.version}" if own else lacking
    if twice:
        places = list(dict.fromkeys(str(scan.path.parent) for scan in twice))
        found = f"{len(twice) // 2} scans are there in several folders: {_listed(places)}"
        raise InputError(Problem(str(root), found, "each once", "Give the one folder that you mean."))
    note = f"Of each session, the image taken is {best if best != '*' else 'the one named by its id alone'}."
    taken = [replace(scan, reason=reasons.get(scan.path, scan.reason)) for scan in by_name]
    return taken, (note,) if len(counts) > 1 else ()


def _by(scans: Sequence[Scan], key: Callable[[Scan], tuple[str, ...]]) -> dict[tuple[str, ...], list[Scan]]:
    """The scans without a reason, by a key."""
    groups: dict[tuple[str, ...], list[Scan]] = {}
    for scan in scans:
        if not scan.reason:
            groups.setdefault(key(scan), []).append(scan)
    return groups


def _shape(scan: Scan) -> str:
    """The pattern that would choose this scan of each subject."""
    return scan.path.name.replace(scan.subject, "*", 1) if scan.subject else scan.path.name


def _listed(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
