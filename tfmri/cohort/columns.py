"""Which column of a file is which: the usual names in the field, and how a file's own names are matched to them.

Names are compared without regard to case, spaces, dashes and underscores: ``Participant ID`` is ``participant_id``.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import pandas as pd

from tfmri.cohort.sheet import Sheet
from tfmri.cohort.values import is_missing
from tfmri.errors import InputError, Problem

# Where a file has several of these names, the first in this order is taken.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "subject": (
        "subject",
        "participant_id",
        "subject_id",
        "participant",
        "sub",
        "sub_id",
        "patient_id",
        "patient",
        "ptid",
        "eid",
        "ixi_id",
        "id",
    ),
    "session": ("session", "session_id", "visit", "visit_id", "viscode", "timepoint", "time_point", "ses"),
    "path": (
        "path",
        "scan_path",
        "image_path",
        "file_path",
        "filename",
        "file_name",
        "file",
        "image",
        "image_file",
        "t1w",
        "t1",
    ),
    "site": ("site", "site_id", "scanner", "scanner_id", "center", "centre", "hospital", "institution"),
    "split": ("split", "data_split", "train_test_split"),
    "sex": ("sex", "gender", "m/f"),
    "age": ("age", "age_years", "age_at_scan", "age_at_visit", "scan_age"),
    "diagnosis": ("diagnosis", "dx", "diagnostic_group", "dx_group"),
}
IMAGES = (".nii", ".nii.gz")
OPTIONAL = ("session", "site", "split")


def plain(name: str) -> str:
    """A column name as it is compared: lower case, without spaces, dashes and underscores."""
    return re.sub(r"[\s_-]", "", name.casefold())


def kept_as(name: str, taken: Collection[str]) -> str:
    """What a file's own column is called where tfmri needs its name: ``file_scan``, or ``file_scan_`` if that is taken.

    Args:
        name: of the column in the file.
        taken: names that are in use; underscores are added until the result is none of them.
    """
    kept = f"file_{name}"
    while kept in taken:
        kept += "_"
    return kept


def called(name: str, columns: Sequence[str]) -> list[str]:
    """The columns that `name` means, one spelled exactly so first."""
    return sorted((column for column in columns if plain(column) == plain(name)), key=lambda column: column != name)


def tells_sessions(cells: pd.DataFrame, column: str, subject: str | None) -> bool:
    """Whether a column with a usual name for it does hold sessions: ``SES`` is also the socio-economic status.

    A column called so does if all that stands in it begins so too (``ses-1``), or tells scans of a subject apart.

    Args:
        cells: of the file.
        column: one of its.
        subject: the one with the subjects, where it is known.
    """
    if plain(column) != "ses":
        return True
    filled = cells[~is_missing(cells[column])]
    if len(filled) and filled[column].str.match("ses", case=False).all():
        return True
    return subject is not None and bool((filled.groupby(subject)[column].nunique() > 1).any())


def nearest(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate spelled most like `name`, or None where none is at all like it."""
    by_plain = {plain(candidate): candidate for candidate in candidates}
    found = difflib.get_close_matches(plain(name), by_plain, n=1)
    return by_plain[found[0]] if found else None


def find_columns(
    sheet: Sheet,
    wanted: Iterable[str],
    optional: Iterable[str],
    given: Mapping[str, str],
    more: Mapping[str, str] = {},
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Finds the columns of a file that hold what is wanted.

    Args:
        sheet: the file.
        wanted: names in tfmri, such as 'subject' or a target's; each must be found. The first claim a column.
        optional: names that may be absent.
        given: name in tfmri -> name in the file, from the settings `data.columns`; they go before the usual names.
        more: what to say, besides, of a wanted name that is missing.

    Returns:
        name in tfmri -> name in the file, and notes on what was assumed.

    Raises:
        InputError: a wanted column is missing, or a given one is not in the file.
    """
    wanted, optional = list(wanted), list(optional)
    own = list(sheet.cells.columns)
    if any(name.lower().endswith(IMAGES) for name in own):
        advice = f"Put a row above it with the names of the columns, such as {', '.join(wanted)}."
        raise InputError(Problem(sheet.place([1]), "this row names an image", "the names of the columns", advice))
    problems = _given_problems(sheet, own, [*wanted, *optional], given)
    found = {name: matches[0] for name, column in given.items() if (matches := called(column, own))}
    assumed, notes = [], []
    for name in [*wanted, *optional]:
        if name in given:
            continue
        free = [column for column in own if column not in found.values()]
        candidates = list(dict.fromkeys(c for usual in (name, *USUAL_NAMES.get(name, ())) for c in called(usual, free)))
        if name == "session":
            candidates = [c for c in candidates if tells_sessions(sheet.cells, c, found.get("subject"))]
        if not candidates:
            continue
        found[name] = candidates[0]
        if candidates[0] != name:
            assumed.append(f"'{candidates[0]}' as {name}")
        if candidates[1:]:
            others = " and ".join(f"'{column}'" for column in candidates[1:])
            setting = f"data.columns.{name}={candidates[1]}"
            notes.append(f"{sheet.path.name}: {name} is taken from '{candidates[0]}', not from {others} ({setting}).")
    claimed, missing = list(found.values()), [name for name in wanted if name not in {*found, *given}]
    problems += [_missing(sheet, name, own, claimed, more.get(name, "")) for name in missing]
    if problems:
        raise InputError(*problems)
    if assumed:
        notes.insert(0, f"{sheet.path.name}: read {', '.join(assumed)}.")
    return found, tuple(notes)


def _given_problems(sheet: Sheet, own: list[str], known: list[str], given: Mapping[str, str]) -> list[Problem]:
    problems = []
    for name, column in given.items():
        if name not in known and (near := difflib.get_close_matches(name, known, n=1, cutoff=0.8)):
            where = f"data.columns.{name}"
            problems.append(
                Problem(where, f"nothing is called '{name}'", "", f"Did you mean 'data.columns.{near[0]}'?")
            )
        elif not called(column, own):
            near_column = nearest(column, own)
            advice = f"Did you mean '{near_column}'?" if near_column else "Correct the name, or leave the setting out."
            found = f"{sheet.path.name} has no column '{column}'"
            problems.append(Problem(f"data.columns.{name}", found, f"one of {_listed(own)}", advice))
    return problems


def _missing(sheet: Sheet, name: str, own: list[str], claimed: list[str], more: str) -> Problem:
    usual = USUAL_NAMES.get(name, (name,))
    free = [column for column in own if column not in claimed]
    candidate = next((near for known in usual if (near := nearest(known, free))), None)
    if name == "path":  # what holds the images shows in the cells, whatever its name
        holds = [column for column in free if sheet.cells[column].str.lower().str.endswith(IMAGES).any()]
        candidate = holds[0] if holds else None
    example = candidate or "NAME"
    advice = f"Did you mean '{candidate}'? If so" if candidate else "If it has another name"
    advice += f", say so with --set data.columns.{name}={example}; otherwise add the column."
    also = f", also called {' or '.join(usual[1:4])}" if usual[1:] else ""
    found = f"no column holds the {name}; there are {_listed(own)}"
    return Problem(
        sheet.place(), found, f"a column '{name}'{also}", " ".join(filter(None, [advice, more, sheet.unread]))
    )


def _listed(names: list[str], most: int = 15) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more
