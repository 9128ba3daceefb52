"""A table in a text file (.csv, .tsv) or a spreadsheet (.xls, .xlsx), read cell by cell as a spreadsheet would show it.

Cells are text, so that ids keep their leading zeros; only spaces around them are taken off. Rows have the numbers that
a spreadsheet shows: the header is row 1, and empty lines count. What people's programs write is read as it comes:
commas, semicolons or tabs, byte order marks, Windows line ends, UTF-8, UTF-16 or Windows-1252; and a file is what its
first bytes say, whatever its ending. Where no commas stand between cells, columns of numbers with a decimal comma get a
point. Of a spreadsheet, the first sheet that is not hidden is read; a number in a cell
is written as in ``1`` or ``34.5``, a date as in ``2005-11-18``.
"""

import codecs
import contextlib
import csv
import datetime
import difflib
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.errors import InputError, Problem

READ = "a .csv, .tsv, .xls or .xlsx file"
SPREADSHEETS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")  # what .xlsx (a zip) and .xls begin with
SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons"}
LISTED = 20  # so many faults of one kind are told one by one; those beyond share a line


@dataclass(frozen=True)
class Sheet:
    """What stands in a file.

    Args:
        path: the file.
        cells: one column of str for each of the file's, under the name that stands in the header; the index holds the
            row numbers of a spreadsheet. Rows without any text are left out.
        separator: what stands between cells in a text file, '' for a spreadsheet.
        notes: what was assumed in reading, one sentence each.
        unread: of these, the one that names the other sheets of a spreadsheet, '' where there are none.
    """

    path: Path
    cells: pd.DataFrame
    separator: str
    notes: tuple[str, ...]
    unread: str = ""

    @property
    def columns(self) -> list[str]:
        """The names of the columns, in the file's order."""
        return [str(name) for name in self.cells]

    def place(self, rows: Iterable[int] = (), column: str | None = None) -> str:
        """Names rows and a column of the file: ``labels.csv, row 7, column 'sex'``."""
        rows = sorted(rows)
        parts = [self.path.name]
        if rows:
            parts.append(("row " if len(rows) == 1 else "rows ") + ranges(rows))
        if column is not None:
            parts.append(f"column '{column}'")
        return ", ".join(parts)


@dataclass(frozen=True)
class Fault:
    """The same mistake in some rows of one column; the texts are those of a `Problem`."""

    rows: Sequence[int]
    found: str
    expected: str = ""
    advice: str = ""


def problems_of(sheet: Sheet, column: str, faults: Sequence[Fault]) -> list[Problem]:
    """The faults of a column as problems; where there are very many, the last one names the rows of all the others."""
    told = faults if len(faults) <= LISTED + 1 else faults[:LISTED]
    problems = [Problem(sheet.place(f.rows, column), f.found, f.expected, f.advice) for f in told]
    if len(told) < len(faults):
        rest = [row for fault in faults[len(told) :] for row in fault.rows]
        problems.append(Problem(sheet.place(rest, column), f"the same kind of mistake in {len(rest)} more rows"))
    return problems


