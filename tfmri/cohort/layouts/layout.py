"""What every layout gives: scans joined to people, by id and session, with an account of each scan and each person."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfmri.cohort.layouts.found import Scan
from tfmri.cohort.layouts.matching import SESSION_WORDS, Matches, match_ids
from tfmri.cohort.layouts.people import OURS, Cells, Known, People, is_unknown
from tfmri.cohort.sheet import ranges
from tfmri.errors import InputError, Problem
from tfmri.files import write_text

WIDEST = 60  # characters of examples in a line of the account
REPORT = ("item", "fate", "reason", "detail")


@dataclass(frozen=True)
class Layout:
    """What was found and what became of it.

    Args:
        table: one row per scan that was joined, all str: subject, session (where there are any), path (absolute), what
            the file names tell, then what else is known of the person.
        report: one row per scan found and per person without one. Columns: item (the scan's path below the root, or
            the person's id), fate ('joined', 'dropped', 'no scan', 'left aside'), reason ('' where joined; the same
            words for the same reason, of what is dropped or has no scan beginning with its kind: 'no image: ...',
            'no label: ...', 'repeated: ...') and detail (what there is to add of this one).
        notes: what was assumed, one sentence each.
    """

    table: pd.DataFrame
    report: pd.DataFrame
    notes: tuple[str, ...] = ()

    def lines(self, most: int = 3) -> tuple[str, ...]:
        """The account to print: a sentence, then a table with a line for each reason and some examples, then notes."""
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


def join(
    root: Path,
    scans: Sequence[Scan],
    people: People | None = None,
    empty: Collection[str] = (),
    notes: Sequence[str] = (),
    advice: str = "Give the table that belongs to these scans with --table.",
    target: str | None = None,
    aside: Mapping[Path, str] | None = None,
) -> Layout:
    """Joins scans to people.

    Args:
        root: the folder of the scans; the report names them from there.
        scans: what was found; those with a reason are dropped for it.
        people: what a table knows; None: there is none, and what is `known` of the scans will do.
        empty: subjects whose folder holds no scan.
        notes: what was assumed in finding the scans.
        advice: what to do where nobody can be joined.
        target: a column of the result that must have two classes.
        aside: further images, which nobody asked for, and why they are none of the scans.

    Returns:
        the scans in their order, each with what is known of its subject, and of its session where the table has rows of
        sessions.

    Raises:
        InputError: not one scan was joined, or not of two classes; the account is part of the message.
    """
    subjects = list(dict.fromkeys([*(scan.subject for scan in scans), *empty]))
    ids = match_ids(subjects, list(people.known) if people else [])
    joined: list[Cells] = []
    report = []
    for scan in scans:
        cells, reason, detail = None, scan.reason, scan.detail
        if not reason:
            cells, reason, detail = _known(scan, people, ids) if people else ({}, "", "")
        report.append(
            (scan.path.relative_to(root).as_posix(), "dropped" if cells is None else "joined", reason, detail)
        )
        if cells is not None:
            said = {name: value for name, value in scan.known.items() if not is_unknown(value) or name not in cells}
            ours = {"subject": scan.subject, "session": scan.session, "path": str(scan.path)}
            joined.append({**cells, **scan.parts, **said, **ours})
    report += [(item, "no scan", reason, "") for item, reason in _without_scan(scans, people, ids, empty)]
    report += [(path.relative_to(root).as_posix(), "left aside", why, "") for path, why in (aside or {}).items()]
    columns, more = (people.columns, people.notes) if people else ((), ())
    account = pd.DataFrame(report, columns=REPORT, dtype="str")
    layout = Layout(_table(joined, scans, columns), account, (*notes, *more, *ids.notes))
    if len(layout.table) and (target is None or layout.table[target].nunique() > 1):
        return layout
    found = f"none of {len(scans)} scans could be joined"
    if len(layout.table):
        found = f"only scans of '{layout.table[target].iloc[0]}' could be taken"
    if people is None or ids.pairs:
        advice = "The reasons:"
    else:
        theirs = next(iter([*people.known, *people.others]), "")
        advice = people.advice or (
            f"{advice} The scans' subjects are such as '{subjects[0]}', those of {people.name} such as '{theirs}'."
        )
    lines = "".join(f"\n    {line}" for line in layout.lines())
    raise InputError(Problem(str(root), found, "two classes" if target else "at least one", advice + lines))


def _known(scan: Scan, people: People | None, ids: Matches) -> tuple[Cells | None, str, str]:
    """What the table knows of a scan; where it is dropped, None, why, and what there is to add about this scan."""
    if scan.reason:
        return None, scan.reason, scan.detail
    if people is None:
        return {}, "", ""
    if scan.subject in ids.ambiguous:
        return None, "no label: several ids are alike", ids.reasons[scan.subject]
    if scan.subject not in ids.pairs:
        return None, f"no label: no row in {people.name}", ""
    sessions = people.known[ids.pairs[scan.subject]]
    known: Known | None
    if scan.session:
        others = [session for session in sessions if session]
        known = sessions.get(match_ids([scan.session], others, SESSION_WORDS).pairs.get(scan.session, ""))
        if known is None:
            return None, f"no label: this session has no row in {people.name}", f"it has {', '.join(others)}"
    else:
        known, *rest = sessions.values()
        for other in rest:
            differ = [column for column in known.cells if known.cells[column] != other.cells[column]]
            known = Known(known.cells, [*known.rows, *other.rows], [*known.differ, *other.differ, *differ])
    rows = f"{'row' if len(known.rows) == 1 else 'rows'} {ranges(sorted(known.rows))}"
    if known.differ:
        columns = list(dict.fromkeys(known.differ))
        more = f" and {len(columns) - 3} more" if columns[3:] else ""
        return None, f"repeated: rows of {people.name} differ on this person", f"{rows}: {', '.join(columns[:3])}{more}"
    needed = [known.cells[column] for column in people.needed or known.cells]
    if all(map(is_unknown, [*needed, *scan.known.values()])):
        *first, last = people.needed or [""]
        what = f"no {', '.join(first)}{' or ' if first else ''}{last}" if last else "empty"
        return None, f"no label: {what} in {people.name}", rows
    return known.cells, "", ""


def _without_scan(
    scans: Sequence[Scan], people: People | None, ids: Matches, empty: Collection[str]
) -> Iterator[tuple[str, str]]:
    """People, and sessions of people, that the table has and no scan is found of; and folders without scans."""
    found: dict[str, set[str]] = {}
    for scan in scans:
        if scan.subject in ids.pairs:
            found.setdefault(ids.pairs[scan.subject], set()).add(scan.session)
    in_folder, of_id = "no image: no scan in the folder", "no image: no scan of this id"
    if people is not None:
        bare = {ids.pairs[name] for name in empty if name in ids.pairs}
        for person, sessions in people.known.items():
            if person not in found:
                yield person, in_folder if person in bare else of_id
            elif "" not in found[person]:
                there = match_ids(sorted(found[person]), list(sessions), SESSION_WORDS).pairs.values()
                for session in (session for session in sessions if session and session not in there):
                    yield f"{person} {session}", "no image: no scan of this session"
        for person in people.others:
            yield person, of_id
    for name in empty:
        if name not in ids.pairs:
            yield name, in_folder


def _table(joined: Sequence[Cells], scans: Sequence[Scan], columns: Sequence[str]) -> pd.DataFrame:
    parts = sorted({key for scan in scans for key in scan.parts})
    order = list(dict.fromkeys([*OURS, *parts, *columns, *(key for scan in scans for key in scan.known)]))
    table = pd.DataFrame(joined, columns=order, dtype="str").fillna("")
    return table.drop(columns=[name for name in ("session", *parts) if not table[name].any()])


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
    items = [
        f"{item} ({detail})" if detail else item for item, detail in zip(rows["item"], rows["detail"], strict=True)
    ]
    shown = items[:1]
    while len(shown) < min(most, len(items)) and sum(map(len, shown)) + len(items[len(shown)]) < WIDEST:
        shown.append(items[len(shown)])
    more = f" and {len(items) - len(shown)} more" if len(items) > len(shown) else ""
    return ", ".join(shown) + more
