"""A folder per subject (`Sub_101/T1.nii.gz`), or a file per subject, and a table of what is known of them."""

from collections.abc import Sequence
from pathlib import Path

from tfmri.cohort.layouts.file_names import is_image, read_name, session_of_folder
from tfmri.cohort.layouts.found import (
    Scan,
    fits,
    folders_in,
    images_below,
    no_images,
    nothing_fits,
    one_a_session,
    open_root,
    unusable,
)
from tfmri.cohort.layouts.layout import Layout
from tfmri.cohort.layouts.people import join_people

EXPECTED = "a folder for each subject, with scans in it"


def subjects(
    root: Path, table: Path, id: str | None = None, targets: Sequence[str] = (), pattern: str | None = None
) -> Layout:
    """Finds the scans in each subject's folder, and joins what a table knows of the subjects.

    A folder's name is the subject's id. A folder in it that is called like a session (``ses-1``, ``visit2``,
    ``baseline``, ``2019-05-01``) is one, and so is such a word in a file's name. An image that lies beside the folders
    belongs to the subject that its name begins with.

    Args:
        root: the folder that holds the subjects' folders.
        table: .csv, .tsv, .xls or .xlsx.
        id: the column of `table` with the ids; None: the first with a usual name for it.
        targets: the columns to take; none: all.
        pattern: which scan to take where a session has several, such as ``T1.nii.gz``, ``*_T1w.nii.gz``, ``anat/*``:
            the file's name, or its path below the subject's folder.

    Raises:
        InputError: there is no such folder, table, column or scan, or not one scan could be joined.
    """
    root = open_root(root, EXPECTED)
    beside = sorted(path for path in root.iterdir() if is_image(path))
    folders = {folder: images_below(folder) for folder in folders_in(root)}
    everything = [*beside, *(path for paths in folders.values() for path in paths)]
    if not everything:
        raise no_images(root, EXPECTED)
    scans = [_scan(path, root, read_name(path).subject) for path in beside if fits(path, root, pattern)]
    for folder, paths in folders.items():
        scans += [_scan(path, folder, folder.name) for path in paths if fits(path, folder, pattern)]
    if pattern is not None and not scans:
        raise nothing_fits(root, pattern, everything)
    scans, notes = one_a_session(scans, pattern, _shape)
    if beside:
        example = f"'{beside[0].name}' is subject '{read_name(beside[0]).subject}'"
        notes = (*notes, f"Images beside the subjects' folders have their ids from their names: {example}.")
    filled = {scan.subject for scan in scans}
    empty = [folder.name for folder in folders if folder.name not in filled]
    return join_people(root, scans, Path(table), id, targets, empty, notes=notes, advice=_advice(root, folders))


def _scan(path: Path, folder: Path, subject: str) -> Scan:
    name = read_name(path)
    between = path.relative_to(folder).parts[:-1]
    session = next((session for part in between if (session := session_of_folder(part))), name.session)
    return Scan(path, subject, session, {"run": name.run} if name.run else {}, reason=unusable(path))


def _shape(scan: Scan) -> str:
    """The pattern that would choose this scan of each subject."""
    name = scan.path.name
    return name.replace(scan.subject, "*", 1) if scan.subject in name else name


def _advice(root: Path, folders: dict[Path, list[Path]]) -> str:
    """What may be wrong where no folder is called like a person of the table."""
    if not folders or any(session_of_folder(folder.name) for folder in folders):
        return "If this is the folder of one subject, give the folder above it."
    inner = {folder: len(folders_in(folder)) for folder in folders}
    fullest = max(folders, key=lambda folder: inner[folder])
    if inner[fullest] > len(folders):
        return f"If the subjects' folders are those in {fullest}, give that folder."
    together = [folder for folder, paths in folders.items() if sum(path.parent == folder for path in paths) > 4]
    if together:
        return f"If the scans of different subjects lie together in {together[0]}, give that folder."
    return "Give the table that belongs to these scans."
