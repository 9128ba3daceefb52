"""What a cell means: missing, one of some classes, or a number."""

import difflib
import math
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from tfmri.cohort.sheet import Fault

MISSING = frozenset({"", "n/a", "#n/a", "na", "nan", "<na>", "none", "null", "unknown"})  # case does not matter
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


def is_missing(cells: pd.Series, spellings: Mapping[str, str] | None = None) -> pd.Series:
    """True where a cell holds nothing or a word for it, unless `spellings` gives that word to a class."""
    words = MISSING - set(spellings or ())
    return cells.str.casefold().isin(list(words))


def spellings_of(classes: Mapping[str, Sequence[object]]) -> dict[str, str]:
    """Spelling, as `spelled` gives it -> class. A class's own name is one of its spellings.

    Raises:
        ValueError: a spelling belongs to two classes; the message says which.
    """
    result: dict[str, str] = {}
    for name, words in classes.items():
        for word in (name, *words):
            other = result.setdefault(spelled(str(word)), name)
            if other != name:
                raise ValueError(f"'{word}' is a spelling of both '{other}' and '{name}'")
    return result


def spelled(word: str) -> str:
    """A spelling as it is compared: without regard to case, and 2.0 is 2."""
    word = word.strip()
    return f"{float(word):.15g}" if NUMBER.fullmatch(word) else word.casefold()


def read_classes(
    cells: pd.Series, classes: Mapping[str, Sequence[object]], setting: str
) -> tuple[pd.Series, list[Fault]]:
    """The class of each cell (missing where the spelling is unknown), and what is wrong with those.

    Args:
        cells: text, indexed by row number; none missing.
        classes: class -> its spellings.
        setting: where the spellings were given, for the advice.
    """
    spellings = spellings_of(classes)
    faults = []
    rows = _rows(cells)
    known = {cell: spellings.get(spelled(cell)) for cell in rows}
    expected = " or ".join(_with_spellings(name, words) for name, words in classes.items())
    for cell, name in known.items():
        if name is None:
            near = difflib.get_close_matches(spelled(cell), spellings, n=1)
            guess = f"Did you mean '{near[0]}'? " if near else ""
            advice = f"{guess}Correct it, or add the spelling to {setting}, or leave such rows out with data.where."
            faults.append(Fault(rows[cell], f"unknown value '{cell}'", expected, advice))
    return cells.map(known).astype("str"), faults


def read_numbers(cells: pd.Series, decimal_comma: bool = False) -> tuple[pd.Series, list[Fault]]:
    """The number in each cell (NaN where there is none), and what is wrong with those.

    Args:
        cells: text, indexed by row number; none missing.
        decimal_comma: whether 34,5 is a number: it is where columns are not separated by commas.
    """
    numbers, faults = {}, []
    for cell, rows in _rows(cells).items():
        comma = DECIMAL_COMMA.fullmatch(cell) is not None
        text = cell.replace(",", ".") if comma and decimal_comma else cell
        numbers[cell] = float(text) if NUMBER.fullmatch(text) else math.nan
        if not math.isfinite(numbers[cell]):
            advice = "Correct the cell; leave it empty where the value is unknown, and the row is left out."
            if comma:
                advice = f"This looks like a decimal comma: write {cell.replace(',', '.')}, with a point."
            faults.append(Fault(rows, f"'{cell}' is not a number", "a number such as 34 or 34.5", advice))
    return cells.map(numbers).astype(float), faults


def _rows(cells: pd.Series) -> dict[str, list[int]]:
    """Text -> the rows where it stands."""
    rows: dict[str, list[int]] = {}
    for row, cell in zip(cells.index, cells, strict=True):
        rows.setdefault(cell, []).append(row)
    return rows


def _with_spellings(name: str, words: Sequence[object]) -> str:
    others = [str(word) for word in words if spelled(str(word)) != spelled(name)]
    return f"'{name}' ({', '.join(others)})" if others else f"'{name}'"