def ranges(numbers: Sequence[int], most: int = 12) -> str:
    """Ascending numbers as text, neighbours joined: ``3, 7-9, 12``, at most `most` of such parts."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    text = ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs[:most])
    more = sum(len(run) for run in runs[most:])
    return f"{text} and {more} more" if more else text


def read_sheet(path: Path) -> Sheet:
    """Reads a .csv, .tsv, .xls or .xlsx file.

    Raises:
        InputError: the file is missing, a folder, neither text nor a spreadsheet, or badly quoted; it has no rows, or
            lines above the header; a column name stands twice; a row has more cells than the header.
    """
    with contextlib.suppress(RuntimeError):  # ~somebody, whom nobody knows: so named, or missing
        path = path.expanduser()
    data = _bytes(path)
    unread = ""
    if data.startswith(SPREADSHEETS):
        lines, unread = _spreadsheet(data, path)
        separator, notes = "", [unread] if unread else []
    else:
        lines, separator, notes = _text(data, path)
    filled = [(number, line) for number, line in enumerate(lines, start=1) if any(line)]
    if len(filled) < 2:
        found = "the file is empty" if not filled else "there are no rows below the header"
        expected = "a header and one row for each scan"
        raise InputError(Problem(str(path), found, expected, unread or "Was it written completely?"))
    (header_row, header), *body = filled
    _refuse_title(path, filled, unread)
    names = [name or f"column {number}" for number, name in enumerate(header, start=1)]
    problems = []
    for name in sorted({name for name in names if names.count(name) > 1}):
        letters = " and ".join(_letters(number) for number, other in enumerate(names) if other == name)
        found = f"the column name '{name}' stands {names.count(name)} times (columns {letters})"
        advice = "Rename or delete all but one: it cannot be told which is meant."
        problems.append(Problem(f"{path.name}, row {header_row}", found, "each name once", advice))
    for number, line in body:
        if any(line[len(names) :]):
            found = f"{len(line)} cells, more than the {len(names)} columns of the header"
            sign = SEPARATORS[separator].removesuffix("s")
            advice = f"If a {sign} belongs to a value (34,5), put that value in quotes or write it without."
            problems.append(Problem(f"{path.name}, row {number}", found, f"{len(names)} cells", advice))
    if problems:
        raise InputError(*problems[: LISTED + 1])
    rows = [(line + [""] * len(names))[: len(names)] for _, line in body]
    cells = pd.DataFrame(np.array(rows, dtype=object), index=[number for number, _ in body], columns=names, dtype="str")
    if separator != "," and (columns := _with_decimal_commas(cells)):
        cells[columns] = cells[columns].apply(lambda column: column.str.replace(",", "."))
        listed = ", ".join(f"'{column}'" for column in columns)
        notes.append(f"{path.name}: decimal commas are written as points (39,5 as 39.5) in {listed}.")
    named = np.array([bool(name) for name in header])  # without a name, as after a separator at the end of every line,
    return Sheet(path, cells.loc[:, named | cells.any()], separator, tuple(notes), unread)  # what is empty is no column


def _refuse_title(path: Path, filled: Sequence[tuple[int, list[str]]], unread: str) -> None:
    """Refuses a table whose first row fills fewer than half of the cells that another one does: that is no header."""
    counts = [sum(map(bool, line)) for _, line in filled]
    most = max(counts)
    if 2 * counts[0] >= most:
        return
    likely = next(number for (number, _), count in zip(filled, counts, strict=True) if 2 * count >= most)
    found = f"this row fills {counts[0]} cells and others {most}: it names no columns"
    advice = f"Is the header in row {likely}? Then delete what stands above it. {unread}".strip()
    raise InputError(Problem(f"{path.name}, row {filled[0][0]}", found, "the names of the columns", advice))


def _with_decimal_commas(cells: pd.DataFrame) -> list[str]:
    """The columns with a decimal comma in which whatever has a digit is a number without a point."""
    with_digits = {str(name): cells[name][cells[name].str.contains(r"\d")] for name in cells}
    return [
        name
        for name, column in with_digits.items()
        if column.str.contains(",").any() and column.str.fullmatch(r"[+-]?\d+(,\d+)?").all()
    ]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*") if p.suffix.lower() in (".csv", ".tsv", ".xls", ".xlsx")]
        near = difflib.get_close_matches(path.name, beside, n=1) or (beside if len(beside) == 1 else [])
        advice = f"Did you mean '{path.with_name(near[0])}'?" if near else "Check the path; a relative one counts from "
        advice += "" if near else f"the current folder, {Path.cwd()}."
        raise InputError(Problem(str(path), "there is no such file", READ, advice)) from None
    except IsADirectoryError:
        advice = "Name the file inside it. `tfmri labels` can build one from a folder of scans."
        raise InputError(Problem(str(path), "this is a folder", READ, advice)) from None
    except OSError as error:
        raise InputError(Problem(str(path), f"the file cannot be read: {error.strerror}")) from None


def _text(data: bytes, path: Path) -> tuple[list[list[str]], str, list[str]]:
    """The lines of a text file cell by cell, what stands between cells, and notes."""
    text, notes = _decoded(data, path)
    separator = _separator(text, path)
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    if separator != usual:
        notes.append(f"{path.name}: the columns are separated by {SEPARATORS[separator]}.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return [[cell.strip() for cell in line] for line in reader], separator, notes
    except csv.Error as error:
        raise InputError(
            Problem(
                f"{path.name}, line {reader.line_num}",
                f"the quotation marks do not pair up ({error})",
                "a quoted cell to end before the next separator",
                'Remove the stray ", or save the table anew from a spreadsheet.',
            )
        ) from None


def _decoded(data: bytes, path: Path) -> tuple[str, list[str]]:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", errors="replace"), []
    if b"\0" in data:
        found = "this is neither a text file nor a spreadsheet"
        advice = "From a spreadsheet program, save it as .xlsx or as 'CSV UTF-8'."
        raise InputError(Problem(str(path), found, READ, advice))
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError:
        note = f"{path.name}: not in UTF-8, so read as Windows-1252; check names with accents or umlauts."
        return data.decode("cp1252", errors="replace"), [note]


def _spreadsheet(data: bytes, path: Path) -> tuple[list[list[str]], str]:
    """The rows of the first visible sheet cell by cell, and a sentence on the others, '' where there are none."""
    import python_calamine as calamine

    try:
        book = calamine.load_workbook(io.BytesIO(data))
        kept = [
            sheet.name
            for sheet in book.sheets_metadata
            if sheet.typ == calamine.SheetTypeEnum.WorkSheet and sheet.visible == calamine.SheetVisibleEnum.Visible
        ]
        rows = book.get_sheet_by_name(kept[0]).to_python(skip_empty_area=False) if kept else []
    except calamine.CalamineError as error:
        advice = "Open it in a spreadsheet program, without a password, and save it as .xlsx or as 'CSV UTF-8'."
        raise InputError(Problem(str(path), f"this cannot be read as a spreadsheet ({error})", READ, advice)) from None
    others = ", ".join(f"'{name}'" for name in kept[1:])
    unread = (
        f"{path.name}: read from its first sheet, '{kept[0]}'; the others ({others}) are left out." if others else ""
    )
    return [[_shown(cell) for cell in row] for row in rows], unread


def _shown(cell: object) -> str:
    """A cell as a spreadsheet shows it where no format is set. (The formats themselves are not read.)"""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float):
        return f"{cell:.0f}" if cell.is_integer() and abs(cell) < 1e15 else f"{cell:.15g}"
    if isinstance(cell, datetime.datetime):
        return cell.isoformat(sep=" ")
    return str(cell).strip()


def _separator(text: str, path: Path) -> str:
    """The separator that cuts the header in most cells; where several do, the one that the file's ending stands for."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    candidates = sorted(SEPARATORS, key=lambda sign: sign != ("\t" if path.suffix.lower() == ".tsv" else ","))
    return max(candidates, key=lambda sign: len(next(csv.reader([header], delimiter=sign), [])))


def _letters(index: int) -> str:
    """The name a spreadsheet gives to column `index`, counted from 0: A, B, ..., Z, AA, ..."""
    letters = itertools.chain.from_iterable(itertools.product(map(chr, range(65, 91)), repeat=n) for n in (1, 2, 3))
    return "".join(next(itertools.islice(letters, index, None)))
