"""UK Biobank: T1-weighted scans as bulk field 20252 hands them out, and a table of fields.

A bulk file is `EID_20252_INSTANCE_ARRAY.zip`; instance 2 is the first imaging visit and 3 the repeat, and they are the
sessions here. Scans are read straight from these archives (`1000012_20252_2_0.zip/T1/T1_brain_to_MNI.nii.gz`), or from
folders where they were unpacked under the same name, or as `EID/T1/...`, which is then taken for instance 2.

A column of the table is a field, an instance and an array index, named in one of several ways: `21003-2.0` (ukbconv),
`f.21003.2.0` (its R files), `p21003_i2` (the research analysis platform), `age_f21003_2_0`, `x21003_2_0`. Sex is field
31 (0 female, 1 male), age at the visit 21003, the assessment centre 54. The table may be of many gigabytes: it is read
line by line, and only the needed columns of people with a scan are kept. Who withdrew has a negative eid, or no row.

Source: https://biobank.ndph.ox.ac.uk/showcase, fields 31, 54, 21003 and 20252.
"""

import csv
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO, cast

import pandas as pd

from tfmri import archives
from tfmri.cohort.layouts.found import Scan, open_root, unusable, walk
from tfmri.cohort.layouts.layout import Layout, join
from tfmri.cohort.layouts.people import People, by_person, sex_of
from tfmri.cohort.sheet import SPREADSHEETS, read_sheet
from tfmri.errors import InputError, Problem
from tfmri.progress import progress

T1 = "20252"
IMAGE = "T1/T1_brain_to_MNI.nii.gz"
FIELDS = {"sex": "31-0.0", "age": "21003-{instance}.0", "site": "54-{instance}.0"}
SEX = {"0": "f", "1": "m"}
FIRST_IMAGING = "2"

BULK = re.compile(r"(?P<eid>\d{7})_(?P<field>\d{5})_(?P<instance>\d+)_\d+(?P<zip>\.zip)?", re.IGNORECASE)
EID_FOLDER = re.compile(r"\d{7}")
EID = re.compile(r"(?:\w+[._])?eid|participant[ _.]?id")
COLUMNS = (
    r"(\d+)-(\d+)\.(\d+)",  # 31-0.0
    r"f\.(\d+)\.(\d+)\.(\d+)",  # f.31.0.0
    r"(?:participant\.)?p(\d+)(?:_i(\d+))?(?:_a(\d+))?",  # p31, p21003_i2
    r"(?:\w+_)?[fx]_?(\d+)_(\d+)_(\d+)",  # sex_f31_0_0, x31_0_0
)
NOTHING = (-1, -1, -1)
MANY = 500  # archives that take a while to look into

Row = Sequence[str]
Rows = Iterator[tuple[int, str, Row | None]]  # number, eid and, of those wanted, the cells


def ukb(root: Path, table: Path, fields: Mapping[str, str] = FIELDS, image: str = IMAGE) -> Layout:
    """Finds UK Biobank's T1-weighted scans and joins the fields of a table.

    Args:
        root: the folder with the bulk files or what they were unpacked to, at any depth.
        table: .csv, .tsv or .txt (also .gz) with a column `eid`, or a spreadsheet.
        fields: column of labels.csv -> ``field-instance.array``, with ``{instance}`` for the scan's own.
        image: the image to take, in the archive.

    Returns:
        subject (the eid), session (the instance), path, and the fields: sex (f or m), age in years at this visit, site
        (the number of the assessment centre).

    Raises:
        InputError: there is no such folder, table, scan or any of the fields, or not one scan could be joined.
    """
    root = open_root(root, "the folder with the bulk files of UK Biobank")
    visits, others = _find(root, image)
    if not visits:
        expected = f"names such as 1000012_{T1}_2_0.zip"
        advice = "It may hold bulk files as they came, or what they were unpacked to."
        there = f"no scans of UK Biobank, but {len(others)} bulk files of other fields" if others else "no scans"
        raise InputError(Problem(str(root), f"there are {there}", expected, advice))
    table = Path(table).expanduser()
    people = _read_table(table, {(visit.subject, visit.session) for visit in visits}, fields)
    unnamed = sum(visit.path.name == visit.subject for visit in visits)
    note = f"Folders that do not tell the visit are taken for instance {FIRST_IMAGING}, the first imaging: {unnamed}."
    scans = [*_images(visits, image), *others]
    scans.sort(key=lambda scan: (scan.subject, scan.session, scan.path))
    return join(root, scans, people, notes=[note] if unnamed else [])


