"""Joins the scans of a folder to what a table knows of the people: by id and, where both have them, by session."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfmri.cohort.columns import USUAL_NAMES, kept_as, nearest, plain
from tfmri.cohort.layouts.found import Scan
from tfmri.cohort.layouts.layout import Layout, some_joined
from tfmri.cohort.layouts.matching import SESSION_WORDS, Matches, match_ids
from tfmri.cohort.sheet import Sheet, ranges, read_sheet
from tfmri.cohort.values import MISSING
from tfmri.errors import InputError, Problem

OURS = ("subject", "session", "path")


@dataclass(frozen=True)
class _Row:
    """What is known of a person, or of one session of theirs, and the rows of the file that say the same of them."""

    values: dict[str, str]
    numbers: list[int]


@dataclass(frozen=True)
class _People:
    """A table by person, and by session ('' where it has none)."""

    sheet: Sheet
    columns: list[str]
    rows: dict[str, dict[str, list[_Row]]]
    notes: tuple[str, ...]


def join_people(
    root: Path,
    scans: Sequence[Scan],
    table: Path,
    column: str | None = None,
    targets: Sequence[str] = (),
    empty: Collection[str] = (),
    usual: Sequence[str] = USUAL_NAMES["subject"],
    prefix: str = "",
    notes: Sequence[str] = (),
    advice: str = "",
) -> Layout:
    """Joins scans to the rows of a table.

    Args:
        root: the folder of the scans; the report names them from there.
        scans: what was found; those with a reason are dropped for it.
        table: the file: .csv, .tsv, .xls or .xlsx.
        column: the one that holds the ids; None: the first there is of `usual`.
        targets: the columns to take; none: all. People of whom all of them are unknown count as not labelled.
        empty: subjects whose folder holds no scan.
        usual: names of columns that hold ids.
        prefix: what all ids begin with, though the table may leave it out.
        notes: what was assumed in finding the scans.
        advice: what to do where nothing can be joined.

    Returns:
        the scans in their order, each with what is known of its subject.

    Raises:
        InputError: the table cannot be read, has no such columns, or not one scan could be joined.
    """
    sheet = read_sheet(table)
    folders = list(dict.fromkeys([*(scan.subject for scan in scans), *empty]))
    id_column = _id_column(sheet, column, usual, folders)
    people = _read(sheet, id_column, prefix, _target_columns(sheet, targets), {scan.session for scan in scans} - {""})
    ids = match_ids(folders, list(people.rows))
    joined, report = [], []
    for scan in scans:
        row, reason, detail = (None, scan.reason, scan.detail) if scan.reason else _row(scan, people, ids)
        item = scan.path.relative_to(root).as_posix()
        report.append((item, "joined" if row else "dropped", reason, detail))
        if row:
            known = {name: value for name, value in scan.known.items() if not _unknown(value) or name not in row.values}
            ours = {"subject": scan.subject, "session": scan.session, "path": str(scan.path)}
            joined.append({**row.values, **scan.parts, **known, **ours})
    report += [(item, "no scan", reason, "") for item, reason in _without_scan(people, scans, empty, ids)]
    if column is None and plain(id_column) != plain(usual[0]):
        notes = (*notes, f"{sheet.path.name}: the ids are taken from column '{id_column}'; another is given with --id.")
    layout = Layout(
        _in_order(joined, people.columns, scans),
        pd.DataFrame(report, columns=["item", "fate", "reason", "detail"], dtype="str"),
        (*notes, *sheet.notes, *people.notes, *ids.notes),
    )
    return some_joined(layout, root, "" if joined else _advice(folders, people, ids, advice))


def _id_column(sheet: Sheet, given: str | None, usual: Sequence[str], folders: Sequence[str]) -> str:
    own = sheet.columns
    for name in [given] if given is not None else usual:
        alike = [column for column in own if plain(column) == plain(name)]
        if alike:
            return name if name in alike else alike[0]
    listed = ", ".join(f"'{name}'" for name in own[:15]) + (f" and {len(own) - 15} more" if len(own) > 15 else "")
    found = (
        "no column "
        + ("has a usual name for ids" if given is None else f"is called '{given}'")
        + f"; there are {listed}"
    )
    near = nearest(given, own) if given is not None else None
    advice = _likely_id(sheet, folders) or (
        f"Did you mean --id '{near}'?" if near else "Name the column that holds the ids with --id."
    )
    raise InputError(Problem(sheet.place(), found, "a column with an id for each person", advice))


def _likely_id(sheet: Sheet, folders: Sequence[str]) -> str:
    """Advice that names the column which holds most of the subjects, '' where none holds half of them."""
    counts = {column: len(match_ids(folders, list(sheet.cells[column])).pairs) for column in sheet.columns[:50]}
    best = max(counts, key=lambda column: counts[column])
    if 2 * counts[best] < len(folders):
        return ""
    return f"If the ids are those in column '{best}', which has {counts[best]} of {len(folders)}, give --id '{best}'."


def _target_columns(sheet: Sheet, targets: Sequence[str]) -> list[str]:
    """The columns to take, none where none are asked for."""
    own, found, problems = sheet.columns, [], []
    for name in targets:
        alike = [column for column in own if plain(column) == plain(name)]
        if alike:
            found.append(name if name in alike else alike[0])
            continue
        near = nearest(name, own)
        advice = f"Did you mean --target '{near}'?" if near else f"The columns are {', '.join(map(repr, own))}."
        problems.append(Problem(sheet.place(), f"no column is called '{name}'", "", advice))
    if problems:
        raise InputError(*problems)
    return list(dict.fromkeys(found))


def _read(sheet: Sheet, id_column: str, prefix: str, targets: list[str], sessions: Collection[str]) -> _People:
    """The table by person.

    Args:
        sheet: the file.
        id_column: of its columns.
        prefix: of the ids.
        targets: the columns to take; none: all.
        sessions: those of the scans.
    """
    by = next((c for name in USUAL_NAMES["session"] for c in sheet.columns if plain(c) == plain(name)), None)
    if by in (id_column, *targets) or (by and plain(by) == "ses" and not _overlap(sheet, by, sessions)):
        by = None  # SES may be the socio-economic status
    own = targets or [column for column in sheet.columns if column not in (id_column, by)]
    names = {column: kept_as(column, own) if column in OURS else column for column in own}
    people: dict[str, dict[str, list[_Row]]] = {}
    nameless: list[int] = []
    for number, row in zip(sheet.cells.index, sheet.cells.to_dict("records"), strict=True):
        person = row[id_column]
        if _unknown(person):
            nameless.append(int(number))
            continue
        person = prefix + person.removeprefix(prefix)
        values = {name: row[column] for column, name in names.items()}
        same = people.setdefault(person, {}).setdefault(row[by] if by else "", [])
        if twin := next((other for other in same if other.values == values), None):
            twin.numbers.append(int(number))
        else:
            same.append(_Row(values, [int(number)]))
    notes = [f"{sheet.place(nameless)}: no id, so left out."] if nameless else []
    again = [number for rows in people.values() for same in rows.values() for row in same for number in row.numbers[1:]]
    if again:
        notes.append(f"{sheet.place(again)}: repeated, but the same as an earlier row; counted once.")
    return _People(sheet, list(names.values()), people, tuple(notes))


def _overlap(sheet: Sheet, column: str, sessions: Collection[str]) -> bool:
    return bool(match_ids(sorted(sessions), list(sheet.cells[column]), SESSION_WORDS).pairs)


def _row(scan: Scan, people: _People, ids: Matches) -> tuple[_Row | None, str, str]:
    """What the table knows of a scan; where it is nothing, None, why, and what there is to add about this scan."""
    name = people.sheet.path.name
    if scan.subject not in ids.pairs:
        if scan.subject in ids.ambiguous:
            return (
                None,
                f"no label: more than one id is like this in {name} or among the scans",
                ids.reasons[scan.subject],
            )
        return None, f"no label: no row in {name}", ""
    sessions = people.rows[ids.pairs[scan.subject]]
    if scan.session:
        others = [session for session in sessions if session]
        match = match_ids([scan.session], others, SESSION_WORDS).pairs.get(scan.session, "")
        rows = sessions.get(match, [])
        if not rows:
            return None, f"no label: this session has no row in {name}", f"it has {', '.join(others)}"
    else:
        rows = sessions.get("", [])
        for row in (row for others in sessions.values() for row in others):
            if not any(row.values == other.values for other in rows):
                rows = [*rows, row]
    if len(rows) > 1:
        numbers = ranges(sorted(number for row in rows for number in row.numbers))
        return (
            None,
            f"repeated: rows of {name} differ on this person, and which is right cannot be told",
            f"rows {numbers}",
        )
    if all(map(_unknown, [*rows[0].values.values(), *scan.known.values()])):
        return None, f"no label: empty in {name}", f"row {ranges(rows[0].numbers)}"
    return rows[0], "", ""


def _unknown(cell: str) -> bool:
    return cell.casefold() in MISSING


def _without_scan(
    people: _People, scans: Sequence[Scan], empty: Collection[str], ids: Matches
) -> Iterator[tuple[str, str]]:
    """People, and sessions of people, that the table has and no scan is found of; and folders without scans."""
    found: dict[str, set[str]] = {}
    for scan in scans:
        if scan.subject in ids.pairs:
            found.setdefault(ids.pairs[scan.subject], set()).add(scan.session)
    bare = {ids.pairs[name] for name in empty if name in ids.pairs}
    for person, rows in people.rows.items():
        if person not in found:
            yield (
                person,
                "no image: " + ("no scan in the folder" if person in bare else "no folder or file of that name"),
            )
        elif "" not in found[person]:
            there = match_ids(sorted(found[person]), list(rows), SESSION_WORDS).pairs.values()
            for session in (session for session in rows if session and session not in there):
                yield f"{person} {session}", "no image: no scan of this session"
    for name in empty:
        if name not in ids.pairs:
            yield name, "no image: no scan in the folder"


def _in_order(joined: list[dict[str, str]], columns: list[str], scans: Sequence[Scan]) -> pd.DataFrame:
    parts = sorted({key for scan in scans for key in scan.parts} - {*columns, *OURS})
    known = list(dict.fromkeys(key for scan in scans for key in scan.known if key not in {*columns, *parts, *OURS}))
    table = pd.DataFrame(joined, columns=[*OURS, *parts, *columns, *known], dtype="str").fillna("")
    # an empty session stays where another column, such as SES, would else be taken for it
    usual = {plain(name) for name in USUAL_NAMES["session"]}
    optional = parts if any(plain(name) in usual for name in [*columns, *known]) else ["session", *parts]
    return table.drop(columns=[name for name in optional if not table[name].any()])


def _advice(folders: Sequence[str], people: _People, ids: Matches, advice: str) -> str:
    if ids.pairs:
        return "The reasons:"
    sheet = people.sheet
    examples = f"The scans' subjects are such as '{folders[0]}', those of {sheet.path.name} such as "
    return _likely_id(sheet, folders) or f"{advice} {examples}'{next(iter(people.rows), '')}'.".strip()
