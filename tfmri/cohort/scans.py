"""The images of a table, one per row: whether they are there, whether each is there once, and what they are called."""

import difflib
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri import archives
from tfmri.cohort.sheet import Fault
from tfmri.cohort.values import MISSING

EXPECTED = "the path of an image (.nii or .nii.gz)"


def find_images(folder: Path, cells: pd.Series) -> tuple[pd.Series, list[Fault]]:
    """The absolute path of each image, and what is wrong with those that are no files.

    An image may be in a zip archive: ``1000012_20252_2_0.zip/T1/T1.nii.gz``.

    Args:
        folder: where relative paths count from; absolute.
        cells: paths as they stand in the file, indexed by row number.
    """
    faults, paths = [], []
    for row, cell in zip(cells.index, cells, strict=True):
        image, fault = None, None
        if cell.casefold() in MISSING:
            fault = Fault([row], "no path", EXPECTED, "Write where the image is, or delete the row.")
        else:
            try:
                image = folder / Path(cell).expanduser()
                if ".." in image.parts:  # what the system makes of it, where a folder is a link
                    image = image.parent.resolve() / image.name
                if not archives.is_file(image) or image.suffix.lower() == archives.SUFFIX:
                    inside = archives.split_archive(image / "-")
                    fault = _not_in_archive(row, cell, *inside) if inside else _not_a_file(row, cell, image, folder)
            except (OSError, RuntimeError) as error:  # not allowed to look there, an unknown ~user, a name too long
                reason = error.strerror if isinstance(error, OSError) else error
                fault = Fault([row], f"'{cell}' cannot be opened: {reason}", EXPECTED, "Check the path.")
        paths.append(str(image or ""))
        faults += [fault] if fault else []
    return pd.Series(paths, index=cells.index, dtype="str"), faults


def _not_a_file(row: int, cell: str, image: Path, folder: Path) -> Fault:
    if image.is_dir():
        scans = sorted(p.name for p in image.iterdir() if p.name.endswith((".nii", ".nii.gz")))
        advice = (
            f"Name the image inside it, such as {cell.rstrip('/')}/{scans[0]}."
            if scans
            else "Name the image inside it."
        )
        return Fault([row], f"'{cell}' is a folder", EXPECTED, advice)
    other = image.with_suffix("") if image.suffix == ".gz" else image.with_name(image.name + ".gz")
    if other.is_file():
        advice = f"There is '{other.name}' beside it: correct the ending."
    elif "\\" in cell:
        advice = "Write / between folders, not \\."
    elif image.is_symlink():
        advice = "It is a link to a file that is not there (with datalad: datalad get)."
    elif Path(cell).is_absolute():
        advice = "Check the path."
    else:
        advice = f"Relative paths count from the folder of the labels file, {folder}."
    return Fault([row], f"there is no file '{cell}'", EXPECTED, advice)


def _not_in_archive(row: int, cell: str, archive: Path, member: str) -> Fault:
    """What is wrong with a path to an archive or into it; `member` ends with `/-`."""
    wanted = member.removesuffix("-").removesuffix("/")
    try:
        with zipfile.ZipFile(archive) as opened:
            images = [name for name in opened.namelist() if name.endswith((".nii", ".nii.gz"))]
    except zipfile.BadZipFile:
        found = f"the archive {archive.name} is damaged"
        return Fault([row], found, EXPECTED, "Copy or download it again.")
    near = (difflib.get_close_matches(wanted, images, n=1, cutoff=0) or [""])[0]
    advice = f"It holds {len(images)} images, such as {near}." if images else "It holds no image."
    if wanted:
        return Fault([row], f"there is no '{wanted}' in the archive {archive.name}", EXPECTED, advice)
    advice += f" Name the one inside: {cell.rstrip('/')}/{near}." if images else ""
    return Fault([row], f"'{cell}' is an archive", EXPECTED, advice)


def repeated_images(table: pd.DataFrame) -> list[Fault]:
    """Images that stand in several rows."""
    faults = []
    again = table[table["path"].duplicated(keep=False) & (table["path"] != "")]
    for image, rows in again.groupby("path", sort=False):
        subjects = list(rows["subject"].unique())
        found = f"the same image in {len(rows)} rows: {image}"
        if len(subjects) > 1:
            found += f", under the subjects {' and '.join(subjects)}"
        advice = "Delete all but one: a scan that counts twice can stand on two sides of a split."
        faults.append(Fault(list(rows.index), found, "one row for each image", advice))
    return faults


def scan_names(table: pd.DataFrame) -> pd.Series:
    """A name for each scan that no other has, whatever the order of the rows: subject[_session][_run-2].

    Runs of a session are numbered in the order of their paths.
    """
    base = table["subject"] + np.where(table["session"] == "", "", "_" + table["session"])
    taken: dict[str, object] = {}
    for row in pd.DataFrame({"base": base, "path": table["path"]}).sort_values(["base", "path"]).index:
        name, run = base[row], 1
        while name in taken:
            run += 1
            name = f"{base[row]}_run-{run}"
        taken[name] = row
    return pd.Series({row: name for name, row in taken.items()}, dtype="str").reindex(table.index)
