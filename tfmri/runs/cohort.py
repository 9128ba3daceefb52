"""The cohort inside a run: scans.csv and splits.csv, which everything after the start of a run reads."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.files import write_csv
from tfmri.runs.directory import Run


def write_cohort(run: Run, table: pd.DataFrame, sha256: Sequence[str]) -> None:
    """Writes the scans, with the hash of each prepared image, and who stands on which side."""
    write_csv(run.scans, table.drop(columns="split").assign(prepared_sha256=list(sha256)))
    write_csv(run.splits, table[["scan", "subject", "split"]])


def read_cohort(run: Run, target: str, numeric: bool) -> pd.DataFrame:
    """The run's table of scans with its `split` column; ids and classes as text, a numeric target as float."""
    table = _read_text(run.scans).merge(_read_text(run.splits)[["scan", "split"]], on="scan", how="left")
    if numeric:
        table[target] = table[target].astype(float)
    return table


def rows_of(table: pd.DataFrame, split: str) -> np.ndarray:
    """Row numbers of a split, int64."""
    return np.flatnonzero(table["split"] == split)


def _read_text(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)
