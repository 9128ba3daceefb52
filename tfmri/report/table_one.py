"""Who is in a cohort, by split: the first table of a paper."""

from collections.abc import Sequence

import pandas as pd

from tfmri.cohort import known

SIDES = ("train", "validation", "test")
MOST_VALUES = 12  # of a column with classes


def table_one(table: pd.DataFrame, target: str, classes: Sequence[str] = ()) -> list[list[str]]:
    """Rows of cells: a heading, then how many, age, sex, site and target, of each split and of all.

    Args:
        table: the scans with `split`; with folds, what is not test is 'train'.
        target: a column of it.
        classes: of the target, in the order in which they are told.
    """
    sides = [side for side in SIDES if (table["split"] == side).any()]
    groups = [table[table["split"] == side] for side in sides] + [table]
    rows = [["", *sides, "all"], ["scans", *(str(len(group)) for group in groups)]]
    rows.append(["subjects", *(str(group["subject"].nunique()) for group in groups)])
    if (ages := known.ages(table)) is not None:
        described = [_spread(ages[group.index]) for group in groups]
        rows.append(["age, mean (SD), range", *described])
    columns = {"sex": known.sexes(table), "site": table["site"], target: table[target]}
    for name, values in columns.items():
        if values is None or (name == "age" and ages is not None):
            continue
        if pd.api.types.is_numeric_dtype(values):
            rows.append([f"{name}, mean (SD), range", *(_spread(values[group.index]) for group in groups)])
            continue
        counts = values.astype(str).value_counts()
        if len(counts) < 2 or len(counts) > MOST_VALUES:
            continue
        order = [*(each for each in classes if name == target), *sorted(counts.index)]
        for value in dict.fromkeys(each for each in order if each in counts.index):
            of = [int((values[group.index].astype(str) == value).sum()) for group in groups]
            shares = [f"{count} ({count / max(1, len(group)):.0%})" for count, group in zip(of, groups, strict=True)]
            rows.append([f"{name} {value or 'not known'}", *shares])
    return rows


def _spread(values: pd.Series) -> str:
    values = values.dropna()
    if values.empty:
        return "-"
    sd = f" ({values.std():.1f})" if len(values) > 1 else ""
    return f"{values.mean():.1f}{sd}, {values.min():.0f} to {values.max():.0f}"