def _find(root: Path, image: str) -> tuple[list[Scan], list[Scan]]:
    """The archives or folders of the visits with a T1, and the bulk files that are left out, with the reason."""
    visits: dict[tuple[str, str], Scan] = {}
    others = []
    for folder, folders, files in walk(root):
        for name in [*folders, *files]:
            path, bulk, is_folder = folder / name, BULK.fullmatch(name), name in folders
            if bulk and (is_folder or bulk["zip"]):
                scan = Scan(path, bulk["eid"], bulk["instance"])
            elif is_folder and EID_FOLDER.fullmatch(name) and (path / image).is_file():
                scan = Scan(path, name, FIRST_IMAGING)
            else:
                continue
            if is_folder:
                folders.remove(name)
            if bulk and bulk["field"] != T1:
                reason = f"no image: bulk field {bulk['field']}, not {T1}, the T1-weighted scan"
                others.append(replace(scan, reason=reason))
            elif visits.setdefault((scan.subject, scan.session), scan) is not scan:
                others.append(replace(scan, reason="repeated: there is another of the same visit"))
    return list(visits.values()), others


def _images(visits: Sequence[Scan], image: str) -> Iterator[Scan]:
    """The image of each visit; where there is none, its archive or folder with the reason."""
    with progress(len(visits), "looking into", "archives", len(visits) > MANY) as advance:
        for visit in visits:
            if archives.is_file(visit.path / image):
                reason = "" if visit.path.is_file() else unusable(visit.path / image)
            elif visit.path.is_file() and not zipfile.is_zipfile(visit.path):
                reason = "no image: a damaged archive"
            else:
                reason = f"no image: no {image} in it"
            yield replace(visit, reason=reason) if reason else replace(visit, path=visit.path / image)
            advance()


def _read_table(path: Path, visits: Collection[tuple[str, str]], fields: Mapping[str, str]) -> People:
    """What the table says of each visit (eid and instance).

    Raises:
        InputError: the table cannot be read, or it has no eid, or none of the fields.
    """
    header, read = _open_table(path)
    plain = [name.strip().casefold() for name in header]
    eids = [place for place, name in enumerate(plain) if EID.fullmatch(name)]
    if not eids:
        expected = "a column 'eid', also called f.eid, participant.eid or Participant ID"
        advice = "Is this the table of fields, with the names of the columns in its first row?"
        raise InputError(Problem(str(path), f"no column holds the eid; there are {_some(header)}", expected, advice))
    places = {key: place for place, name in reversed([*enumerate(plain)]) if (key := _parse(name))}
    columns = {
        (name, instance): places.get(_parse(spelling.format(instance=instance)) or NOTHING)
        for name, spelling in fields.items()
        for instance in sorted({instance for _, instance in visits})
    }
    if not any(place is not None for place in columns.values()):
        asked = list(dict.fromkeys(fields[name].format(instance=instance) for name, instance in columns))
        found = f"none of the fields is among its {len(header)} columns: {_some(header)}"
        advice = "Names such as f.31.0.0 and p31 are understood too."
        raise InputError(Problem(str(path), found, ", ".join(asked), advice))
    notes = [
        f"{path.name} has no {fields[name].format(instance=instance)}: no {name} for scans of instance {instance}."
        for (name, instance), place in columns.items()
        if place is None
    ]
    instances: dict[str, list[str]] = {}
    for eid, instance in visits:
        instances.setdefault(eid, []).append(instance)
    rows, others, withdrawn = [], dict[str, None](), 0
    for number, eid, row in read(eids[0], instances):
        if eid.startswith("-"):
            withdrawn += 1
        elif row is None:
            others[eid] = None
        else:
            for instance in instances[eid]:
                cells = {name: "" if (at := columns[name, instance]) is None else row[at].strip() for name in fields}
                if "sex" in cells:
                    cells["sex"] = sex_of(cells["sex"], SEX)
                rows.append((number, eid, instance, cells))
    if withdrawn:
        notes.append(f"{path.name}: rows of people who withdrew (negative eid) are left out: {withdrawn}.")
    people = by_person(path.name, list(fields), [name for name in fields if name != "site"] or list(fields), rows)
    return replace(people, others=list(others), notes=(*notes, *people.notes))


