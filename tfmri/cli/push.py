"""`tfmri push`."""

from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Limit, SiteName


@app.command()
def push(
    site: SiteName = None,
    data: Annotated[
        list[Path] | None, typer.Option(metavar="PATH", help="A folder or file of data to copy there as well.")
    ] = None,
    limit: Limit = None,
) -> None:
    """Copies the code to the cluster, all that git does not ignore; deletes nothing there, and says what to type."""
    from tfmri.workflows.transfer import push as workflow

    raise typer.Exit(workflow(site, data or (), limit))
