"""The cohort inside a run: scans.csv and splits.csv, which everything after the start of a run reads."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.files import write_csv
from tfmri.images.cache import CachedScan
from tfmri.runs.directory import Run

SOURCE, PREPARED = "source_sha256", "prepared_sha256"  # columns of scans.csv


def write_cohort(run: Run, table: pd.DataFrame, cached: Sequence[CachedScan]) -> None:
    """Writes the scans, with the hashes of each file and of its prepared image, and who stands on which side.

    Args:
        run: to write into.
        table: with `split` (train, validation or test) and `fold` ('1', '2', ...; '' for test, or without folds).
        cached: the prepared scan of each row.
    """
    sources, prepared = [each.source_sha256 for each in cached], [each.sha256 for each in cached]
    write_csv(run.scans, table.drop(columns=["split", "fold"]).assign(**{SOURCE: sources, PREPARED: prepared}))
    write_csv(run.splits, table[["scan", "subject", "split", "fold"]])


def read_cohort(run: Run, target: str, numeric: bool) -> pd.DataFrame:
    """The run's table of scans with its `split` and `fold`; ids and classes as text, a numeric target as float."""
    table = _read_text(run.scans).merge(_read_text(run.splits)[["scan", "split", "fold"]], on="scan", how="left")
    if numeric:
        table[target] = table[target].astype(float)
    return table


def sides_of(table: pd.DataFrame, target: str) -> str:
    """Eight characters that stand for who is on which side and what is true of each, in whatever order.

    Args:
        table: with `scan`, `subject`, `split`, `fold` and the target.
        target: its name.
    """
    known = table[["scan", "subject", "split", "fold", target]].sort_values("scan")
    rows = "\n".join(map(repr, [target, *known.astype(str).itertuples(index=False, name=None)]))
    return hashlib.sha256(rows.encode()).hexdigest()[:8]


def rows_of(table: pd.DataFrame, split: str) -> np.ndarray:
    """Row numbers of a split, int64."""
    return np.flatnonzero(table["split"] == split)


def _read_text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)
