"""What reading a layout gives: the table of a labels.csv, and an account of every scan and person."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.files import write_text


@dataclass(frozen=True)
class Layout:
    """What was found and what became of it.

    Args:
        table: one row per scan that was joined, all str: subject, session (where there are any), path (absolute), what
            the file names tell, then the columns of the participants' table.
        report: one row per scan found and per person without one. Columns: item (the scan's path below the root, or
            the person's id), fate ('joined', 'dropped', 'no scan'), reason ('' where joined).
    """

    table: pd.DataFrame
    report: pd.DataFrame

    def lines(self, most: int = 10) -> tuple[str, ...]:
        """The report in lines to print: how many were found, joined and dropped, and which were dropped why."""
        count = self.report["fate"].value_counts()
        joined, dropped = count.get("joined", 0), count.get("dropped", 0)
        people = self.table["subject"].nunique()
        lines = [f"{joined + dropped} scans found, {joined} joined ({people} subjects), {dropped} dropped"]
        for (fate, reason), rows in self.report[self.report["fate"] != "joined"].groupby(
            ["fate", "reason"], sort=False
        ):
            items = list(rows["item"])
            more = f" and {len(items) - most} more" if len(items) > most else ""
            lines.append(f"{fate} ({len(items)}): {reason}: {', '.join(items[:most])}{more}")
        return tuple(lines)


def write_labels(table: pd.DataFrame, path: Path) -> None:
    """Writes a layout's table as a labels.csv at `path`.

    Images below the folder of `path` are named relative to it, so that the folder can move; others by absolute paths.

    Raises:
        InputError: `path` is there and holds something else, which may be work that exists nowhere else.
    """
    folder = path.absolute().parent.resolve()

    def seen_from_there(image: str) -> str:
        return str(Path(image).relative_to(folder)) if Path(image).is_relative_to(folder) else image

    text = table.assign(path=table["path"].map(seen_from_there)).to_csv(index=False)
    if path.exists() and path.read_bytes() != text.encode():
        advice = "Write to another file with --output, or delete this one first."
        raise InputError(
            Problem(str(path), "the file is there, and holds something else than would be written", "", advice)
        )
    write_text(path, text)
