"""What a table knows of people: which column is which, and what the rows of a person, or of a session of theirs, say.

Rows of one person that agree in what is needed are one; where only some of them fill a cell, theirs counts. What they
do not need to agree in and differ in is left empty. People whose rows differ in what is needed are nobody's label.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tfmri.cohort.columns import USUAL_NAMES, called, kept_as, nearest, plain, tells_sessions
from tfmri.cohort.layouts.found import Scan
from tfmri.cohort.layouts.matching import match_ids
from tfmri.cohort.sheet import Sheet, ranges, read_sheet
from tfmri.cohort.values import MISSING, spelled
from tfmri.errors import InputError, Problem

OURS = ("subject", "session", "path")
Cells = dict[str, str]  # column of labels.csv -> cell


@dataclass(frozen=True)
class Known:
    """What a table says of one person, or of one session of theirs.

    Args:
        cells: what its rows say.
        rows: their numbers in the file.
        differ: the needed columns in which they differ.
    """

    cells: Cells
    rows: Sequence[int]
    differ: Sequence[str]


@dataclass(frozen=True)
class People:
    """A table by person.

    Args:
        name: of the file.
        columns: of labels.csv that come from it, in order.
        needed: of these, the ones of which one at least must be filled; none: any of them.
        known: id -> session ('' where the table has none) -> what is known.
        others: further ids, of which it is known that no scan is there.
        notes: what was assumed, one sentence each.
        advice: what to do if not one of these people has a scan, where the table shows it.
    """

    name: str
    columns: Sequence[str]
    needed: Sequence[str]
    known: Mapping[str, Mapping[str, Known]]
    others: Sequence[str] = ()
    notes: tuple[str, ...] = ()
    advice: str = ""


def is_unknown(cell: str) -> bool:
    """Whether a cell says nothing. (``none`` may be the name of a class; whoever reads the labels decides.)"""
    return cell.casefold() in MISSING - {"none"}


def by_person(
    name: str, columns: Sequence[str], needed: Sequence[str], rows: Iterable[tuple[int, str, str, Cells]]
) -> People:
    """The rows of a table by person and session.

    Args:
        name: of the file.
        columns: of its cells.
        needed: the columns in which the rows of a person must not differ; none: all.
        rows: number in the file, id ('' where there is none), session ('' where there is none), cells.
    """
    grouped: dict[str, dict[str, list[tuple[int, Cells]]]] = {}
    nameless = []
    for number, person, session, cells in rows:
        if person:
            grouped.setdefault(person, {}).setdefault(session, []).append((number, cells))
        else:
            nameless.append(number)
    known = {
        person: {session: _merged(same, needed or columns) for session, same in sessions.items()}
        for person, sessions in grouped.items()
    }
    notes = [f"{name}, {_rows(nameless)}: no id, so left out."] if nameless else []
    repeated = [each for sessions in known.values() for each in sessions.values() if len(each.rows) > 1]
    if agreeing := [each for each in repeated if not each.differ]:
        whose = "1 person has" if len(repeated) == 1 else f"{len(repeated)} people have"
        which = ", which" if agreeing == repeated else f". Those of {len(agreeing)}"
        alike = f" in {' and '.join(needed)}" if needed else ""
        rest = ", without the other cells in which they differ" if {*columns} - {*(needed or columns)} else ""
        places = _rows(sorted(number for each in agreeing for number in each.rows))
        notes.append(f"{name}: {whose} several rows{which} agree{alike} and are taken for one{rest} ({places}).")
    return People(name, columns, needed, known, notes=tuple(notes))


def _merged(rows: Sequence[tuple[int, Cells]], needed: Sequence[str]) -> Known:
    said = {column: {cells[column] for _, cells in rows} - {""} for column in rows[0][1]}
    cells = {column: next(iter(values)) if len(values) == 1 else "" for column, values in said.items()}
    return Known(cells, [number for number, _ in rows], [column for column in needed if len(said[column]) > 1])


def read_people(
    table: Path,
    scans: Sequence[Scan],
    empty: Sequence[str],
    id: str | None = None,
    targets: Sequence[str] = (),
    usual: Sequence[str] = USUAL_NAMES["subject"],
    prefix: str = "",
) -> People:
    """Reads a table that anybody may have made: a row per person, or one per session.

    Args:
        table: the file: .csv, .tsv, .xls or .xlsx.
        scans: what was found.
        empty: subjects whose folder holds no scan.
        id: the column that holds the ids; None: the first there is of `usual`.
        targets: the columns to take; none: all. People of whom all of them are unknown count as not labelled.
        usual: names of columns that hold ids.
        prefix: what all ids begin with, though the table may leave it out.

    Raises:
        InputError: the table cannot be read, or has no such columns.
    """
    sheet = read_sheet(table)
    folders = list(dict.fromkeys([*(scan.subject for scan in scans), *empty]))
    id_column = _id_column(sheet, id, usual, folders)
    own = _target_columns(sheet, targets)
    by = _session_column(sheet, [id_column, *own], any(scan.session for scan in scans))
    ours = {*OURS, *(part for scan in scans for part in scan.parts)}
    names = other_columns(sheet, {id_column, by} - {*own}, ours)
    names = {column: name for column, name in names.items() if not own or column in own}
    people = by_person(
        sheet.path.name,
        list(names.values()),
        [names[column] for column in own],
        (
            (
                int(number),
                "" if is_unknown(row[id_column]) else prefix + row[id_column].removeprefix(prefix),
                row[by] if by else "",
                {name: row[column] for column, name in names.items()},
            )
            for number, row in zip(sheet.cells.index, sheet.cells.to_dict("records"), strict=True)
        ),
    )
    notes = [*sheet.notes, *people.notes]
    if id is None and plain(id_column) != plain(usual[0]):
        notes.insert(0, f"{people.name}: the ids are taken from column '{id_column}'; another is given with --id.")
    return replace(people, notes=tuple(notes), advice=_likely_id(sheet, folders, id_column))


def _id_column(sheet: Sheet, given: str | None, usual: Sequence[str], folders: Sequence[str]) -> str:
    own = sheet.columns
    for name in [given] if given is not None else usual:
        if columns := called(name, own):
            return columns[0]
    listed = ", ".join(f"'{name}'" for name in own[:15]) + (f" and {len(own) - 15} more" if len(own) > 15 else "")
    lacking = "no column has a usual name for ids" if given is None else f"no column is called '{given}'"
    near = nearest(given, own) if given is not None else None
    advice = _likely_id(sheet, folders) or (
        f"Did you mean --id '{near}'?" if near else "Name the column that holds the ids with --id."
    )
    expected = "a column with an id for each person"
    advice = f"{advice} {sheet.unread}".strip()
    raise InputError(Problem(sheet.place(), f"{lacking}; there are {listed}", expected, advice))


def _likely_id(sheet: Sheet, folders: Sequence[str], taken: str | None = None) -> str:
    """Advice that names the column which holds most of the subjects, '' where none holds half, or it is `taken`."""
    if taken is not None and match_ids(folders, list(sheet.cells[taken])).pairs:
        return ""
    counts = {column: len(match_ids(folders, list(sheet.cells[column])).pairs) for column in sheet.columns[:50]}
    best = max(counts, key=lambda column: counts[column])
    if 2 * counts[best] < len(folders):
        return ""
    return f"If the ids are those in column '{best}', which has {counts[best]} of {len(folders)}, give --id '{best}'."


def _target_columns(sheet: Sheet, targets: Sequence[str]) -> list[str]:
    found, problems = [], []
    for name in targets:
        if columns := called(name, sheet.columns):
            found.append(columns[0])
            continue
        near = nearest(name, sheet.columns)
        listed = ", ".join(map(repr, sheet.columns))
        advice = f"Did you mean --target '{near}'?" if near else f"The columns are {listed}."
        problems.append(Problem(sheet.place(), f"no column is called '{name}'", "", advice))
    if problems:
        raise InputError(*problems)
    return list(dict.fromkeys(found))


def _session_column(sheet: Sheet, taken: Sequence[str], scans_have_sessions: bool) -> str | None:
    """The column of sessions, of those that are not `taken` (the ids, then targets)."""
    names = [name for name in USUAL_NAMES["session"] if scans_have_sessions or name != "ses"]  # SES may look like one
    columns = [column for name in names for column in called(name, sheet.columns) if column not in taken]
    return next((column for column in columns if tells_sessions(sheet.cells, column, taken[0])), None)


def other_columns(sheet: Sheet, read: Collection[str | None], ours: Collection[str]) -> dict[str, str]:
    """Column of the table -> its name in labels.csv, without the columns that were `read`: its own if it is free."""
    others = [column for column in sheet.columns if column not in read]
    return {column: kept_as(column, others) if column in ours else column for column in others}


def needed_column(sheet: Sheet, pattern: str, expected: str) -> str:
    """The first column whose name in lower case is matched by `pattern`, as a whole.

    Raises:
        InputError: there is none.
    """
    for name in sheet.columns:
        if re.fullmatch(pattern, name.casefold()):
            return name
    names = ", ".join(f"'{name}'" for name in sheet.columns)
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


def _rows(numbers: Sequence[int]) -> str:
    return f"{'row' if len(numbers) == 1 else 'rows'} {ranges(numbers)}"
