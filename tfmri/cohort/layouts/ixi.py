"""IXI: T1-weighted scans `IXI012-HH-1211-T1.nii.gz`, and IXI.xls, which tells who was scanned.

The number after IXI is the person's, IXI_ID in the table. Guys, HH or IOP is the hospital, and stands in the names of
the files only; the last number is the scan's. In the table, sex is 1 for male and 2 for female, and 0 in the columns
HEIGHT, WEIGHT and ..._ID says that nothing was filled in. 26 ids stand in it twice. Rows that agree in sex and age are
taken for one; where only one of them has a value, that is taken. A person whose rows differ in sex or age (219, 328) is
left out: it cannot be told which row belongs to the scan.

Source: https://brain-development.org/ixi-dataset, CC BY-SA 3.0.
"""

import re
from dataclasses import replace
from pathlib import Path

from tfmri.cohort.layouts.found import open_root
from tfmri.cohort.layouts.joining import (
    Candidate,
    Known,
    find_table,
    join,
    merge_rows,
    needed_column,
    other_columns,
    sex_of,
)
from tfmri.cohort.layouts.layout import Layout
from tfmri.cohort.layouts.named_scans import find_named, take_version
from tfmri.cohort.sheet import Sheet, read_sheet
from tfmri.errors import InputError, Problem

SCAN = re.compile(r"(IXI\d{3,4})-([A-Za-z]+)-(\d+)-T1(?![A-Za-z0-9])")
VERSIONS = ("*",)  # as published
TABLE = r"ixi\.(xls|xlsx|csv|tsv)"
OURS = ("subject", "path", "site", "sex", "age")
SEX = {"1": "m", "2": "f"}
EMPTY_IF_ZERO = re.compile(r"height|weight|.*_id")


def ixi(root: Path, table: Path | None = None) -> Layout:
    """Finds the T1-weighted scans of IXI and joins what is known of each person.

    Args:
        root: a folder with the scans, at any depth.
        table: IXI.xls, or a copy of it as .xlsx, .csv or .tsv. None: in `root` or the folder above it.

    Returns:
        subject (``IXI012``), path, site, sex (f or m), age in years at the scan, then the table's other columns. A
        person who was scanned twice has two rows.

    Raises:
        InputError: there is no such folder, table or scan, or not one scan could be joined.
    """
    root = open_root(root, "the folder with the scans of IXI")
    found = [scan for scan in find_named(root, SCAN) if scan.is_nifti]
    if not found:
        expected = "names such as IXI012-HH-1211-T1.nii.gz"
        advice = "`tfmri download ixi` fetches them. An archive (IXI-T1.tar) has to be unpacked first."
        raise InputError(Problem(str(root), "there are no scans of IXI", expected, advice))
    taken, left_out = take_version(found, VERSIONS, root)
    sheet = read_sheet(Path(table) if table else find_table(root, TABLE, "IXI.xls"))
    people, notes = _people(sheet)
    scans = [Candidate(scan.path, scan.id[1], {"subject": scan.id[1], "site": scan.id[2]}) for scan in taken]
    layout = join(root, scans, people, left_out, ("sex", "age"), sheet.path.name)
    return replace(layout, notes=(*notes, *layout.notes))


def _people(sheet: Sheet) -> tuple[dict[str, Known], list[str]]:
    """Id, written as in the names of the files -> what is known of that person; and notes."""
    id_column = needed_column(sheet, r"ixi[_ -]?id|subject|id", "IXI_ID")
    sex, age = needed_column(sheet, r"(sex|gender)(_id)?\b.*", "SEX_ID"), needed_column(sheet, r"age", "AGE")
    others = other_columns(sheet, (id_column, sex, age), OURS)
    rows: dict[str, list[dict[str, str]]] = {}
    for row in sheet.cells.to_dict("records"):
        number = row[id_column].removesuffix(".0")
        if number:
            cells = {"sex": sex_of(row[sex], SEX), "age": row[age]}
            cells |= {name: _filled(column, row[column]) for column, name in others.items()}
            rows.setdefault(f"IXI{int(number):03}" if number.isdecimal() else number, []).append(cells)
    people = {person: merge_rows(those, ("sex", "age")) for person, those in rows.items()}
    table = sheet.path.name
    notes = [f"{table}: sex 1 is written as m and 2 as f; 0 in HEIGHT, WEIGHT and ..._ID as an empty cell."]
    if repeated := [people[person] for person, those in rows.items() if len(those) > 1]:
        agreed = sum(not person.disputed for person in repeated)
        note = (
            f"{table}: {len(repeated)} people have several rows. Those of {agreed} agree in sex and age and are taken"
        )
        notes.append(f"{note} for one, without the other cells in which they differ.")
    return people, notes


def _filled(column: str, cell: str) -> str:
    return "" if cell == "0" and EMPTY_IF_ZERO.fullmatch(column.casefold()) else cell