def _parse(name: str) -> tuple[int, int, int] | None:
    """Field, instance and array index that a column's name in lower case stands for, None if it is no field's."""
    match = next((match for pattern in COLUMNS if (match := re.fullmatch(pattern, name))), None)
    return None if match is None else (int(match[1]), int(match[2] or 0), int(match[3] or 0))


def _open_table(path: Path) -> tuple[list[str], Callable[[int, Container[str]], Rows]]:
    """The header, and what goes through the rows, given the place of the eid and those that are wanted."""
    try:
        with path.open("rb") as file:
            is_spreadsheet = file.read(8).startswith(SPREADSHEETS)
        if is_spreadsheet:
            cells = read_sheet(path).cells
            return list(map(str, cells)), lambda place, wanted: _spreadsheet_rows(cells, place, wanted)
        with _opened(path) as text:
            line = text.readline()
    except FileNotFoundError:
        found = "there is no such file"
        raise InputError(Problem(str(path), found, "the table of fields", "Check the path.")) from None
    except (OSError, EOFError) as error:
        raise _unreadable(path, error) from error
    headers = {sign: next(csv.reader([line], delimiter=sign), []) for sign in ",\t;"}
    separator, header = max(headers.items(), key=lambda item: len(item[1]))
    return header, lambda place, wanted: _text_rows(path, separator, len(header), place, wanted)


def _spreadsheet_rows(cells: pd.DataFrame, place: int, wanted: Container[str]) -> Rows:
    for number, *row in cells.itertuples(name=None):
        if row[place]:
            yield number, row[place], row if row[place] in wanted else None


def _text_rows(path: Path, separator: str, width: int, place: int, wanted: Container[str]) -> Rows:
    """Lines whose eid, in front, is not wanted are not cut into cells: of a table of half a million people, most."""
    try:
        with _opened(path) as text:
            text.readline()
            for number, line in enumerate(text, start=2):
                while line.count('"') % 2 and (more := text.readline()):  # a line break inside quotation marks
                    line += more
                eid = line.split(separator, 1)[0].strip(' "\r\n')
                if place == 0 and eid not in wanted:
                    if eid:
                        yield number, eid, None
                    continue
                row = next(csv.reader(io.StringIO(line, newline=""), delimiter=separator), [])
                if len(row) != width:
                    found, advice = f"{len(row)} cells", "Is the table whole, and are texts with commas in quotes?"
                    where = f"{path.name}, line {number}"
                    raise InputError(Problem(where, found, f"{width}, as the header has", advice))
                eid = row[place].strip()
                yield number, eid, row if eid in wanted else None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise _unreadable(path, error) from error


def _opened(path: Path) -> TextIO:
    opened = gzip.open if path.suffix == ".gz" else open
    return cast(TextIO, opened(path, "rt", encoding="utf-8-sig", errors="replace", newline=""))


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(Problem(str(path), f"the table cannot be read ({error})", "", "Copy or export it again."))


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(f"'{name}'" for name in names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")
