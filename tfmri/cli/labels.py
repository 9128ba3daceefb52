"""`tfmri labels LAYOUT ROOT`."""

from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app

labels = typer.Typer(help="Writes labels.csv from a folder of scans.", no_args_is_help=True)
app.add_typer(labels, name="labels")


@labels.command()
def bids(
    root: Annotated[Path, typer.Argument(metavar="ROOT", help="The folder that holds sub-*/ and participants.tsv.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("labels.csv"),
    table: Annotated[Path | None, typer.Option(help="Another table than participants.tsv.")] = None,
) -> None:
    """From a BIDS dataset: one row a T1-weighted scan, with all columns of participants.tsv."""
    from tfmri.cohort.layouts.bids import bids as read_bids
    from tfmri.cohort.layouts.layout import write_labels

    layout = read_bids(root, table)
    write_labels(layout.table, output)
    print("\n".join([*layout.lines(), f"{output}: {len(layout.table)} rows"]))
