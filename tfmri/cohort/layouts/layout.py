"""What reading a layout gives: the table of a labels.csv, and an account of every scan and person."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.files import write_text

WIDEST = 100  # characters of examples in a line of the report


@dataclass(frozen=True)
class Layout:
    """What was found and what became of it.

    Args:
        table: one row per scan that was joined, all str: subject, session (where there are any), path (absolute), what
            the file names tell, then what else is known of the person.
        report: one row per scan found and per person without one. Columns: item (the scan's path below the root, or
            the person's id), fate ('joined', 'dropped', 'no scan'), reason ('' where joined; the same words for the
            same reason, beginning with its kind: 'no image: ...', 'no label: ...', 'repeated: ...') and, where there is
            more to tell of a single one, detail.
        notes: what was assumed, one sentence each.
    """

    table: pd.DataFrame
    report: pd.DataFrame
    notes: tuple[str, ...] = ()

    def lines(self, most: int = 3) -> tuple[str, ...]:
        """The report to print: a sentence, then a table with a line for each reason and some examples, then notes."""
        count = self.report["fate"].value_counts()
        joined, dropped = count.get("joined", 0), count.get("dropped", 0)
        people = self.table["subject"].nunique()
        lines = [f"{joined + dropped} scans found, {joined} joined ({people} subjects), {dropped} dropped"]
        rest = self.report[self.report["fate"] != "joined"]
        rows = [
            (str(len(group)), str(fate), str(reason), _examples(group, most))
            for (fate, reason), group in rest.groupby(["fate", "reason"], sort=False)
        ]
        if rows:
            rows = [("count", "fate", "why", "which"), *rows]
            width = [max(len(row[column]) for row in rows) for column in range(3)]
            lines += [f"  {n:>{width[0]}}  {f:<{width[1]}}  {why:<{width[2]}}  {which}" for n, f, why, which in rows]
        return (*lines, *self.notes)


def some_joined(layout: Layout, root: Path, advice: str, target: str | None = None) -> Layout:
    """The layout itself, if it has a row; with a `target`, if it has two classes of it.

    Raises:
        InputError: it has not; the account is part of the message.
    """
    if len(layout.table) and (target is None or layout.table[target].nunique() > 1):
        return layout
    found = f"none of {(layout.report['fate'] == 'dropped').sum()} scans could be joined"
    if len(layout.table):
        found = f"only scans of '{layout.table[target].iloc[0]}' could be taken"
    account = "".join(f"\n    {line}" for line in layout.lines())
    raise InputError(Problem(str(root), found, "two classes" if target else "at least one", advice + account))


def write_labels(table: pd.DataFrame, path: Path) -> None:
    """Writes a layout's table as a labels.csv at `path`.

    Images below the folder of `path` are named relative to it, so that the folder can move; others by absolute paths.

    Raises:
        InputError: the table has no rows; or `path` is there and holds something else, which may be work that exists
            nowhere else.
    """
    if table.empty:
        raise InputError(Problem(str(path), "there is no scan to write down", "at least one"))
    folder = path.absolute().parent.resolve()

    def seen_from_there(image: str) -> str:
        # resolved by its folder only: a dataset of datalad consists of links to files with other names
        place = Path(image).parent.resolve() / Path(image).name
        return str(place.relative_to(folder) if place.is_relative_to(folder) else place)

    text = table.assign(path=table["path"].map(seen_from_there)).to_csv(index=False)
    if path.exists() and path.read_bytes() != text.encode():
        advice = "Write to another file with --output, or delete this one first."
        raise InputError(
            Problem(str(path), "the file is there, and holds something else than would be written", "", advice)
        )
    write_text(path, text)


def _examples(rows: pd.DataFrame, most: int) -> str:
    details = rows["detail"] if "detail" in rows else pd.Series("", index=rows.index)
    items = [f"{item} ({detail})" if detail else item for item, detail in zip(rows["item"], details, strict=True)]
    shown = items[:1]
    while len(shown) < min(most, len(items)) and sum(map(len, shown)) + len(items[len(shown)]) < WIDEST:
        shown.append(items[len(shown)])
    more = f" and {len(items) - len(shown)} more" if len(items) > len(shown) else ""
    return ", ".join(shown) + more
