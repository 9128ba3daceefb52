"""A folder per class: `Females/Sub_101_T1.nii.gz`, `Males/Sub_102_T1.nii.gz`."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tfmri.cohort.layouts.found import (
    Scan,
    folders_in,
    images_below,
    no_images,
    one_a_session,
    open_root,
    read_scan,
    that_fit,
)
from tfmri.cohort.layouts.layout import Layout, join
from tfmri.cohort.layouts.matching import normal_form
from tfmri.cohort.layouts.names import is_image, is_kind, read_name, session_of_folder
from tfmri.cohort.sheet import LISTED
from tfmri.errors import InputError, Problem

EXPECTED = "a folder for each class, with scans in it, such as Females/Sub_101_T1.nii.gz and Males/Sub_102_T1.nii.gz"
KNOWN: dict[str, dict[str, tuple[str, ...]]] = {  # column of labels.csv -> class -> what its folder may be called
    "sex": {"f": ("f", "female", "females", "woman", "women"), "m": ("m", "male", "males", "man", "men")},
    "diagnosis": {
        "healthy": ("healthy", "healthycontrol", "healthycontrols", "control", "controls", "hc", "cn", "nc", "normal"),
        "MCI": ("mci",),
        "dementia": ("dementia", "ad", "alzheimer", "alzheimers"),
    },
}
NUMBER = re.compile(r"\d")
OURS = ("subject", "session", "scan", "path", "split", "run")


def folders(root: Path, target: str | None = None, pattern: str | None = None) -> Layout:
    """Finds the scans in the folder of each class.

    A scan's subject is the beginning of its file's name, up to the first word for a session or a kind of image
    (``Sub_101`` of ``Sub_101_ses-2_T1.nii.gz``), or the folder it lies in below that of the class.

    Args:
        root: the folder that holds the classes' folders.
        target: the column for the class. None: sex or diagnosis where the folders are called so, else group.
        pattern: which scan to take where a session has several, such as ``*_T1.nii.gz``: the file's name, or its path
            below the class's folder.

    Returns:
        the scans, by subject; a class has its usual name (f, m, healthy, MCI, dementia) where the folders are called
        so, else the folder's.

    Raises:
        InputError: there is no such folder, or there are not two classes in it; a subject is in two classes.
    """
    root = open_root(root, EXPECTED)
    if target in OURS:
        raise InputError(
            Problem("--target", f"'{target}' is a column of its own", "another name", "Call it otherwise.")
        )
    images = {folder: images_below(folder) for folder in folders_in(root)}
    beside = sorted(path for path in root.iterdir() if is_image(path))
    _check_classes(root, images, beside)
    column, labels = _labels([folder.name for folder, paths in images.items() if paths], target)
    people = _people_folders(images)
    chosen, aside = that_fit(images, pattern, root)
    scans = [
        read_scan(path, folder, _subject(path, folder, people), {column: labels[folder.name]})
        for folder, path in chosen
    ]
    scans.sort(key=lambda scan: (scan.subject, scan.session, scan.path))  # class by class, the order would tell it
    _check_subjects(root, scans, column)
    scans, several = one_a_session(scans, pattern)
    notes = (*_notes(root, column, labels, [scan for scan in scans if not scan.reason]), *several)
    stray = [Scan(path, read_name(path).subject, reason="no label: in no folder of a class") for path in beside]
    empty = [folder.name for folder, paths in images.items() if not paths]
    return join(root, [*scans, *stray], empty=empty, notes=notes, target=column, aside=aside)


def _check_classes(root: Path, images: Mapping[Path, list[Path]], beside: list[Path]) -> None:
    """Two classes at least, one level below the root."""
    filled = [folder for folder, paths in images.items() if paths]
    if not filled and not beside:
        raise no_images(root, EXPECTED)
    inner = {folder: [child.name for child in folders_in(folder)] for folder in filled}
    deeper = [folder for folder, names in inner.items() if _known_column(names)]
    if len(filled) < 2:
        found = f"only '{filled[0].name}' has scans in it" if filled else "the scans lie in this folder itself"
        if deeper:
            advice = f"Give {deeper[0]}, which has the folders {', '.join(inner[deeper[0]])}."
        elif filled:
            advice = "If the folders in it are the classes, give that folder."
        else:
            advice = "Give the folder above it, if that has a folder for each class; if a table tells the classes, see "
            advice += "`tfmri labels subjects --help`."
        raise InputError(Problem(str(root), found, EXPECTED, advice))
    if deeper:
        found = f"the classes lie one level deeper, in {' and in '.join(folder.name for folder in deeper)}"
        advice = f"Give {deeper[0]}"
        advice += ", then the others, and put the files that come out together." if deeper[1:] else "."
        raise InputError(Problem(str(root), found, EXPECTED, advice))


def _known_column(names: Sequence[str]) -> str | None:
    """The column whose classes folders of these names are, None where some are called otherwise."""
    return next((column for column in KNOWN if _two_classes(column, names)), None)


def _two_classes(column: str, names: Sequence[str]) -> bool:
    classes = {_class(column, name) for name in names}
    return len(classes) > 1 and None not in classes


def _class(column: str, name: str) -> str | None:
    word = "".join(sign for sign in name.casefold() if sign.isalpha())
    return next((label for label, words in KNOWN[column].items() if word in words), None)


def _labels(names: Sequence[str], target: str | None) -> tuple[str, dict[str, str]]:
    """The column for the class, and the class of each folder; names that differ only in case are one class."""
    column = _known_column(names)
    if column is not None and target in (None, column):
        return column, {name: _class(column, name) or "" for name in names}
    first: dict[str, str] = {}
    return target or "group", {name: first.setdefault(name.casefold(), name) for name in names}


def _people_folders(images: Mapping[Path, Sequence[Path]]) -> set[Path]:
    """The folders below those of the classes that are a person's.

    Others are called like a session or a kind of image; or they hold the files of several people: their own names have
    no number in them (``nifti``, ``Guys``), those of the files have different ones.
    """
    inside: dict[Path, set[str]] = {}
    for folder, paths in images.items():
        for path in paths:
            name = read_name(path).subject
            for above in path.relative_to(folder).parents[:-1]:
                inside.setdefault(folder / above, set()).update([name] if NUMBER.search(name) else [])
    return {
        folder
        for folder, names in inside.items()
        if not is_kind(folder.name) and not session_of_folder(folder.name)
        if NUMBER.search(folder.name) or sum(not is_kind(name) for name in names) < 2
    }


def _subject(path: Path, folder: Path, people: Collection[Path]) -> str:
    between = [folder / above for above in reversed(path.relative_to(folder).parents[:-1])]
    return next((above.name for above in between if above in people), read_name(path).subject)


def _check_subjects(root: Path, scans: Sequence[Scan], column: str) -> None:
    """Each subject in one class."""
    people: dict[tuple[str, ...], dict[str, Scan]] = {}
    for scan in scans:
        people.setdefault(normal_form(scan.subject) or (scan.subject,), {}).setdefault(scan.known[column], scan)
    twice = [list(classes.values()) for classes in people.values() if len(classes) > 1]
    if any(is_kind(same[0].subject) for same in twice):
        found = f"the folders are called like people: they all hold scans called such as '{twice[0][0].path.name}'"
        advice = "See `tfmri labels subjects --help`, for a folder per subject and a table."
        raise InputError(Problem(str(root), found, EXPECTED, advice))
    problems = []
    for same in twice:
        places = " and ".join(scan.path.relative_to(root).as_posix() for scan in same[:3])
        names = " and ".join(f"'{name}'" for name in dict.fromkeys(scan.subject for scan in same))
        advice = "Remove the wrong one. If these are different people, give them different names."
        problems.append(Problem(places, f"subject {names} is in {len(same)} classes", "each subject in one", advice))
    if problems[LISTED:]:
        problems[LISTED:] = [Problem(str(root), f"{len(problems) - LISTED} more subjects are in several classes")]
    if problems:
        raise InputError(*problems)


def _notes(root: Path, column: str, labels: Mapping[str, str], scans: Sequence[Scan]) -> list[str]:
    counts = {label: sum(scan.known[column] == label for scan in scans) for label in dict.fromkeys(labels.values())}
    quoted = {label: " and ".join(f"'{name}'" for name in labels if labels[name] == label) for label in counts}
    named = [f"{quoted[label]} as '{label}' ({count})" for label, count in counts.items()]
    notes = [f"The class stands in column '{column}': {', '.join(named)}."]
    if scans:
        first = scans[0]
        session = f", session '{first.session}'" if first.session else ""
        place = first.path.relative_to(root).as_posix()
        notes.append(f"Ids are read from the names: '{place}' is subject '{first.subject}'{session}.")
    forms: dict[tuple[str, ...], list[str]] = {}
    for subject in dict.fromkeys(scan.subject for scan in scans):
        forms.setdefault(normal_form(subject), []).append(subject)
    alike = [" and ".join(f"'{name}'" for name in names) for names in forms.values() if len(names) > 1]
    if alike:
        more = f" and {len(alike) - 3} more" if alike[3:] else ""
        notes.append(f"Look alike, but count as different subjects: {', '.join(alike[:3])}{more}. Rename one if not.")
    return notes
