"""The scans of a published cohort and the rows of its table, joined; and which column of the table is which."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfmri.cohort.columns import kept_as
from tfmri.cohort.layouts.layout import Layout, some_joined
from tfmri.cohort.layouts.matching import match_ids
from tfmri.cohort.sheet import Sheet
from tfmri.cohort.values import MISSING, spelled
from tfmri.errors import InputError, Problem


@dataclass(frozen=True)
class Candidate:
    """A scan that was found.

    Args:
        path: of its image, absolute.
        id: what the table calls the person or the session.
        names: what its name tells, as columns of labels.csv; `subject` among them.
    """

    path: Path
    id: str
    names: Mapping[str, str]


@dataclass(frozen=True)
class Known:
    """What a table says of one person or session.

    Args:
        cells: column -> what the rows that fill it say; '' where these differ, or nothing is said.
        disputed: the columns of those asked for in which the rows differ.
    """

    cells: dict[str, str]
    disputed: tuple[str, ...]


def merge_rows(rows: Sequence[Mapping[str, str]], wanted: Sequence[str]) -> Known:
    """What several rows say of the same person.

    Args:
        rows: column -> cell.
        wanted: columns that must be known for certain.
    """
    said = {
        column: list(dict.fromkeys(row[column] for row in rows if row[column].casefold() not in MISSING))
        for column in rows[0]
    }
    cells = {column: values[0] if len(values) == 1 else "" for column, values in said.items()}
    return Known(cells, tuple(column for column in wanted if len(said[column]) > 1))


def join(
    root: Path,
    scans: Sequence[Candidate],
    known: Mapping[str, Known],
    left_out: Mapping[Path, str],
    needed: Sequence[str],
    table: str,
) -> Layout:
    """One row for each scan that the table knows.

    Args:
        root: the folder that was searched.
        scans: those that may be joined.
        known: id in the table -> what it says.
        left_out: path of each file that was found besides `scans` -> why it is none of them.
        needed: columns of `known` of which at least one must be filled.
        table: the table's name, for the reasons.

    Raises:
        InputError: not one scan was joined.
    """
    matches = match_ids([scan.id for scan in scans], list(known))
    joined, fates = [], {path: ("dropped", reason) for path, reason in left_out.items()}
    for scan in scans:
        row = known.get(matches.pairs.get(scan.id, ""))
        if row is None:
            reason = f"no label: {matches.reasons.get(scan.id, f'no row in {table}')}"
        elif row.disputed:
            reason = f"repeated: rows of {table} differ in {' and '.join(row.disputed)}"
        elif not any(row.cells[column] for column in needed):
            reason = f"no label: {', '.join(needed)} are empty in {table}"
        else:
            reason = ""
            joined.append({**scan.names, "path": str(scan.path), **row.cells})
        fates[scan.path] = ("dropped" if reason else "joined", reason)
    report = [
        {"item": str(path.relative_to(root)), "fate": fate, "reason": why}
        for path, (fate, why) in sorted(fates.items())
    ]
    seen = set(matches.pairs.values())
    unseen = "no image: no usable scan of this id here"
    report += [{"item": name, "fate": "no scan", "reason": unseen} for name in known if name not in seen]
    names = joined[0] if joined else {"subject": ""}
    first = [name for name in ("subject", "session", "path") if name in names]
    layout = Layout(
        pd.DataFrame(joined, columns=[*first, *(name for name in names if name not in first)], dtype="str"),
        pd.DataFrame(report, columns=["item", "fate", "reason"], dtype="str"),
        matches.notes,
    )
    return some_joined(layout, root, "Give the table that belongs to these scans with --table.")


def other_columns(sheet: Sheet, read: Sequence[str], ours: Sequence[str]) -> dict[str, str]:
    """Column of the table -> its name in labels.csv, without the columns that were `read`: its own if it is free."""
    others = [str(column) for column in sheet.cells if column not in read]
    return {column: kept_as(column, others) if column in ours else column for column in others}


def needed_column(sheet: Sheet, pattern: str, expected: str) -> str:
    """The first column whose name in lower case is matched by `pattern`, as a whole.

    Raises:
        InputError: there is none.
    """
    for name in map(str, sheet.cells):
        if re.fullmatch(pattern, name.casefold()):
            return name
    names = ", ".join(f"'{name}'" for name in sheet.cells)
    found = f"there is no column {expected}; there are {names}"
    raise InputError(Problem(sheet.place(), found, f"a column {expected}", "Is this the cohort's own table?"))


def find_table(root: Path, pattern: str, expected: str) -> Path:
    """The one table in `root`, or else in the folder above it, whose name in lower case is matched by `pattern`.

    Raises:
        InputError: there is none, or several.
    """
    for folder in (root, root.parent):
        found = sorted(p for p in folder.iterdir() if re.fullmatch(pattern, p.name.casefold()) and p.is_file())
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(path.name for path in found)
            raise InputError(Problem(str(folder), f"there are several tables: {names}", "", "Say which with --table."))
    raise InputError(Problem(str(root), "there is no table of the people", expected, "Say where it is with --table."))


def sex_of(cell: str, codes: Mapping[str, str]) -> str:
    """`f` or `m` for a word or one of the `codes` (such as ``{'1': 'm', '2': 'f'}``); other cells as they are."""
    return {"female": "f", "f": "f", "male": "m", "m": "m", **codes}.get(spelled(cell), cell)
