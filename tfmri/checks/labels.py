"""What the labels file says: what cannot be read, what cannot be true, who is missing, who may be one person.

How the targets are spread over the splits is told by `checks.balance`.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from tfmri.checks.finding import Finding, Harm, from_problem
from tfmri.cohort.columns import USUAL_NAMES, plain
from tfmri.cohort.layouts.matching import normal_form
from tfmri.cohort.table import FIRST, Classes, Inspection
from tfmri.cohort.values import is_missing, read_numbers

OLDEST = 150  # years: nobody has been as old,
OLD = 105  # and few as this
YEARS_OF_A_STUDY = 15  # more between two scans of a person is not usual
FAR = 6.0  # robust standard deviations from the median, beyond which a number is looked at
CODES = frozenset({-1, -4, -7, -8, -9, -88, -99, -777, -888, -999, -9999, 777, 888, 999, 9999})  # often mean: unknown
MANY_MISSING = 0.1  # share of the rows
SHOWN = 8  # so many values are named in one finding
SAME_PERSON = re.compile(r"[_-](mr|ses|session|visit|v|scan|run|tp|t|wave|w|m|bl|fu)[_-]?\d*$")


def label_findings(inspection: Inspection, targets: Mapping[str, Classes | None]) -> list[Finding]:
    """What there is to say of a labels file.

    Args:
        inspection: the file, as far as it could be read.
        targets: as of `inspect_labels`.
    """
    findings = [
        from_problem(problem, kind, Harm.SPOILS)
        for kind, problems in inspection.problems.items()
        for problem in problems
    ]
    if inspection.cohort is None:
        return findings
    for name, classes in targets.items():
        values = inspection.cohort.table[name]
        findings += _missing_target(inspection, name)
        if classes is None:
            findings += [*_numbers(inspection, name, values), *_few_values(inspection, name, values)]
        findings += _one_person(inspection, name, values, classes)
    findings += [*_other_ages(inspection, targets), *_alike(inspection), *_missing_values(inspection, targets)]
    name = inspection.sheet.path.name
    notes = (note.removeprefix(f"{name}: ").removesuffix(".") for note in inspection.cohort.notes)
    return findings + [Finding("how_the_file_was_read", Harm.NOTE, name, note) for note in notes]


def _finding(
    inspection: Inspection,
    check: str,
    harm: Harm,
    name: str,
    found: str,
    expected: str,
    advice: str,
    picked: Sequence[int],
) -> Finding:
    """A finding about the scans at `picked` positions of the cohort's table, in column `name`."""
    assert inspection.cohort is not None
    rows = [int(row) for row in inspection.cohort.rows[list(picked)]]
    where = inspection.sheet.place(rows, inspection.columns.get(name, name))
    scans = tuple(inspection.cohort.table["scan"].iloc[list(picked)])
    return Finding(check, harm, where, found, expected, advice, scans)


def _missing_target(inspection: Inspection, name: str) -> list[Finding]:
    rows = inspection.left_out.get(name, ())
    if not rows:
        return []
    share = len(rows) / inspection.asked
    many = share > MANY_MISSING
    advice = "If those who lack it differ from the others (the ill, one site), the result holds for the others only."
    return [
        Finding(
            "missing_target",
            Harm.DOUBTFUL if many else Harm.NOTE,
            inspection.sheet.place(rows, inspection.columns[name]),
            f"no {name} in {len(rows)} of {inspection.asked} rows ({share:.0%}), which are left out",
            advice=advice if many else "",
            numbers={"n": len(rows), "share": share},
        )
    ]


def _numbers(inspection: Inspection, name: str, values: pd.Series) -> list[Finding]:
    """Numbers that cannot be, or hardly can be."""
    findings, possible = [], pd.Series(True, values.index)
    if _is(name, "age"):
        findings += _ages(inspection, name, values, Harm.SPOILS)
        possible = values.between(0, OLD)
    known = values[possible]
    strange = np.flatnonzero(possible & _far(values, known)).tolist()
    if strange:
        found = f"{_told(values.iloc[strange])}, far from all others"
        middle = f"half of all lie between {known.quantile(0.25):g} and {known.quantile(0.75):g}"
        advice = _code(values.iloc[strange])
        findings.append(_finding(inspection, "implausible_value", Harm.DOUBTFUL, name, found, middle, advice, strange))
    return findings


