"""What is known of the people in a table of scans, whatever its columns and classes are called: age, sex, diagnosis.

For reading results by, not for learning: a cell that says nothing known is missing, and nothing is refused.
"""

from typing import Any

import numpy as np
import pandas as pd

from tfmri.cohort.columns import USUAL_NAMES, called
from tfmri.cohort.values import read_numbers, spelled

WORDS: dict[str, dict[str, tuple[str, ...]]] = {  # target -> class, in the order of the classes -> its usual spellings
    "sex": {
        "f": ("f", "female", "w", "woman", "women", "girl"),
        "m": ("m", "male", "man", "men", "boy"),
    },
    "diagnosis": {
        "healthy": ("healthy", "hc", "cn", "nc", "nl", "control", "controls", "ctrl", "normal", "cognitively normal"),
        "MCI": ("mci", "emci", "lmci", "mild cognitive impairment"),
        "dementia": ("dementia", "demented", "ad", "alzheimer", "alzheimers", "alzheimer's", "alzheimer's disease"),
    },
}
CODES = {  # what numbers mean by convention: to be checked by who knows the study
    "sex": {
        frozenset({"1", "2"}): ({"1": "m", "2": "f"}, "1 is taken for male and 2 for female (ISO/IEC 5218)"),
        frozenset({"0", "1"}): ({"0": "f", "1": "m"}, "0 is taken for female and 1 for male, as in UK Biobank"),
    }
}


def ages(table: pd.DataFrame) -> pd.Series | None:
    """(n,) years, NaN where unknown; None where no column holds any."""
    cells = _column(table, "age")
    if cells is None:
        return None
    found = cells.astype(float) if pd.api.types.is_numeric_dtype(cells) else read_numbers(cells.astype(str))[0]
    return found if np.isfinite(found).any() else None


def sexes(table: pd.DataFrame) -> pd.Series | None:
    """(n,) 'f', 'm', or '' where unknown; None where no column holds any. Codes as `CODES` reads them."""
    given = _column(table, "sex")
    if given is None:
        return None
    cells = given.astype(str).map(spelled)
    coded = CODES["sex"].get(frozenset(cells[cells.str.fullmatch(r"\d+")]), ({}, ""))[0]
    found = _classes(cells, "sex").where(lambda names: names != "", cells.map(lambda cell: coded.get(cell, "")))
    return found if (found != "").any() else None


def diagnoses(table: pd.DataFrame) -> pd.Series | None:
    """(n,) 'healthy', 'MCI', 'dementia', or '' where none of them is said; None where no column says so of anybody."""
    cells = _column(table, "diagnosis")
    if cells is None:
        return None
    found = _classes(cells.astype(str).map(spelled), "diagnosis")
    return found if (found != "").any() else None


def healthy(table: pd.DataFrame) -> pd.Series | None:
    """(n,) bool, who is said to be healthy; None where no column says so of anybody."""
    found = diagnoses(table)
    if found is None or not (found == "healthy").any():
        return None
    return found == "healthy"


def column(table: pd.DataFrame, what: str) -> str | None:
    """The column that says the 'age', 'sex' or 'diagnosis'; None where there is none."""
    names = [str(name) for name in table.columns]
    return next((name for usual in (what, *USUAL_NAMES[what]) for name in called(usual, names)), None)


def _column(table: pd.DataFrame, what: str) -> pd.Series | None:
    name: Any = column(table, what)
    return None if name is None else table[name]


def _classes(cells: pd.Series, what: str) -> pd.Series:
    names = {word: name for name, words in WORDS[what].items() for word in words}
    return cells.map(lambda cell: names.get(cell, ""))
