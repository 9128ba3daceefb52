"""`tfmri sync`."""

from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Limit, SiteName


@app.command()
def sync(
    site: SiteName = None,
    run: Annotated[
        str | None, typer.Option(metavar="EXP/NAME", help="Only this run; EXP/latest is that of the cluster.")
    ] = None,
    weights: Annotated[bool, typer.Option("--weights", help="Models and checkpoints too.")] = False,
    watch: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=1, help="Again after so long, until Ctrl-C.")
    ] = None,
    limit: Limit = None,
) -> None:
    """Fetches curves, results and job logs of the runs on the cluster; deletes nothing here."""
    from tfmri.workflows.transfer import sync as workflow

    raise typer.Exit(workflow(site, run, weights, watch, limit))
