"""A labels file in which nothing is wrong, for tests to change, and what `read_labels` says of one."""

from pathlib import Path

import pytest

from tfmri.cohort.table import read_labels
from tfmri.errors import InputError, Problem

SEX = {"sex": {"f": ["female", 2], "m": ["male", 1]}}
AGE = {"age": None}
GOOD = (
    "subject,path,sex,age",
    "001,scans/01.nii.gz,f,34",
    "002,scans/02.nii.gz,Female,41.5",
    "003,scans/03.nii.gz,2.0,29",
    "004,scans/04.nii.gz,m,50",
    "005,scans/05.nii.gz,MALE,61",
    "006,scans/06.nii.gz,1,33",
)


def changed(row: int, line: str) -> list[str]:
    """The good lines with another one in this row, as a spreadsheet counts."""
    return [*GOOD[: row - 1], line, *GOOD[row:]]


def problems(path: Path, targets=SEX, **settings) -> list[Problem]:
    with pytest.raises(InputError) as caught:
        read_labels(path, targets, **settings)
    return list(caught.value.problems)


def problem(path: Path, targets=SEX, **settings) -> Problem:
    found = problems(path, targets, **settings)
    assert len(found) == 1, found
    return found[0]
