"""A folder per subject (`Sub_101/T1.nii.gz`), or a file per subject, and a table of what is known of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tfmri.cohort.layouts.found import (
    folders_in,
    images_below,
    no_images,
    one_a_session,
    open_root,
    read_scan,
    that_fit,
)
from tfmri.cohort.layouts.layout import Layout, join
from tfmri.cohort.layouts.names import is_image, read_name, session_of_folder
from tfmri.cohort.layouts.people import read_people

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
    if not beside and not any(folders.values()):
        raise no_images(root, EXPECTED)
    chosen, aside = that_fit({root: beside, **folders}, pattern, root)
    scans, notes = one_a_session(
        [
            read_scan(path, folder, read_name(path).subject if folder == root else folder.name)
            for folder, path in chosen
        ],
        pattern,
    )
    if beside:
        example = f"'{beside[0].name}' is subject '{read_name(beside[0]).subject}'"
        notes = (f"Images beside the subjects' folders have their ids from their names: {example}.", *notes)
    filled = {scan.subject for scan in scans}
    empty = [folder.name for folder in folders if folder.name not in filled]
    people = read_people(Path(table), scans, empty, id, targets)
    return join(root, scans, people, empty, notes, _advice(folders), aside=aside)


def _advice(folders: Mapping[Path, Sequence[Path]]) -> str:
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