def _ages(inspection: Inspection, name: str, values: pd.Series, harm: Harm) -> list[Finding]:
    """Ages that nobody can have, with this harm, and those that few people reach; NaN is passed over."""
    findings = []
    wrong = np.flatnonzero((values < 0) | (values > OLDEST))
    old = np.flatnonzero(values.between(OLD, OLDEST, inclusive="right"))
    if len(wrong):
        advice = _code(values.iloc[wrong])
        if len(wrong) > len(values) / 2:
            middle = values.median()
            advice = f"Are these months (the median is {middle / 12:.0f} years then) or days ({middle / 365.25:.0f})?"
            advice += " Write years."
        found = f"an age of {_told(values.iloc[wrong])}"
        findings.append(
            _finding(inspection, "impossible_value", harm, name, found, f"0 to {OLD} years", advice, wrong.tolist())
        )
    if len(old):
        found = f"an age of {_told(values.iloc[old])}: possible, but hardly anybody's"
        findings.append(
            _finding(inspection, "implausible_value", Harm.DOUBTFUL, name, found, "", "Look it up.", old.tolist())
        )
    return findings


def _far(values: pd.Series, known: pd.Series) -> pd.Series:
    """Whether a number lies far from the bulk of the known ones; where all are positive, on a log scale as well."""

    def far(values: pd.Series, known: pd.Series) -> pd.Series:
        low, middle, high = known.quantile([0.25, 0.5, 0.75])
        spread = max(1.4826 * (known - middle).abs().median(), (high - low) / 1.349)
        return (values - middle).abs() > FAR * spread if spread > 0 else pd.Series(False, values.index)

    result = far(values, known)
    if (known > 0).all():
        result &= far(np.log(values.where(values > 0)), np.log(known))
    return result


def _code(values: pd.Series) -> str:
    if any(value in CODES for value in values):
        return "If it stands for 'unknown', leave the cell empty: the row is left out then."
    return "Correct it, or leave the cell empty: the row is left out then."


def _few_values(inspection: Inspection, name: str, values: pd.Series) -> list[Finding]:
    if not 1 < values.nunique() <= 2:
        return []
    where = inspection.sheet.place(column=inspection.columns[name])
    found = f"only the numbers {' and '.join(f'{value:g}' for value in sorted(values.unique()))}"
    advice = f"If these stand for classes, train targets.{name} as a classification."
    return [Finding("numbers_like_classes", Harm.DOUBTFUL, where, found, "a number that varies", advice)]


def _one_person(inspection: Inspection, name: str, values: pd.Series, classes: Classes | None) -> list[Finding]:
    """Scans of one subject that contradict each other."""
    assert inspection.cohort is not None
    subjects = inspection.cohort.table["subject"]
    groups = values.groupby(subjects)
    if classes is not None:
        parted, harm = groups.nunique() > 1, Harm.DOUBTFUL if _is(name, "sex") else Harm.NOTE
    elif _is(name, "age"):
        parted, harm = groups.max() - groups.min() > YEARS_OF_A_STUDY, Harm.DOUBTFUL
    else:
        return []
    people = list(parted.index[parted])
    if not people:
        return []
    first = " and ".join(str(value) if classes else f"{value:g}" for value in groups.get_group(people[0]).unique())
    found = f"{len(people)} {'subject has' if len(people) == 1 else 'subjects have'} more than one {name}"
    found += f": '{people[0]}' has {first}" if len(people) == 1 else f", such as '{people[0]}' with {first}"
    if harm is Harm.NOTE:
        advice = (
            f"Where {name} can change between sessions this is sound; in splits a subject counts with its first scan."
        )
    else:
        advice = "Are these ids of different people, or is a label wrong? Ids must be right for a sound split."
    picked = np.flatnonzero(subjects.isin(people)).tolist()
    return [_finding(inspection, "subject_contradicts_itself", harm, name, found, "", advice, picked)]


