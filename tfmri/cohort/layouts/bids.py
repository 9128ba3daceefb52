"""BIDS, the Brain Imaging Data Structure: scans in sub-*/[ses-*/]anat/, what is known in tables beside them.

Source: https://bids-specification.readthedocs.io, "Data summary files", "Anatomy imaging data" and "Derivatives".
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfmri.cohort.columns import USUAL_NAMES
from tfmri.cohort.layouts.found import Scan, folders_in, no_images, open_root, that_fit, unusable
from tfmri.cohort.layouts.layout import Layout, join
from tfmri.cohort.layouts.matching import SESSION_WORDS, match_ids
from tfmri.cohort.layouts.names import is_image
from tfmri.cohort.layouts.people import read_people
from tfmri.cohort.sheet import read_sheet
from tfmri.errors import InputError, Problem, did_you_mean

EXPECTED = "the folder of a BIDS dataset"
FORMS = ("space", "res", "den", "desc")  # parts of the names of derivatives: the same scan, worked on in several ways


def bids(
    root: Path,
    table: Path | None = None,
    suffix: str = "T1w",
    derivatives: str | None = None,
    id: str | None = None,
    targets: Sequence[str] = (),
    pattern: str | None = None,
) -> Layout:
    """Finds the scans of one kind in a BIDS dataset and joins what is known of each person, and of each session.

    Args:
        root: the folder that holds sub-*.
        table: what is known of the people, with their ids (``sub-01``, or ``01``); where it also has a column for the
            session, a row per session. None: participants.tsv in `root`. Where there are sub-*/sub-*_sessions.tsv, what
            stands there goes before it.
        suffix: the last part of the names: T1w, T2w, FLAIR, ...
        derivatives: the scans are those in derivatives/NAME, as of fmriprep. Where it has a scan in several forms, that
            in its own space is taken (without ``space-``), unless `pattern` says otherwise.
        id: the column of `table` with the ids.
        targets: the columns of `table` to take; none: all.
        pattern: which scans to take, such as ``*acq-mprage*``: the file's name, or its path below the folder of scans.

    Returns:
        the scans in the order of their paths. Repeated runs and acquisitions are all there, told apart by a column for
        each such part of the file names (``run``, ``acq``).

    Raises:
        InputError: there is no such folder, table, column or scan, or not one scan could be joined.
    """
    root = open_root(root, EXPECTED)
    folder = root if derivatives is None else _derivatives(root, derivatives)
    chosen, aside = that_fit({folder: _paths(folder, suffix)}, pattern, folder)
    scans, notes = _one_form([_scan(path, folder) for _, path in chosen])
    scans, more = _with_sessions(scans, root)
    seen = {scan.subject for scan in scans}
    empty = [person.name for person in folders_in(folder) if person.name.startswith("sub-") and person.name not in seen]
    usual = ("participant_id", *USUAL_NAMES["subject"])
    people = read_people(Path(table or _participants(root)), scans, empty, id, targets, usual, prefix="sub-")
    return join(root, scans, people, empty, (*notes, *more), aside=aside)


def _derivatives(root: Path, name: str) -> Path:
    folder = root / "derivatives" / name
    if folder.is_dir():
        return folder
    there = [path.name for path in folders_in(root / "derivatives")] if (root / "derivatives").is_dir() else []
    expected = f"one of {', '.join(there)}" if there else "a folder `derivatives` with folders in it"
    advice = did_you_mean(name, there) or "Check the name, or leave --derivatives out for the scans as they were taken."
    raise InputError(Problem(str(folder), "there is no such folder", expected, advice))


def _paths(root: Path, suffix: str) -> list[Path]:
    patterns = [f"sub-*/{between}anat/*_{suffix}.nii*" for between in ("", "ses-*/")]
    if paths := sorted({path for pattern in patterns for path in root.glob(pattern) if is_image(path)}):
        return paths
    others = sorted(
        {match[1] for path in root.glob("sub-*/**/anat/*.nii*") if (match := re.search(r"_(\w+)\.nii", path.name))}
    )
    if re.match(r"(sub|ses)-", root.name):
        advice = "This looks like the folder of one subject: give the folder above it."
    elif below := [child for child in folders_in(root) if any(child.glob(patterns[0])) or any(child.glob(patterns[1]))]:
        advice = f"There are some in {below[0]}: give that folder."
    elif others:
        advice = f"There are others: {', '.join(others)}. Choose with --suffix."
    elif any(root.glob("sub-*")):
        advice = f"There are sub-* folders, but no {suffix} scans in them: is the download complete?"
    else:
        advice = ""
    raise no_images(
        root, " or ".join(pattern.removesuffix("*") + ".gz" for pattern in patterns), advice, f"{suffix} scans"
    )


def _scan(path: Path, root: Path) -> Scan:
    folders = path.relative_to(root).parts
    session = folders[1] if len(folders) == 4 else ""
    parts = dict(part.split("-", 1) for part in path.name.split("_")[:-1] if "-" in part)
    reason, detail = unusable(path), ""
    for key, above in (("sub", folders[0]), ("ses", session)):
        if not reason and above and f"{key}-{parts.get(key, above[4:])}" != above:
            reason, detail = "no label: whose scan it is cannot be told", f"the file says {key}-{parts[key]}"
    rest = {key: value for key, value in parts.items() if key not in ("sub", "ses")}
    return Scan(path, folders[0], session, rest, reason=reason, detail=detail)


def _one_form(scans: list[Scan]) -> tuple[list[Scan], tuple[str, ...]]:
    """Drops all but one form of each scan: the one in its own space, if that is one."""
    groups: dict[tuple, list[Scan]] = {}
    for scan in scans:
        if not scan.reason:
            other = tuple(sorted((key, value) for key, value in scan.parts.items() if key not in FORMS))
            groups.setdefault((scan.subject, scan.session, other), []).append(scan)
    dropped: dict[Path, str] = {}
    for group in (group for group in groups.values() if len(group) > 1):
        own = [scan for scan in group if "space" not in scan.parts]
        kept = own if len(own) == 1 else []
        reason = "repeated: the same scan in another form" if kept else "repeated: the same scan in several forms"
        dropped |= {scan.path: f"{reason}; choose with --pattern" for scan in group if scan not in kept}
    forms = list(dict.fromkeys(_form(scan) for scan in scans if scan.path in dropped))
    notes = (f"To choose a form: {' or '.join(f'--pattern {form!r}' for form in forms[:4])}.",) if forms else ()
    return [replace(scan, reason=dropped.get(scan.path, scan.reason)) for scan in scans], notes


def _form(scan: Scan) -> str:
    parts = [f"{key}-{value}" for key, value in scan.parts.items() if key in FORMS]
    return f"*_{'_'.join(parts)}_*" if parts else scan.path.name.replace(scan.subject, "*")


def _participants(root: Path) -> Path:
    """participants.tsv of the dataset; for the folder of its derivatives, that of the scans as they were taken."""
    above = [root.parent.parent] if root.parent.name == "derivatives" else []
    for folder in (root, *above):
        if (path := folder / "participants.tsv").is_file():
            return path
    advice = "Give a table of the people with --table (.tsv, .csv, .xls or .xlsx, with a column participant_id)."
    path = root / "participants.tsv"
    raise InputError(Problem(str(path), "there is no such file", "the people's ages, sexes, ...", advice))


def _with_sessions(scans: list[Scan], root: Path) -> tuple[list[Scan], tuple[str, ...]]:
    """Each scan with what its subject's sessions.tsv knows of its session."""
    rows: dict[str, dict[str, dict[str, str]]] = {}
    for subject in {scan.subject for scan in scans if scan.session}:
        path = root / subject / f"{subject}_sessions.tsv"
        if not path.is_file():
            continue
        sheet = read_sheet(path)
        if "session_id" not in sheet.columns:
            advice = "Its rows belong to the sessions named there, such as ses-1."
            raise InputError(Problem(str(path), "there is no column 'session_id'", "one", advice))
        if again := sorted(set(sheet.cells["session_id"][sheet.cells["session_id"].duplicated()])):
            found = f"'{again[0]}' stands in several rows"
            raise InputError(Problem(str(path), found, "a row for each session", "Delete all but one."))
        cells = sheet.cells.set_index("session_id").astype(str)
        rows[subject] = {
            str(session): dict(zip(cells.columns, row, strict=True)) for session, *row in cells.itertuples()
        }
    joined = []
    for scan in scans:
        sessions = rows.get(scan.subject, {})
        match = match_ids([scan.session], list(sessions), SESSION_WORDS).pairs.get(scan.session)
        joined.append(replace(scan, known=sessions[match]) if match is not None else scan)
    names = list(dict.fromkeys(name for scan in joined for name in scan.known))
    count = sum(bool(scan.known) for scan in joined)
    notes = (f"sub-*_sessions.tsv: {', '.join(names)} of {count} scans are those of their session.",) if count else ()
    return joined, notes
