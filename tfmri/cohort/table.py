"""The table of scans: reads and validates a labels.csv, and tells all that is wrong with it at once.

`subject` is who must never stand on two sides of a split; `scan` is one image, named after subject, session and run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfmri.cohort import columns as names
from tfmri.cohort.scans import find_images, repeated_images, scan_names
from tfmri.cohort.sheet import Fault, Sheet, problems_of, ranges, read_sheet
from tfmri.cohort.values import is_missing, read_classes, read_numbers, spellings_of
from tfmri.errors import InputError, Problem

SPLITS = {  # canonical name -> spellings
    "train": ("training",),
    "validation": ("val", "valid", "dev", "development"),
    "test": ("testing", "holdout", "hold-out", "held-out"),
}
FIRST = ("subject", "session", "scan", "path", "site", "split")

Classes = Mapping[str, Sequence[object]]  # canonical name -> spellings


@dataclass(frozen=True)
class Cohort:
    """The scans of a study.

    Args:
        table: one row per scan, RangeIndex. Columns: subject, session, scan, path, site, split (str; '' where there is
            none), the targets (str for classes, float for numbers), then the file's other columns as they stand there.
        notes: what was assumed or left out, one sentence each, to be shown to the person.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]


def read_labels(
    path: Path, targets: Mapping[str, Classes | None], columns: Mapping[str, str] = {}, where: str | None = None
) -> Cohort:
    """Reads a labels.csv (or .tsv): who was scanned, where the image is, and what is known of them.

    Args:
        path: the file.
        targets: name -> classes with their spellings, such as ``{'sex': {'f': ['female', 2], 'm': ['male', 1]}}`` (case
            does not matter, 2.0 is 2), or None for a number.
        columns: name in tfmri -> name in the file, where that is not a usual one (`columns.USUAL_NAMES`).
        where: the rows to keep, a pandas query. It sees the cells as they stand in the file, under the file's names and
            tfmri's; a column that holds only numbers is compared as numbers.

    Returns:
        the cohort. Rows without a target are left out, and noted. Paths are absolute; those in the file count from its
        folder. Scans are called ``subject`` or ``subject_session``, further ones of the same session ``..._run-2``,
        ``..._run-3`` in the order of their paths.

    Raises:
        InputError: with every problem of the file.
    """
    _check_settings(targets)
    sheet = read_sheet(Path(path))
    path = sheet.path
    optional = [name for name in names.OPTIONAL if name not in targets]
    found, notes = names.find_columns(sheet, [*targets, "subject", "path"], optional, columns)
    noted = [*sheet.notes, *notes]
    cells = sheet.cells
    if where is not None and where.strip():
        cells = _where(sheet, found, where)
        noted.append(f"{path.name}: {len(cells)} of {len(sheet.cells)} rows are kept by where: {where}")
    cells = _with_targets(sheet, cells, found, targets, noted)

    problems: list[Problem] = []
    table = pd.DataFrame(index=cells.index)
    for name in FIRST:
        table[name] = _text(cells, found.get(name))
    for name, classes in targets.items():
        table[name] = _read_target(sheet, cells[found[name]], table["subject"], name, classes, problems)
    missing = table.index[table["subject"] == ""]
    if len(missing):
        fault = Fault(list(missing), "no subject", "an id", "Without it, scans of one person cannot be kept together.")
        problems += problems_of(sheet, found["subject"], [fault])
    table["path"], faults = find_images(path.absolute().parent, cells[found["path"]])
    problems += problems_of(sheet, found["path"], [*faults, *repeated_images(table)])
    if "split" in found:
        table["split"], faults = _read_split(table)
        problems += problems_of(sheet, found["split"], faults)
    if problems:
        raise InputError(*problems)

    table["scan"] = scan_names(table)
    others = cells.drop(columns=list(dict.fromkeys(found.values())))
    extra = {found[name]: name for name in found if name not in table}
    ours = {*table, *extra.values()}
    taken = {name: names.kept_as(str(name), {*ours, *others}) for name in others if name in ours}
    noted += [f"{path.name}: its column '{old}' is kept as '{new}'." for old, new in taken.items()]
    table = table.join(others.rename(columns=taken)).join(cells[list(extra)].rename(columns=extra))
    table = table.reset_index(drop=True)
    return Cohort(table, (*noted, *_remarks(path, table, targets)))


