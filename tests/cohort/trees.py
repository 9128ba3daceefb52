"""Folders full of files that are called like scans; no layout looks into them."""

from pathlib import Path

from tfmri.cohort.layouts.layout import Layout


def tree(root: Path, *files: str) -> Path:
    """Makes files below a folder; those that end in / are empty folders."""
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith("/"):
            (root / file).mkdir(exist_ok=True)
        else:
            (root / file).write_bytes(file.encode())
    return root


def fates(layout: Layout) -> dict[str, tuple[str, str]]:
    """What became of each item."""
    return {row["item"]: (row["fate"], row["reason"]) for row in layout.report.to_dict("records")}


def joined(layout: Layout, *columns: str) -> list[tuple[str, ...]]:
    """Columns of the table, row by row."""
    return list(layout.table[list(columns)].itertuples(index=False, name=None))
