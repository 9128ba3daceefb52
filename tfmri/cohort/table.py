"""The table of scans: reads and validates a labels.csv, and tells all that is wrong with it at once.

`subject` is who must never stand on two sides of a split; `scan` is one image, named after subject, session and run.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
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
TOO_UNIFORM = frozenset({"constant_target", "one_class", "class_of_one"})  # problems of learning alone


@dataclass(frozen=True)
class Step:
    """How much is left after one step on the way from a labels file to a cohort.

    Args:
        name: `in labels.csv`, `where age > 18`, `with sex`.
        rows: of the file.
        subjects: named in these rows.
    """

    name: str
    rows: int
    subjects: int


@dataclass(frozen=True)
class Cohort:
    """The scans of a study.

    Args:
        table: one row per scan, RangeIndex. Columns: subject, session, scan, path, site, split (str; '' where there is
            none), the targets (str for classes, float for numbers), then the file's other columns as they stand there.
        notes: what was assumed or left out, one sentence each, to be shown to the person.
        rows: (len(table),) the row of the file that each scan stands in, as a spreadsheet counts.
        flow: from all rows of the file to those of the table.
    """

    table: pd.DataFrame
    notes: tuple[str, ...]
    rows: np.ndarray
    flow: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """A labels file with all that is wrong in it.

    Args:
        sheet: the file as it stands.
        columns: name in tfmri -> name in the file, of those that were found.
        cohort: the rows in which nothing is wrong; None where there are none. Its `split` may be partly filled, and
            have a subject on two sides, where a problem says so. Its notes do not tell of `left_out`.
        problems: what is wrong, by its kind in snake_case, such as 'missing_image'.
        left_out: target -> the rows of the file that have none.
        asked: how many rows there are that `where` keeps.
    """

    sheet: Sheet
    columns: Mapping[str, str]
    cohort: Cohort | None
    problems: Mapping[str, Sequence[Problem]]
    left_out: Mapping[str, Sequence[int]]
    asked: int


def read_labels(
    path: Path,
    targets: Mapping[str, Classes | None],
    columns: Mapping[str, str] = {},
    where: str | None = None,
    images: Mapping[str, str] = {},
    to_learn: bool = True,
) -> Cohort:
    """Reads a labels.csv (or .tsv): who was scanned, where the image is, and what is known of them.

    Args:
        path: the file.
        targets: name -> classes with their spellings, such as ``{'sex': {'f': ['female', 2], 'm': ['male', 1]}}`` (case
            does not matter, 2.0 is 2), or None for a number.
        columns: name in tfmri -> name in the file, where that is not a usual one (`columns.USUAL_NAMES`).
        where: the rows to keep, a pandas query. It sees the cells as they stand in the file, under the file's names and
            tfmri's; a column that holds only numbers is compared as numbers.
        images: further columns that name an image in every row, other channels or masks, checked as `path` is; and of
            each, what to say where there is none.
        to_learn: whether people are to be learnt from. Others may be one person, of one class or one age.

    Returns:
        the cohort. Rows without a target are left out, and noted. Paths are absolute; those in the file count from its
        folder. Scans are called ``subject`` or ``subject_session``, further ones of the same session ``..._run-2``,
        ``..._run-3`` in the order of their paths.

    Raises:
        InputError: with every problem of the file.
    """
    inspection = inspect_labels(path, targets, columns, where, images)
    problems = [
        problem for kind, each in inspection.problems.items() for problem in each if to_learn or kind not in TOO_UNIFORM
    ]
    if problems or inspection.cohort is None:
        raise InputError(*problems)
    cohort = inspection.cohort
    left_out = [
        f"{inspection.sheet.place(rows)}: no {name}, so left out ({len(rows)} of {inspection.asked} rows)."
        for name, rows in inspection.left_out.items()
    ]
    return replace(cohort, notes=(*cohort.notes, *left_out))


def inspect_labels(
    path: Path,
    targets: Mapping[str, Classes | None],
    columns: Mapping[str, str] = {},
    where: str | None = None,
    images: Mapping[str, str] = {},
) -> Inspection:
    """Reads a labels file as far as it can be read. The arguments are those of `read_labels`.

    Raises:
        InputError: the file cannot be read as a table at all, or the settings are wrong: the targets, or `where`.
    """
    _check_settings(targets)
    sheet = read_sheet(Path(path))
    path = sheet.path
    optional = [name for name in names.OPTIONAL if name not in targets]
    try:
        found, notes = names.find_columns(sheet, [*targets, "subject", "path", *images], optional, columns, images)
    except InputError as error:
        return Inspection(sheet, {}, None, {"missing_column": error.problems}, {}, len(sheet.cells))
    noted = [*sheet.notes, *notes]
    cells = sheet.cells
    flow = [_step(f"in {path.name}", cells, found)]
    if where is not None and where.strip():
        cells = _where(sheet, found, where)
        flow.append(_step(f"where {where}", cells, found))
        noted.append(f"{path.name}: {len(cells)} of {len(sheet.cells)} rows are kept by where: {where}")
    asked = len(cells)
    left_out = _without_targets(cells, found, targets)
    for name in targets:
        cells = cells.drop(index=left_out.get(name, []), errors="ignore")
        flow.append(_step(f"with {name}", cells, found))
    if cells.empty:
        nothing = {"missing_target": _nothing_left(sheet, found, left_out, asked)}
        return Inspection(sheet, found, None, nothing, left_out, asked)

    problems: defaultdict[str, list[Problem]] = defaultdict(list)
    unsound: set[int] = set()

    def tell(kind: str, name: str, faults: Sequence[Fault], spared: Collection[int] = ()) -> None:
        if faults:
            problems[kind] += problems_of(sheet, found[name], faults)
            unsound.update(row for fault in faults for row in fault.rows if row not in spared)

    table = pd.DataFrame(index=cells.index)
    for name in FIRST:
        table[name] = _text(cells, found.get(name))
    for name, classes in targets.items():
        table[name], faults = _read_target(cells[found[name]], classes, name, sheet.separator != ",")
        tell("unknown_value" if classes is not None else "not_a_number", name, faults)
        if not faults:
            for kind, problem in _too_uniform(sheet, found[name], name, table[name], table["subject"], classes):
                problems[kind].append(problem)
    missing = list(table.index[table["subject"] == ""])
    if missing:
        fault = Fault(missing, "no subject", "an id", "Without it, scans of one person cannot be kept together.")
        tell("missing_subject", "subject", [fault])
    for name in ("path", *images):
        table[name], faults = find_images(path.absolute().parent, cells[found[name]])
        tell("missing_image", name, faults)
    tell("repeated_image", "path", repeated_images(table), spared=table.index[~table["path"].duplicated()])
    if "split" in found:
        table["split"], by_kind = _read_split(table)
        for kind, faults in by_kind.items():
            tell(kind, "split", faults, spared=table.index)

    table, cells = table.drop(index=list(unsound)), cells.drop(index=list(unsound))
    if table.empty:
        return Inspection(sheet, found, None, problems, left_out, asked)
    table["scan"] = scan_names(table)
    others = cells.drop(columns=list(dict.fromkeys(found.values())))
    extra = {found[name]: name for name in found if name not in table}
    ours = {*table, *extra.values(), "fold"}  # which a run adds
    taken = {name: names.kept_as(str(name), {*ours, *others}) for name in others if name in ours}
    noted += [f"{path.name}: its column '{old}' is kept as '{new}'." for old, new in taken.items()]
    table = table.join(others.rename(columns=taken)).join(cells[list(extra)].rename(columns=extra))
    rows = table.index.to_numpy()
    table = table.reset_index(drop=True)
    cohort = Cohort(table, (*noted, *_remarks(path, table, targets)), rows, tuple(flow))
    return Inspection(sheet, found, cohort, problems, left_out, asked)


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


def _step(name: str, cells: pd.DataFrame, found: Mapping[str, str]) -> Step:
    return Step(name, len(cells), int(_text(cells, found["subject"]).mask(lambda ids: ids == "").nunique()))


def _without_targets(
    cells: pd.DataFrame, found: Mapping[str, str], targets: Mapping[str, Classes | None]
) -> dict[str, list[int]]:
    """Target -> the rows in which it is missing, of the targets that are not in every row."""
    missing = {name: is_missing(cells[found[name]], spellings_of(classes or {})) for name, classes in targets.items()}
    return {name: list(cells.index[without]) for name, without in missing.items() if without.any()}


def _nothing_left(
    sheet: Sheet, found: Mapping[str, str], left_out: Mapping[str, Sequence[int]], asked: int
) -> list[Problem]:
    """What is wrong where no row has all targets."""
    for name, rows in left_out.items():
        if len(rows) == asked:
            advice = "Fill it in, or train for another target."
            return [Problem(sheet.place(column=found[name]), f"all {asked} rows are without {name}", "", advice)]
    told = f"no row has all of {', '.join(left_out)}"
    return [Problem(sheet.place(), told, "rows that have", "Train for one target at a time.")]


def _text(cells: pd.DataFrame, column: str | None) -> pd.Series:
    if column is None:
        return pd.Series("", index=cells.index, dtype="str")
    return cells[column].mask(is_missing(cells[column]), "")


def _read_target(
    cells: pd.Series, classes: Classes | None, name: str, decimal_comma: bool
) -> tuple[pd.Series, list[Fault]]:
    if classes is None:
        return read_numbers(cells, decimal_comma)
    return read_classes(cells, classes, f"targets.{name}.classes")


def _too_uniform(
    sheet: Sheet, column: str, name: str, values: pd.Series, subjects: pd.Series, classes: Classes | None
) -> list[tuple[str, Problem]]:
    """Why nothing can be learnt from a target whose every cell can be read: kinds and problems."""
    place = sheet.place(column=column)
    if values.nunique() == 1 and classes is None:
        found = f"all {len(values)} rows hold {values.iloc[0]:g}"
        advice = f"There is nothing to learn from a {name} that is the same for everybody."
        return [("constant_target", Problem(place, found, "different numbers", advice))]
    if classes is None:
        return []
    if values.nunique() == 1:
        found = f"all {len(values)} rows are '{values.iloc[0]}'"
        advice = "With one class there is nothing to tell apart: add scans of another, or widen data.where."
        return [("one_class", Problem(place, found, f"at least two of {', '.join(classes)}", advice))]
    problems = []
    people = subjects.groupby(values).nunique()
    for label in classes:
        count = int(people.get(label, 0))
        if count < 2:
            rows = list(values.index[values == label])
            found = f"class '{label}' has {'one subject' if count else 'no subject'}"
            advice = "One is needed to learn from and another to test on: add scans, or leave the class out of "
            advice += f"targets.{name}.classes" + (" and its rows out with data.where." if count else ".")
            problems.append(("class_of_one", Problem(sheet.place(rows, column), found, "at least 2 subjects", advice)))
    return problems


def _read_split(table: pd.DataFrame) -> tuple[pd.Series, dict[str, list[Fault]]]:
    """The file's own split, '' throughout where the column is empty, and what is wrong with it by kind."""
    cells = table["split"]
    if (cells == "").all():
        return cells, {}
    filled = cells[cells != ""]
    split, faults = read_classes(filled, SPLITS, "nothing")
    advice = "Correct it; if this column is not about splits, give it another name."
    unknown = [Fault(fault.rows, fault.found, fault.expected, advice) for fault in faults]
    empty, parted = [], []
    if len(filled) < len(cells):
        advice = "Fill in all of them, or empty the column to have the split made for you."
        empty.append(Fault(list(cells.index[cells == ""]), "no split, though other rows have one", "", advice))
    for subject, sides in split.groupby(table["subject"]):
        if subject and sides.nunique() > 1:
            told = " and ".join(f"in {side} (row {ranges(list(rows.index))})" for side, rows in sides.groupby(sides))
            advice = "Else the model is tested on a person it has seen: put them all on the same side."
            found = f"subject '{subject}' is {told}"
            parted.append(Fault(list(sides.index), found, "all scans of a subject in one split", advice))
    split = split.reindex(cells.index).fillna("").astype("str")
    return split, {"unknown_split": unknown, "split_in_part": empty, "subject_on_two_sides": parted}


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