def _check_settings(targets: Mapping[str, Classes | None]) -> None:
    problems = []
    for name, classes in targets.items():
        if name in FIRST and name != "site":
            problems.append(
                Problem(f"targets.{name}", f"'{name}' cannot be a target", "", "Call the target otherwise.")
            )
        try:
            spellings_of(classes or {})
        except ValueError as error:
            advice = "Give each spelling to one class only."
            problems.append(Problem(f"targets.{name}.classes", str(error), "", advice))
    if problems:
        raise InputError(*problems)


def _where(sheet: Sheet, found: Mapping[str, str], where: str) -> pd.DataFrame:
    """The rows that the query keeps."""
    view = {}
    for column in sheet.cells:
        name = next((name for name, own in found.items() if own == column), column)
        cells = sheet.cells[column]
        filled = cells[~is_missing(cells)]
        numbers, faults = read_numbers(filled, sheet.separator != ",")
        numeric = name not in FIRST and len(filled) > 0 and not faults
        view[column] = view[name] = numbers.reindex(cells.index) if numeric else cells
    example = "a pandas query that is true or false for each row, such as \"age >= 18 and diagnosis == 'healthy'\""
    try:
        kept = pd.DataFrame(view).eval(where, engine="python", local_dict={}, global_dict={})
    except Exception as error:  # pandas raises whatever Python raises on the text
        advice = "Text stands in quotes, names with spaces in `backticks`. "
        advice += f"The columns are {', '.join(map(str, view))}."
        raise InputError(Problem("data.where", f"{where!r} fails: {error}", example, advice)) from None
    if not isinstance(kept, pd.Series) or kept.dtype != bool:
        advice = "To compare, write == and not =." if "=" in where else "Compare the column with something."
        raise InputError(Problem("data.where", f"{where!r} is not a question of yes or no", example, advice))
    if not kept.any():
        advice = "It sees the cells as they are spelled in the file; numbers stand without quotes, ids in quotes."
        found_text = f"{where!r} leaves none of the {len(kept)} rows of {sheet.path.name}"
        raise InputError(Problem("data.where", found_text, "at least some rows", advice))
    return sheet.cells[kept]


def _with_targets(
    sheet: Sheet, cells: pd.DataFrame, found: Mapping[str, str], targets: Mapping[str, Classes | None], noted: list[str]
) -> pd.DataFrame:
    """The rows which have all targets."""
    known = pd.Series(True, index=cells.index)
    for name, classes in targets.items():
        missing = is_missing(cells[found[name]], spellings_of(classes or {}))
        known &= ~missing
        if missing.all():
            advice = "Fill it in, or train for another target."
            raise InputError(
                Problem(sheet.place(column=found[name]), f"all {len(cells)} rows are without {name}", "", advice)
            )
        if missing.any():
            place = sheet.place(cells.index[missing])
            noted.append(f"{place}: no {name}, so left out ({missing.sum()} of {len(cells)} rows).")
    if not known.any():
        found_text = f"no row has all of {', '.join(targets)}"
        raise InputError(Problem(sheet.place(), found_text, "rows that have", "Train for one target at a time."))
    return cells[known]


def _text(cells: pd.DataFrame, column: str | None) -> pd.Series:
    if column is None:
        return pd.Series("", index=cells.index, dtype="str")
    return cells[column].mask(is_missing(cells[column]), "")


