"""`tfmri labels LAYOUT ROOT`."""

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tfmri.cli import app

if TYPE_CHECKING:
    from tfmri.cohort.layouts.layout import Layout

labels = typer.Typer(help="Writes labels.csv from a folder of scans.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(labels, name="labels")

Root = Annotated[Path, typer.Argument(metavar="ROOT", help="The folder of the scans, as described above.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")]
Account = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Also write a CSV that tells what became of each scan and person."),
]
Table = Annotated[Path, typer.Option(metavar="FILE", help="What is known of the subjects: .csv, .tsv, .xls or .xlsx.")]
OtherTable = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Another table than the layout's own, or where that lies.")
]
Id = Annotated[str | None, typer.Option("--id", metavar="COLUMN", help="The table's column with the ids.")]
Class = Annotated[
    str | None, typer.Option(metavar="NAME", help="The column for the class; by the folders' names by default.")
]
Targets = Annotated[
    list[str] | None, typer.Option("--target", metavar="COLUMN", help="A column of the table to take; all by default.")
]
Pattern = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Which scans to take, such as '*_T1.nii.gz' or 'anat/*'; all by default."),
]
Suffix = Annotated[str, typer.Option(help="What the scans' names end in: T1w, T2w, FLAIR, ...")]
Derivatives = Annotated[
    str | None, typer.Option(metavar="NAME", help="Take the scans in derivatives/NAME, such as fmriprep.")
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN=FIELD",
        help="One more field, such as hand=1707-0.0; {instance} is that of the scan. sex, age and site by default.",
    ),
]
Image = Annotated[
    str | None, typer.Option(metavar="NAME", help="The image in the archive: T1/T1_brain_to_MNI.nii.gz by default.")
]
LABELS = Path("labels.csv")


@labels.command()
def folders(
    root: Root, output: Output = LABELS, target: Class = None, pattern: Pattern = None, report: Account = None
) -> None:
    """A folder per class.

    As in Females/Sub_101_T1.nii.gz, Males/Sub_102_T1.nii.gz.
    """
    from tfmri.cohort.layouts.folders import folders as read

    _write(read(root, target, pattern), output, report)


@labels.command()
def subjects(
    root: Root,
    table: Table,
    output: Output = LABELS,
    id: Id = None,
    target: Targets = None,
    pattern: Pattern = None,
    report: Account = None,
) -> None:
    """A folder (or a file) per subject, and a table.

    As in Sub_101/T1.nii.gz, with sessions as in Sub_101/ses-2/T1.nii.gz.
    """
    from tfmri.cohort.layouts.subjects import subjects as read

    _write(read(root, table, id, target or (), pattern), output, report)


@labels.command()
def bids(
    root: Root,
    output: Output = LABELS,
    table: OtherTable = None,
    id: Id = None,
    target: Targets = None,
    suffix: Suffix = "T1w",
    derivatives: Derivatives = None,
    pattern: Pattern = None,
    report: Account = None,
) -> None:
    """A BIDS dataset.

    As in sub-01/[ses-1/]anat/sub-01_T1w.nii.gz, participants.tsv, sub-01/sub-01_sessions.tsv.
    """
    from tfmri.cohort.layouts.bids import bids as read

    _write(read(root, table, suffix, derivatives, id, target or (), pattern), output, report)


@labels.command()
def ixi(root: Root, output: Output = LABELS, table: OtherTable = None, report: Account = None) -> None:
    """IXI, as published.

    As in IXI012-HH-1211-T1.nii.gz. The site is in the file names, sex and age are in IXI.xls.
    """
    from tfmri.cohort.layouts.ixi import ixi as read

    _write(read(root, table), output, report)


@labels.command()
def oasis(root: Root, output: Output = LABELS, table: OtherTable = None, report: Account = None) -> None:
    """OASIS-1, as published.

    A folder for each session, as in OAS1_0001_MR1. Sex, age and diagnosis (by CDR) are in its table.
    """
    from tfmri.cohort.layouts.oasis import oasis as read

    _write(read(root, table), output, report)


@labels.command()
def ukb(
    root: Root,
    table: Table,
    output: Output = LABELS,
    field: Fields = None,
    image: Image = None,
    report: Account = None,
) -> None:
    """UK Biobank: bulk T1s, and a table of fields.

    As in 1000012_20252_2_0.zip, unpacked or not; the table's columns are such as 31-0.0 and 21003-2.0.
    """
    from tfmri.cohort.layouts.ukb import FIELDS, IMAGE
    from tfmri.cohort.layouts.ukb import ukb as read

    pairs = [given.partition("=") for given in field or ()]
    for name, _, number in pairs:
        if not name or not re.fullmatch(r"\d+-(\d+|{instance})\.\d+", number):
            expected = "expected such as hand=1707-0.0 or weight=21002-{instance}.0"
            raise typer.BadParameter(f"'{name}={number}' names no field; {expected}", param_hint="--field")
    _write(read(root, table, FIELDS | {name: number for name, _, number in pairs}, image or IMAGE), output, report)


def _write(layout: "Layout", output: Path, report: Path | None) -> None:
    from tfmri.cohort.layouts.layout import write_labels
    from tfmri.files import write_csv

    print("\n".join(layout.lines()))
    if report is not None:
        write_csv(report, layout.report)
        print(f"{report}: what became of each")
    write_labels(layout.table, output)
    print(f"{output}: {len(layout.table)} rows")
    print(f"\nnext:\n  tfmri new NAME --labels {shlex.quote(str(output))}")
