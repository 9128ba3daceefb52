"""The scans in a folder: which files are images, which of those can be used, and which are several of one session."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from tfmri.cohort.layouts.file_names import is_image
from tfmri.errors import InputError, Problem

FOREIGN = {  # endings of what is no NIfTI -> what turns it into one
    (".dcm", ".ima"): "DICOM files; convert them with dcm2niix",
    (".img", ".hdr"): "Analyze images; convert them with nib-convert, which comes with nibabel",
    (".mgz", ".mgh"): "FreeSurfer images; convert them with mri_convert",
    (".zip", ".tar", ".tgz", ".tar.gz"): "archives; unpack them first",
}


@dataclass(frozen=True)
class Scan:
    """One image file.

    Args:
        path: the file.
        subject: as its folder or name spells it.
        session: likewise, '' where there is none.
        parts: what else its name tells, such as run; columns of labels.csv.
        known: what a table of its session tells, where there is one; columns of labels.csv.
        reason: why it is dropped, '' where it is not.
        detail: what there is to add about this one.
    """

    path: Path
    subject: str
    session: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)
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


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, without hidden ones, by name."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_below(folder: Path) -> list[Path]:
    """All images in a folder and those below it, hidden ones left out, by name."""
    paths = []
    for above, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [path for name in files if is_image(path := Path(above, name))]
    return sorted(paths)


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


def fits(path: Path, folder: Path, pattern: str | None) -> bool:
    """Whether the name of a file, or its path below `folder`, is as `pattern` says (``*_T1.nii.gz``, ``anat/*``)."""
    return pattern is None or any(
        fnmatchcase(text, pattern) for text in (path.name, path.relative_to(folder).as_posix())
    )


def nothing_fits(root: Path, pattern: str, paths: Sequence[Path]) -> InputError:
    """The mistake of a pattern that no image is named by."""
    names = [name for name, _ in Counter(path.name for path in paths).most_common(3)]
    found = f"none of the {len(paths)} images in {root} fits '{pattern}'"
    advice = "A * stands for any letters; put the pattern in quotes, or the shell replaces it."
    return InputError(Problem("--pattern", found, f"a name such as {', '.join(names)}", advice))


def no_images(root: Path, expected: str, advice: str = "", kind: str = "images (.nii or .nii.gz)") -> InputError:
    """The mistake of a folder that has no images, with what it holds instead where there is no other advice."""
    kinds: Counter[str] = Counter()
    for _, _, files in os.walk(root):
        for name in files:
            kinds.update(said for endings, said in FOREIGN.items() if name.lower().endswith(endings))
    if not advice and kinds:
        said, count = kinds.most_common(1)[0]
        advice = f"There are {count} {said}."
    advice = advice or "For other layouts, see `tfmri labels --help`, or write the labels.csv in a spreadsheet."
    return InputError(Problem(str(root), f"there are no {kind} in this folder", expected, advice))


def one_a_session(
    scans: Iterable[Scan], pattern: str | None, shape: Callable[[Scan], str]
) -> tuple[list[Scan], tuple[str, ...]]:
    """Drops scans of which a session has several, since it cannot be told which is meant, unless a pattern chose them.

    Runs of a session, which their names tell apart, stay.

    Args:
        scans: those with a reason stay as they are.
        pattern: the person's, or None.
        shape: the pattern that a scan would have been chosen by.
    """
    scans = list(scans)
    groups: dict[tuple[str, str, str], list[Scan]] = {}
    for scan in scans:
        if not scan.reason:
            groups.setdefault((scan.subject, scan.session, scan.parts.get("run", "")), []).append(scan)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        return scans, ()
    if pattern is not None:
        example = ", ".join(scan.path.name for scan in several[0])
        return scans, (
            f"{len(several)} sessions have several scans that fit '{pattern}' ({example}): kept as further runs.",
        )
    shapes = Counter(text for group in groups.values() for text in dict.fromkeys(map(shape, group)))
    examples = ", ".join(f"'{text}' (fits {count})" for text, count in shapes.most_common(4) if count > 1)
    unclear = {scan.path for group in several for scan in group}
    reason = "repeated: several scans of one session; choose with --pattern"
    notes = (f"Of several scans of a session, choose one with --pattern, such as {examples}.",) if examples else ()
    return [replace(scan, reason=reason) if scan.path in unclear else scan for scan in scans], notes