def _read_target(
    sheet: Sheet, cells: pd.Series, subjects: pd.Series, name: str, classes: Classes | None, problems: list[Problem]
) -> pd.Series:
    """The target of each row; what is wrong with it is added to `problems`."""
    if classes is None:
        values, faults = read_numbers(cells, decimal_comma=sheet.separator != ",")
        if not faults and values.nunique() == 1:
            found = f"all {len(values)} rows hold {values.iloc[0]:g}"
            advice = f"There is nothing to learn from a {name} that is the same for everybody."
            problems.append(Problem(sheet.place(column=str(cells.name)), found, "different numbers", advice))
    else:
        values, faults = read_classes(cells, classes, f"targets.{name}.classes")
        if not faults:
            problems += _class_problems(sheet, str(cells.name), name, values, subjects, list(classes))
    problems += problems_of(sheet, str(cells.name), faults)
    return values


def _class_problems(
    sheet: Sheet, column: str, name: str, values: pd.Series, subjects: pd.Series, classes: list[str]
) -> list[Problem]:
    place = sheet.place(column=column)
    if values.nunique() == 1:
        found = f"all {len(values)} rows are '{values.iloc[0]}'"
        advice = "With one class there is nothing to tell apart: add scans of another, or widen data.where."
        return [Problem(place, found, f"at least two of {', '.join(classes)}", advice)]
    problems = []
    people = subjects.groupby(values).nunique()
    for label in classes:
        count = int(people.get(label, 0))
        if count < 2:
            rows = list(values.index[values == label])
            found = f"class '{label}' has {'one subject' if count else 'no subject'}"
            advice = "One is needed to learn from and another to test on: add scans, or leave the class out of "
            advice += f"targets.{name}.classes" + (" and its rows out with data.where." if count else ".")
            problems.append(Problem(sheet.place(rows, column), found, "at least 2 subjects", advice))
    return problems


def _read_split(table: pd.DataFrame) -> tuple[pd.Series, list[Fault]]:
    """The file's own split, '' throughout where the column is empty."""
    cells = table["split"]
    if (cells == "").all():
        return cells, []
    filled = cells[cells != ""]
    split, faults = read_classes(filled, SPLITS, "nothing")
    advice = "Correct it; if this column is not about splits, give it another name."
    faults = [Fault(fault.rows, fault.found, fault.expected, advice) for fault in faults]
    if len(filled) < len(cells):
        advice = "Fill in all of them, or empty the column to have the split made for you."
        faults.append(Fault(list(cells.index[cells == ""]), "no split, though other rows have one", "", advice))
    for subject, sides in split.groupby(table["subject"]):
        if subject and sides.nunique() > 1:
            told = " and ".join(f"in {side} (row {ranges(list(rows.index))})" for side, rows in sides.groupby(sides))
            advice = "Else the model is tested on a person it has seen: put them all on the same side."
            faults.append(
                Fault(
                    list(sides.index), f"subject '{subject}' is {told}", "all scans of a subject in one split", advice
                )
            )
    return split.reindex(cells.index, fill_value="").astype("str"), faults


def _remarks(path: Path, table: pd.DataFrame, targets: Mapping[str, Classes | None]) -> list[str]:
    """What is sound but worth knowing."""
    remarks = []
    runs = table["scan"].str.contains(r"_run-\d+$") & table.duplicated(["subject", "session"], keep=False)
    if runs.any():
        remarks.append(
            f"{path.name}: {runs.sum()} scans share subject and session with another; called ..._run-2 and so on."
        )
    sides = [side for side in SPLITS if (table["split"] == side).any()]
    absent = [side for side in SPLITS if side not in sides]
    if sides and absent:
        given = " and ".join(sides)
        remarks.append(
            f"{path.name}: the split column names {given} only; {' and '.join(absent)} will be cut from train."
        )
    for name in [name for name, classes in targets.items() if classes is not None]:
        people = table.groupby(name)["subject"].nunique()
        remarks += [
            f"{path.name}: class '{label}' of {name} has {count} subjects, too few to be in every split."
            for label, count in people.items()
            if count < len(SPLITS)
        ]
    return remarks
