"""Who and when, read from names that people give to files and folders: `Sub_101_ses-2_T1.nii.gz`, `visit1/`.

An id is what stands before the first word for a session, a run, or a kind of image; words for kinds of images in front
of it are skipped. No study has to name its files so: what is read is shown to the person.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from tfmri.cohort.columns import IMAGES

CUT = r"[_\-. ]+"
SESSION = (
    r"(?:ses(?:sion)?|visit|timepoint|tp|scan|mr|wave|month|year|m|y|v|fu|follow[-_ ]?up)[-_ ]?\d+"
    r"|ses-[a-z0-9]+|baseline|bl|fu|follow[-_ ]?up|(?:19|20)\d\d[-_]?(?:0\d|1[0-2])[-_]?[0-3]\d"
)
RUN = r"run[-_ ]?\d+"
KIND = (
    r"t1|t1wi?|t2|t2wi?|t2star|flair|pdw?|mp-?rage|mp2rage|mpr|f?spgr|bravo|tfe|anat(?:omical)?|struct(?:ural)?"
    r"|brain|head|mri?|images?|img|scans?|nifti|nii|data|vol(?:ume)?|bet|n4|stripped|defaced|deface|reg(?:istered)?|norm(?:ali[sz]ed)?"
    r"|mni\w*|preproc\w*|processed|orig|raw|[1-7](?:[._]5)?t|(?:acq|ce|rec|part|echo|desc|space|res)-[a-z0-9]+"
)
MARK = re.compile(f"{CUT}(?:(?P<session>{SESSION})|(?P<run>{RUN})|(?P<kind>{KIND}))(?={CUT}|$)", re.IGNORECASE)
IN_FRONT = re.compile(f"(?:(?:{KIND}){CUT})+", re.IGNORECASE)


@dataclass(frozen=True)
class Name:
    """What a file's name tells: subject, and session and run, '' where it has none."""

    subject: str
    session: str
    run: str


def is_image(path: Path) -> bool:
    """Whether a file is named like a NIfTI image. (`._x.nii.gz`, which macOS leaves on foreign disks, is none.)"""
    return path.name.lower().endswith(IMAGES) and not path.name.startswith(".")


def stem(path: Path) -> str:
    """The file's name without .nii or .nii.gz."""
    return re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)


def read_name(path: Path) -> Name:
    """Reads a file's name.

    >>> read_name(Path("Sub_101_ses-2_T1.nii.gz"))
    Name(subject='Sub_101', session='ses-2', run='')
    """
    text = stem(path)
    text = text[front.end() :] if (front := IN_FRONT.match(text)) else text
    found = {"session": "", "run": ""}
    ends = len(text)
    for mark in MARK.finditer(text):
        if mark["session"] and not any(sign.isdigit() for sign in text[: min(ends, mark.start())]):
            continue  # Sub_M12: without a number before it, this is the id
        ends = min(ends, mark.start())
        for key in found:
            found[key] = found[key] or mark[key] or ""
    return Name(text[:ends], **found)


def session_of_folder(name: str) -> str:
    """The name itself if a folder below a subject's is called like a session (`ses-1`, `baseline`, `2`), else ''."""
    return name if re.fullmatch(rf"{SESSION}|\d\d?", name, re.IGNORECASE) else ""


def is_kind(name: str) -> bool:
    """Whether a folder is called like a kind of image (`T1`, `anat`), and so is nobody's."""
    return re.fullmatch(KIND, name, re.IGNORECASE) is not None
