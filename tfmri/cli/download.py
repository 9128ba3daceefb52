"""`tfmri download COHORT --to DIR`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app

download = typer.Typer(help="Fetches a public cohort.", no_args_is_help=True)
app.add_typer(download, name="download")


@download.command()
def ixi(
    folder: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where it goes; 9 GB while it is unpacked.")],
    source: Annotated[
        str | None, typer.Option("--from", metavar="URL", help="A mirror's folder with IXI.xls and IXI-T1.tar.")
    ] = None,
) -> None:
    """IXI, healthy adults, 4.5 GB.

    581 T1-weighted scans from three hospitals, and a table of the people. If it is interrupted, run it again.
    """
    from tfmri.cohort.download import IXI, download_ixi

    folder = folder.expanduser()
    download_ixi(folder, source or IXI)
    print(f"{folder} holds the scans (IXI-T1/) and the table (IXI.xls), under CC BY-SA 3.0: name as their source")
    print("https://brain-development.org/ixi-dataset.")
    print(f"\nnext:\n  tfmri labels ixi {shlex.quote(str(folder))} -o {shlex.quote(str(folder / 'labels.csv'))}")