def _other_ages(inspection: Inspection, targets: Mapping[str, Classes | None]) -> list[Finding]:
    """Impossible ages where age is not the target: whoever has them may be another than the file says."""
    assert inspection.cohort is not None
    findings = []
    table = inspection.cohort.table
    for name in [str(name) for name in table if _is(str(name), "age") and str(name) not in targets]:
        cells = table[name]
        values, _ = read_numbers(cells[~is_missing(cells)], inspection.sheet.separator != ",")
        findings += _ages(inspection, name, values.reindex(cells.index), Harm.DOUBTFUL)
    return findings


def _alike(inspection: Inspection) -> list[Finding]:
    """Ids that may be different spellings, or sessions, of one person."""
    assert inspection.cohort is not None
    table = inspection.cohort.table
    subjects = pd.Series(table["subject"].unique())
    sessions = subjects.str.casefold().str.replace(SAME_PERSON, "", regex=True)
    findings: list[Finding] = []
    for forms, check, what in (
        (subjects.map(normal_form), "ids_alike", "may be the same person, spelled differently"),
        (sessions.map(normal_form), "ids_of_sessions", "look like sessions of the same person"),
    ):
        groups = [list(ids) for _, ids in subjects.groupby(forms) if len(ids) > 1]
        if findings or not groups:  # what is spelled differently is told once
            continue
        listed = "; ".join(" and ".join(f"'{each}'" for each in ids) for ids in groups[:SHOWN])
        more = f"; and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
        found = f"ids that {what}: {listed}{more}"
        advice = "If so, give all scans of a person the same subject (and another session): else a split parts them."
        picked = np.flatnonzero(table["subject"].isin([each for ids in groups for each in ids])).tolist()
        findings.append(_finding(inspection, check, Harm.DOUBTFUL, "subject", found, "", advice, picked))
    return findings


def _missing_values(inspection: Inspection, targets: Mapping[str, Classes | None]) -> list[Finding]:
    """Columns that are filled in part."""
    assert inspection.cohort is not None
    table = inspection.cohort.table
    columns = ["site", "session", *(name for name in table if name not in {*FIRST, *targets})]
    missing = {
        str(name): int(is_missing(table[name].astype("str")).sum())
        for name in dict.fromkeys(columns)
        if name not in targets
    }
    part = {name: count for name, count in missing.items() if 0 < count < len(table)}
    findings = []
    if count := part.pop("site", 0):
        picked = np.flatnonzero(table["site"] == "").tolist()
        found = f"no site in {count} of {len(table)} rows"
        advice = "They count as a site of their own; fill it in, for scanners differ more than people do."
        findings.append(_finding(inspection, "missing_values", Harm.DOUBTFUL, "site", found, "", advice, picked))
    part.pop("session", 0)  # usual where most people came once
    if part:
        listed = ", ".join(
            f"'{name}' in {count}" for name, count in sorted(part.items(), key=lambda each: -each[1])[:SHOWN]
        )
        more = f", and {len(part) - SHOWN} columns more" if len(part) > SHOWN else ""
        found = f"of {len(table)} rows, no value for {listed}{more}"
        findings.append(Finding("missing_values", Harm.NOTE, inspection.sheet.path.name, found))
    return findings


def _told(values: pd.Series) -> str:
    """The different values, the first of them: `-3, 700 and 4 more`."""
    different = [f"{value:g}" for value in sorted(values.unique())]
    more = f" and {len(different) - SHOWN} more" if len(different) > SHOWN else ""
    return ", ".join(different[:SHOWN]) + more


def _is(name: str, what: str) -> bool:
    return plain(name) in {plain(usual) for usual in (what, *USUAL_NAMES[what])}
