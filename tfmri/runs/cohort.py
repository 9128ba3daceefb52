"""The cohort inside a run: scans.csv and splits.csv, which everything after the start of a run reads."""

from collections.abc import Sequence

import pandas as pd

from tfmri.files import write_csv
from tfmri.runs.directory import Run


def write_cohort(run: Run, table: pd.DataFrame, sha256: Sequence[str]) -> None:
    """Writes the scans, with the hash of each prepared image, and who stands on which side."""
    write_csv(run.scans, table.drop(columns="split").assign(prepared_sha256=list(sha256)))
    write_csv(run.splits, table[["scan", "subject", "split"]])


def read_cohort(run: Run, target: str, numeric: bool) -> pd.DataFrame:
    """The run's table of scans with its `split` column; ids and classes as text, a numeric target as float."""
    text = {"dtype": str, "keep_default_na": False}
    table = pd.read_csv(run.scans, **text).merge(pd.read_csv(run.splits, **text)[["scan", "split"]], on="scan", how="left")
    if numeric:
        table[target] = table[target].astype(float)
    return table
