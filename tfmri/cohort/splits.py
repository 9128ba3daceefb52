"""Who is trained on, validated on, tested on: always whole subjects, and each split with its share of every group.

With folds, what is not tested on is cut into as many parts: each of them is validated on once, by the fit that is
trained on the others.

The rule needs no generator of random numbers, so that it depends on neither the order of rows nor versions of packages:

1. Subjects are put in the order of their groups: the first column of `stratify`, within it the second, and so on. The
   order of the groups, and of the subjects within the last of them, is that of a hash of the seed and their names.
2. They are dealt along that order, each to the split that lags most behind its share. So any stretch of the order, and
   with it each group and each group within a group, has its share of each split to within a subject or two.
3. Where the first column holds classes, each class is dealt by itself: whole numbers of subjects as near to the shares
   as can be (largest remainder), and one at least in each split if there are as many subjects as splits.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from tfmri.cohort.columns import nearest
from tfmri.cohort.values import MISSING
from tfmri.errors import InputError, Problem

BINS = 10  # a number is cut into at most so many quantile bins,
PER_BIN = 10  # with at least so many subjects in each
FEW = 10  # a column with no more different values than this holds classes, be they numbers or not

SPLITS = ("train", "validation", "test")


def assign_splits(table: pd.DataFrame, test: float, validation: float, stratify: Sequence[str], seed: int) -> pd.Series:
    """The split of each row, by subject.

    Args:
        table: a cohort's table. Where its column `split` is filled, that wins. A split it does not name (no row says
            validation, say) is cut from its training subjects, with the share it has among what is not named.
        test: share of the subjects, in [0, 1).
        validation: share of the subjects, in [0, 1). What is left is for training.
        stratify: columns whose distribution should be alike in all splits, the most important first. A subject counts
            with the class of its first scan, or with its mean of a number, in up to ten quantile bins.
        seed: another seed, another split.

    Returns:
        'train', 'validation' or 'test', with the index of `table`.

    Raises:
        InputError: shares that leave nothing to train on, an unknown column, a split column that is filled in part or
            parts a subject or has no train, or fewer subjects than splits.
    """
    return _assign(table, {"train": 1 - test - validation, "validation": validation, "test": test}, stratify, seed)


def assign_folds(table: pd.DataFrame, test: float, folds: int, stratify: Sequence[str], seed: int) -> pd.Series:
    """The fold of each row, by subject, or 'test'.

    Args:
        table: as of `assign_splits`; its own `split` may name test and train, and train is then what is cut.
        test: share of the subjects, in [0, 1).
        folds: how many, 2 or more; subjects are dealt to them by the same rule as to splits.
        stratify: as of `assign_splits`.
        seed: another seed, other folds.

    Returns:
        '1', '2', ... or 'test', with the index of `table`.

    Raises:
        InputError: as `assign_splits`, or a split column that names validation.
    """
    if "split" in table and (table["split"] == "validation").any():
        found = f"folds: {folds}, and a split column that names validation"
        advice = "Write train there, or leave out split.folds."
        raise InputError(Problem("split", found, "a fold to be the validation part", advice))
    shares = {str(number): (1 - test) / folds for number in range(1, folds + 1)} | {"test": test}
    return _assign(table, shares, stratify, seed)


def of_fold(table: pd.DataFrame, fold: int | None) -> pd.DataFrame:
    """A run's `table` as one fit sees it: what stands in its fold is validated on. None changes nothing."""
    return table if fold is None else table.assign(split=table["split"].mask(table["fold"] == str(fold), "validation"))


def _assign(table: pd.DataFrame, shares: Mapping[str, float], stratify: Sequence[str], seed: int) -> pd.Series:
    """The key of `shares` of each row; a split that the table's own column names stays as it is."""
    _check(table, shares, stratify)
    first = table.drop_duplicates("subject").set_index("subject")
    given = first["split"] if "split" in table and (table["split"] != "").any() else pd.Series("train", first.index)
    named = set(given) - {"train"}
    shares = {side: share for side, share in shares.items() if share > 0 and side not in named}
    whole = sum(shares.values())
    shares = {side: share / whole for side, share in shares.items()}
    training = table[table["subject"].isin(given.index[given == "train"])]
    groups = _groups(training, stratify)
    if len(groups) < len(shares):
        found = f"{len(groups)} subjects for {', '.join(shares)}"
        raise InputError(Problem("split", found, "at least one subject for each split", "Add subjects."))
    by_class = bool(stratify) and not _is_number(training, stratify[0])
    sides = given.to_dict() | _deal(groups, shares, by_class, seed)
    return table["subject"].map(sides).astype("str").rename("split")


