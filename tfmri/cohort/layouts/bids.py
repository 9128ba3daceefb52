"""BIDS, the Brain Imaging Data Structure: T1-weighted scans in sub-*/[ses-*/]anat/, what is known in participants.tsv.

Source: https://bids-specification.readthedocs.io, "Data summary files" and "Anatomy imaging data".
"""

import re
from pathlib import Path

import pandas as pd

from tfmri.cohort.columns import find_columns, kept_as
from tfmri.cohort.layouts.layout import Layout
from tfmri.cohort.sheet import Sheet, read_sheet
from tfmri.errors import InputError, Problem

SCANS = ("sub-*/anat/*_T1w.nii*", "sub-*/ses-*/anat/*_T1w.nii*")
OURS = ("subject", "session", "path")


def bids(root: Path, table: Path | None = None) -> Layout:
    """Finds the T1-weighted scans of a BIDS dataset and joins what is known of each person.

    Args:
        root: the folder that holds sub-*.
        table: what is known of the people, a .tsv or .csv with their ids (``sub-01``, or ``01``); where it also has a
            column for the session, a row per session. None: participants.tsv in `root`.

    Returns:
        the scans in the order of their paths. Repeated runs and acquisitions are all there, told apart by a column for
        each such part of the file names (``run``, ``acq``).

    Raises:
        InputError: there is no such folder, table or scan, or not one scan could be joined.
    """
    root = Path(root).expanduser().absolute()
    scans = _find(root)
    sheet = read_sheet(_participants(root) if table is None else Path(table))
    standard = {"subject": "participant_id"} if "participant_id" in sheet.cells else {}
    found, _ = find_columns(sheet, ["subject"], ["session"], standard)
    people = _people(sheet, found)
    joined, report = [], []
    for scan in scans:
        subject, session = scan["subject"], scan["session"]
        rows = people.get((subject, session), people.get((subject, ""), []))
        reason = _unreadable(scan["path"]) or _unmatched(subject, session, rows, people, sheet)
        report.append((str(scan["path"].relative_to(root)), "dropped" if reason else "joined", reason))
        if not reason:
            # resolved by its folder only: a dataset of datalad consists of links to files with other names
            path = scan["path"].parent.resolve() / scan["path"].name
            joined.append(scan["names"] | rows[0] | {"subject": subject, "session": session, "path": str(path)})
    seen = {scan["subject"] for scan in scans}
    for subject in dict.fromkeys(subject for subject, _ in people if subject not in seen):
        folder = root / subject
        reason = f"{'no anat/*_T1w.nii.gz in its folder' if folder.is_dir() else 'no folder of that name'}"
        report.append((subject, "no scan", reason))
    layout = Layout(
        _in_order(joined, sheet, found), pd.DataFrame(report, columns=["item", "fate", "reason"], dtype="str")
    )
    if not joined:
        advice = "Give the table that belongs to these scans with --table." + "".join(
            f"\n    {x}" for x in layout.lines()
        )
        raise InputError(Problem(str(root), f"none of {len(scans)} scans could be joined", "at least one", advice))
    return layout


def _find(root: Path) -> list[dict]:
    if not root.is_dir():
        found = "this is a file" if root.exists() else "there is no such folder"
        raise InputError(Problem(str(root), found, "the folder of a BIDS dataset", "Check the path."))
    paths = {path for pattern in SCANS for path in root.glob(pattern) if path.name.endswith((".nii", ".nii.gz"))}
    if not paths:
        if re.match(r"(sub|ses)-", root.name):
            advice = "This looks like the folder of one subject: give the folder above it."
        elif below := sorted(child.name for child in root.iterdir() if any(child.glob(SCANS[0]))):
            advice = f"There are some in {root / below[0]}: give that folder."
        elif any(root.glob("sub-*")):
            advice = "There are sub-* folders, but no T1-weighted scans in them: is the download complete?"
        else:
            advice = "For other layouts, see `tfmri labels --help`, or write the labels.csv in a spreadsheet."
        expected = "sub-*/anat/*_T1w.nii.gz or sub-*/ses-*/anat/*_T1w.nii.gz"
        raise InputError(Problem(str(root), "there are no T1-weighted scans", expected, advice))
    scans = []
    for path in sorted(paths):
        names = dict(part.split("-", 1) for part in path.name.split("_")[:-1] if "-" in part)
        folders = path.relative_to(root).parts
        session = folders[1] if len(folders) == 4 else ""
        names = {key: value for key, value in names.items() if key not in ("sub", "ses")}
        scans.append({"path": path, "subject": folders[0], "session": session, "names": names})
    return scans


def _participants(root: Path) -> Path:
    path = root / "participants.tsv"
    if not path.is_file():
        advice = "Give a table of the people with --table (.tsv or .csv, with a column participant_id)."
        raise InputError(Problem(str(path), "there is no such file", "the people's ages, sexes, ...", advice))
    return path


def _people(sheet: Sheet, found: dict[str, str]) -> dict[tuple[str, str], list[dict[str, str]]]:
    """(subject, session) as in the folders' names -> the different rows on them; session '' where rows have none."""
    people: dict[tuple[str, str], list[dict[str, str]]] = {}
    covariates = _covariates(sheet, found)
    for row in sheet.cells.to_dict("records"):
        subject, session = row[found["subject"]], row[found["session"]] if "session" in found else ""
        if subject:
            key = (f"sub-{subject.removeprefix('sub-')}", f"ses-{session.removeprefix('ses-')}" if session else "")
            rest = {name: row[column] for column, name in covariates.items()}
            rows = people.setdefault(key, [])
            if rest not in rows:
                rows.append(rest)
    return people


def _unreadable(path: Path) -> str:
    """Why the file of a scan cannot be one, '' if it may be."""
    if not path.exists():
        return "a link to a file that is not there (with datalad: datalad get)"
    if not path.is_file():
        return "a folder"
    if path.stat().st_size == 0:
        return "an empty file"
    if path.suffix == ".nii" and path.with_name(path.name + ".gz").is_file():
        return "the same scan is there as .nii.gz"
    return ""


def _unmatched(subject: str, session: str, rows: list, people: dict, sheet: Sheet) -> str:
    """Why a scan cannot be joined to a row of the table, '' if it can."""
    name = sheet.path.name
    if len(rows) > 1:
        return f"{len(rows)} rows of {name} differ on this person, so it cannot be told which is right"
    if rows:
        return ""
    if sessions := [other for person, other in people if person == subject]:
        return f"{name} has this person's {', '.join(sessions)} but not {session or 'a row without session'}"
    bare = subject.removeprefix("sub-").lstrip("0").casefold()
    alike = [person for person, _ in people if person.removeprefix("sub-").lstrip("0").casefold() == bare]
    return f"no row in {name}" + (f" (there is '{alike[0]}': correct the id there)" if alike else "")


def _covariates(sheet: Sheet, found: dict[str, str]) -> dict[str, str]:
    """Column of the table -> its name in labels.csv: its own, unless that is one of ours."""
    own = [str(column) for column in sheet.cells if column not in found.values()]
    return {column: kept_as(column, own) if column in OURS else column for column in own}


def _in_order(joined: list[dict], sheet: Sheet, found: dict[str, str]) -> pd.DataFrame:
    covariates = list(_covariates(sheet, found).values())
    names = sorted({key for row in joined for key in row} - {*covariates, *OURS})
    table = pd.DataFrame(joined, columns=[*OURS, *names, *covariates], dtype="str").fillna("")
    return table if table["session"].any() else table.drop(columns="session")
