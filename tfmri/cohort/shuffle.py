"""Targets dealt out anew among subjects: what a sound program then learns is nothing."""

from collections.abc import Callable

import numpy as np
import pandas as pd


def shuffled(table: pd.DataFrame, target: str, seed: int) -> pd.DataFrame:
    """The table with the column `target` permuted among the subjects of training and among those of validation.

    Each part (and each fold) keeps its own values, so that the parts stay as alike as they were split. Test scans keep
    their true ones.

    Args:
        table: of scans, with `subject`, `split` and `fold`.
        target: the column.
        seed: the same one gives the same permutation, whatever the order of the rows.
    """
    values = table[target].copy()
    for number, (_, part) in enumerate(table[table["split"] != "test"].groupby(["split", "fold"])):
        part = part.sort_values("scan")
        deal = dealer(part["subject"].to_numpy(str))
        values[part.index] = part[target].to_numpy()[deal(np.random.default_rng([seed, number]))]
    return table.assign(**{target: values})


def dealer(subjects: np.ndarray) -> Callable[[np.random.Generator], np.ndarray]:
    """A function that deals targets out anew: for each of n rows it draws the row whose target it takes.

    Subjects get each other's, those of one subject together. Who has more rows than the one they take from takes them
    again from the first on.

    Args:
        subjects: (n,) of whom each row is.
    """
    _, codes, counts = np.unique(subjects, return_inverse=True, return_counts=True)
    rows, starts = np.argsort(codes, kind="stable"), np.cumsum(counts) - counts
    place = np.empty(len(codes), np.int64)  # of a row among its subject's
    place[rows] = np.arange(len(codes)) - np.repeat(starts, counts)

    def deal(random: np.random.Generator) -> np.ndarray:
        donor = random.permutation(len(counts))[codes]
        return rows[starts[donor] + place % counts[donor]]

    return deal
