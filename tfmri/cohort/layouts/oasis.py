"""OASIS-1, the cross-sectional set: `OAS1_0001_MR1`, and the table oasis_cross-sectional (.csv, .xlsx).

OAS1_0001 is the person and MR1 the session: `_MR2`, of 20 people within 90 days, is the same person again. Diagnosis
comes from the Clinical Dementia Rating (CDR), in the words that OASIS itself has for it:

    CDR       0        0.5        1     2         (3)     blank
    diagnosis healthy  very mild  mild  moderate  severe  empty: unknown

A blank CDR (201 of 436 rows) is unknown and never healthy: most of those people are under 60, and were not rated.
Mild, moderate and severe dementia are few; an experiment joins them as spellings of one class:
`classes: {healthy: [], very mild: [], mild and more: [mild, moderate, severe]}`.

As published, each session has several images, all of them Analyze (.hdr and .img), which has to be converted first.
PROCESSED/MPRAGE/T88_111/*_t88_masked_gfc is the one in the atlas's space without the skull; *_t88_gfc has the skull.
Both are stored as LAS, which is what nibabel takes Analyze for. SUBJ_111 and RAW are not (ASL): nibabel, which these
headers do not tell, would have front for side in them.

Source: Marcus et al. 2007, Journal of Cognitive Neuroscience 19(9); https://brainder.org/2011/08/13/converting-oasis-brains-to-nifti
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tfmri.cohort.layouts.found import Scan, find_named, one_version, open_root
from tfmri.cohort.layouts.layout import Layout, join
from tfmri.cohort.layouts.names import is_image
from tfmri.cohort.layouts.people import (
    People,
    by_person,
    find_table,
    is_unknown,
    needed_column,
    other_columns,
    sex_of,
)
from tfmri.cohort.sheet import Fault, Sheet, problems_of, read_sheet
from tfmri.cohort.values import spelled
from tfmri.errors import InputError, Problem

SESSION = re.compile(r"(?P<subject>OAS1_\d{4})_(?P<session>MR\d)")
TABLE = r".*oasis.*cross.*\.(xlsx|xls|csv|tsv)"
VARYING = r"(?<=_mpr_n)[^_]+|(?<=_mpr-)\d+"  # how many runs an image is the mean of; the number of the run
SEGMENTATION = "_fseg"
VERSIONS = (  # best first, where all are there for as many sessions
    "*_mpr_n*_anon_111_t88_masked_gfc",
    "*_mpr_n*_anon_111_t88_gfc",
    "*_mpr_n*_anon_sbj_111",
    "*_mpr-*_anon",
    "*",
)
OURS = ("subject", "session", "path", "sex", "age", "diagnosis")
STORED_AS_ASL = {(256, 256, 160), (256, 256, 128)}  # voxels of SUBJ_111 and RAW
DIAGNOSES = {"0": "healthy", "0.5": "very mild", "1": "mild", "2": "moderate", "3": "severe"}


def oasis(root: Path, table: Path | None = None) -> Layout:
    """Finds the scans of OASIS-1 and joins what is known of each session.

    Args:
        root: a folder with the scans as NIfTI, at any depth.
        table: oasis_cross-sectional, as .csv, .tsv, .xls or .xlsx. None: in `root` or the folder above it.

    Returns:
        subject (``OAS1_0001``), session (``MR1``), path, sex (f or m), age in years, diagnosis, then the table's other
        columns, CDR among them. One image for each session, of the same version throughout.

    Raises:
        InputError: there is no such folder, table or scan, the scans are Analyze, or not one could be joined.
    """
    root = open_root(root, "the folder with the scans of OASIS-1")
    found = [scan for scan in find_named(root, SESSION, VARYING) if not scan.version.endswith(SEGMENTATION)]
    images = [scan for scan in found if is_image(scan.path)]
    if not images:
        raise InputError(_none_found(root, found))
    scans, notes = one_version(images, VERSIONS, root)
    converted = {(scan.subject, scan.session) for scan in images}
    analyze = {(s.subject, s.session): s for s in found if (s.subject, s.session) not in converted}
    reason = "no image: Analyze (.hdr and .img) only, which has to be converted"
    scans += [replace(scan, reason=reason) for scan in analyze.values()]
    sheet = read_sheet(Path(table) if table else find_table(root, TABLE, "oasis_cross-sectional.csv or .xlsx"))
    layout = join(root, scans, _people(sheet), notes=(*notes, *sheet.notes))
    diagnosis = layout.table["diagnosis"]
    counts = {word: int((diagnosis == word).sum()) for word in DIAGNOSES.values()}
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    note = f"diagnosis, from CDR: {told or 'none'}; {(diagnosis == '').sum()} without CDR are unknown, and left empty."
    return replace(layout, notes=(*layout.notes, note, *_turned(Path(layout.table["path"][0]))))


def _turned(path: Path) -> tuple[str, ...]:
    """A note if an image of SUBJ_111 or RAW was converted as though it were one of T88_111."""
    import nibabel as nib

    try:
        image = nib.load(path)
        axes = "".join(nib.aff2axcodes(image.affine))
    except Exception:  # reading and checking the scans comes later, and says more
        return ()
    if image.shape[:3] not in STORED_AS_ASL or axes[0] not in "LR":
        return ()
    found = f"{path.name}: its header says {axes}, but OASIS-1 stores it as ASL, so that front is taken for side"
    return (f"{found}: convert T88_111 instead, or set the sform (brainder.org, Converting OASIS brains to NIFTI).",)


def _people(sheet: Sheet) -> People:
    """What is known of each session.

    Raises:
        InputError: a column is missing, or a CDR is none.
    """
    id_column = needed_column(sheet, r"id|mri[ _]?id|subject|session", "ID")
    if sheet.cells[id_column].str.startswith("OAS2").any():
        found, advice = "this is the table of OASIS-2, the longitudinal set", "Give the one that belongs to the scans."
        raise InputError(Problem(sheet.place(), found, "oasis_cross-sectional", advice))
    sex, age = needed_column(sheet, r"m/f|mf|sex|gender", "M/F"), needed_column(sheet, r"age", "Age")
    cdr = needed_column(sheet, r"cdr", "CDR")
    others = other_columns(sheet, (id_column, sex, age), OURS)
    rows, faults = [], []
    for number, row in zip(sheet.cells.index, sheet.cells.to_dict("records"), strict=True):
        rating = "" if is_unknown(row[cdr]) else spelled(row[cdr].replace(",", "."))
        if rating and rating not in DIAGNOSES:
            advice = "Correct it; a blank cell is for unknown."
            faults.append(Fault([number], f"'{row[cdr]}' is no CDR", ", ".join(DIAGNOSES), advice))
        id = SESSION.fullmatch(row[id_column])
        cells = {"sex": sex_of(row[sex], {}), "age": row[age], "diagnosis": DIAGNOSES.get(rating, "")}
        cells |= {name: "" if is_unknown(row[column]) else row[column] for column, name in others.items()}
        rows.append((number, id["subject"] if id else row[id_column], id["session"] if id else "", cells))
    if faults:
        raise InputError(*problems_of(sheet, cdr, faults))
    needed = ["sex", "age", "diagnosis"]
    return by_person(sheet.path.name, [*needed, *others.values()], needed, rows)


def _none_found(root: Path, analyze: Sequence[Scan]) -> Problem:
    """Why there is no NIfTI file of OASIS-1."""
    if analyze:
        pattern = "*_t88_masked_gfc.img"
        some = any(scan.path.match(pattern) for scan in analyze)
        sessions = {(scan.subject, scan.session) for scan in analyze}
        found = f"the scans of {len(sessions)} sessions are Analyze (.hdr and .img)"
        convert = """-exec sh -c 'nib-convert "$1" "${1%.img}.nii.gz"' _ {} \\;"""
        advice = "Convert the images without skull, with nibabel's program, and run this again:\n    "
        advice += f"find {shlex.quote(str(root))} -name '{pattern}' {convert}"
        if not some:
            advice = f"Of what OASIS-1 has, take {pattern}: nibabel takes the axes of RAW and SUBJ_111 for others."
        return Problem(str(root), found, "NIfTI (.nii.gz)", advice)
    other = find_named(root, re.compile(r"(?P<subject>OAS[23])\w*?\d{4}"))
    if other:
        found = f"these are scans of OASIS-{other[0].subject[3:]}"
        return Problem(str(root), found, "OASIS-1 (OAS1_0001_MR1)", "Use `tfmri labels subjects`.")
    advice = "An archive (oasis_cross-sectional_disc1.tar.gz) must be unpacked first."
    return Problem(str(root), "there are no scans of OASIS-1", "names such as OAS1_0001_MR1...nii.gz", advice)
