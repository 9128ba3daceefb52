"""IXI: T1-weighted scans `IXI012-HH-1211-T1.nii.gz`, and IXI.xls, which tells who was scanned.

The number after IXI is the person's, IXI_ID in the table. Guys, HH or IOP is the hospital, and stands in the names of
the files only; the last number is the scan's. In the table, sex is 1 for male and 2 for female, and 0 in the columns
HEIGHT, WEIGHT and ..._ID says that nothing was filled in. 26 ids stand in it twice. Rows that agree in sex and age are
taken for one; where only one of them has a value, that is taken. A person whose rows differ in sex or age (219, 328) is
left out: it cannot be told which row belongs to the scan.

Source: https://brain-development.org/ixi-dataset, CC BY-SA 3.0.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import replace
from pathlib import Path

from tfmri.cohort.layouts.found import find_named, images_below, one_version, open_root
from tfmri.cohort.layouts.layout import Layout, join
from tfmri.cohort.layouts.names import is_image
from tfmri.cohort.layouts.people import People, by_person, find_table, needed_column, other_columns, sex_of
from tfmri.cohort.sheet import Sheet, read_sheet
from tfmri.errors import InputError, Problem

SCAN = re.compile(r"(?P<subject>IXI\d{3,4})-(?P<site>[A-Za-z]+)-(?P<number>\d+)-T1(?![A-Za-z0-9])")
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
    found = [scan for scan in find_named(root, SCAN) if is_image(scan.path)]
    if not found:
        expected = "names such as IXI012-HH-1211-T1.nii.gz"
        advice = "`tfmri download ixi` fetches them. An archive (IXI-T1.tar) has to be unpacked first."
        raise InputError(Problem(str(root), "there are no scans of IXI", expected, advice))
    scans, notes = one_version(found, VERSIONS, root)
    scans = [replace(scan, parts={"site": scan.parts["site"]}) for scan in scans]
    sheet = read_sheet(Path(table) if table else find_table(root, TABLE, "IXI.xls"))
    note = f"{sheet.path.name}: sex 1 is written as m and 2 as f; 0 in HEIGHT, WEIGHT and ..._ID as an empty cell."
    known = {scan.path for scan in scans}
    aside = {path: "no name of a T1-weighted scan of IXI" for path in images_below(root) if path not in known}
    return join(root, scans, _people(sheet), notes=(*notes, *sheet.notes, note), aside=aside)


def _people(sheet: Sheet) -> People:
    """What is known of each person, by the id as the files' names have it."""
    id_column = needed_column(sheet, r"ixi[_ -]?id|subject|id", "IXI_ID")
    sex, age = needed_column(sheet, r"(sex|gender)(_id)?\b.*", "SEX_ID"), needed_column(sheet, r"age", "AGE")
    others = other_columns(sheet, (id_column, sex, age), OURS)

    def cells(row: Mapping[Hashable, str]) -> dict[str, str]:
        filled = {name: _filled(column, row[column]) for column, name in others.items()}
        return {"sex": sex_of(row[sex], SEX), "age": row[age], **filled}

    rows = zip(sheet.cells.index, sheet.cells.to_dict("records"), strict=True)
    entries = ((number, _id(row[id_column]), "", cells(row)) for number, row in rows)
    return by_person(sheet.path.name, ["sex", "age", *others.values()], ["sex", "age"], entries)


def _id(cell: str) -> str:
    number = cell.removesuffix(".0")
    return f"IXI{int(number):03}" if number.isdecimal() else number


def _filled(column: str, cell: str) -> str:
    return "" if cell == "0" and EMPTY_IF_ZERO.fullmatch(column.casefold()) else cell