def _check(table: pd.DataFrame, shares: Mapping[str, float], stratify: Sequence[str]) -> None:
    problems = []
    if min(shares.values()) < 0 or next(iter(shares.values())) <= 0:
        found = " and ".join(f"{side} {share:g}" for side, share in shares.items() if side in ("validation", "test"))
        problems.append(
            Problem("split", found, "shares of at least 0 that add up to less than 1", "Lower one of them.")
        )
    for column in [column for column in stratify if column not in table]:
        near = nearest(column, map(str, table.columns))
        advice = f"Did you mean '{near}'?" if near else f"The columns are {', '.join(map(str, table.columns))}."
        problems.append(Problem("split.stratify", f"there is no column '{column}'", "a column", advice))
    given = table["split"] if "split" in table else pd.Series("", table.index)
    where = "the labels file, column 'split'"
    if (given != "").any():
        unknown = sorted(set(given) - set(SPLITS))
        parted = table["subject"][given.groupby(table["subject"]).transform("nunique") > 1].unique()
        if unknown:
            found = f"it holds {', '.join(repr(value) for value in unknown)}"
            problems.append(Problem(where, found, "train, validation or test in every row", "Fill in all, or none."))
        if len(parted):
            found = f"{len(parted)} subjects stand in two splits, such as '{parted[0]}'"
            problems.append(Problem(where, found, "all scans of a subject in one split", "Correct the column."))
        if "train" not in set(given):
            advice = "Name subjects to train on, or empty the column to have the split made for you."
            problems.append(Problem(where, "no row says train", "some that do", advice))
    if problems:
        raise InputError(*problems)


def _is_number(table: pd.DataFrame, column: str) -> bool:
    numbers = pd.to_numeric(table[column], errors="coerce")
    return bool(numbers.notna().any() and numbers.nunique() > FEW and (numbers.notna() | _blank(table[column])).all())


def _blank(cells: pd.Series) -> pd.Series:
    return cells.isna() | cells.astype("str").str.casefold().isin(list(MISSING))


def _groups(table: pd.DataFrame, stratify: Sequence[str]) -> pd.DataFrame:
    """The group of each subject (index) by each column, as text; it depends on no order of rows."""
    table = table.sort_values(["subject", "scan"])
    groups = pd.DataFrame(index=table["subject"].unique())
    for column in stratify:
        if _is_number(table, column):
            mean = pd.to_numeric(table[column], errors="coerce").groupby(table["subject"]).mean()
            ordered = sorted(mean.dropna())
            bins = min(BINS, max(1, len(ordered) // PER_BIN))
            edges = [ordered[len(ordered) * k // bins] for k in range(1, bins)]
            groups[column] = [
                "" if math.isnan(value) else str(sum(value >= edge for edge in edges)) for value in mean[groups.index]
            ]
        else:
            groups[column] = table.groupby("subject")[column].nth(0).astype("str").fillna("").to_numpy()
    return groups


def _deal(groups: pd.DataFrame, shares: Mapping[str, float], by_class: bool, seed: int) -> dict[str, str]:
    """The split of each subject: steps 1 to 3 of this file's head."""
    labels = {str(subject): tuple(row) for subject, row in zip(groups.index, groups.to_numpy(), strict=True)}

    def place(subject: str) -> list[bytes]:
        group = labels[subject]
        return [_hash(seed, *group[:depth]) for depth in range(1, len(group) + 1)] + [_hash(seed, "subject", subject)]

    order = sorted(labels, key=place)
    parts = list(dict.fromkeys(labels[subject][0] for subject in order)) if by_class else [None]
    sides: dict[str, str] = {}
    owed = dict.fromkeys(shares, 0.0)  # what rounding took from a split in the classes before
    for part in parts:
        subjects = [subject for subject in order if part is None or labels[subject][0] == part]
        quota = {side: share * len(subjects) + owed[side] for side, share in shares.items()}
        counts = _whole(quota, len(subjects))
        owed = {side: quota[side] - counts[side] for side in shares}
        dealt = dict.fromkeys(shares, 0)
        for number, subject in enumerate(subjects, start=1):
            lag = {s: counts[s] * number / len(subjects) - dealt[s] for s in shares if dealt[s] < counts[s]}
            side = max(lag, key=lambda s: round(lag[s], 9))
            dealt[side] += 1
            sides[subject] = side
    return sides


def _whole(quota: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that add up to `total`, near to `quota`; none is 0 if `total` suffices."""
    least = 1 if total >= len(quota) else 0
    counts = {side: max(least, math.floor(round(share, 9))) for side, share in quota.items()}
    while sum(counts.values()) != total:
        lag = {side: round(quota[side] - counts[side], 9) for side in quota}
        if sum(counts.values()) < total:
            counts[max(lag, key=lag.__getitem__)] += 1
        else:
            counts[min((side for side in lag if counts[side] > least), key=lag.__getitem__)] -= 1
    return counts


def _hash(seed: int, *names: str) -> bytes:
    return hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()
