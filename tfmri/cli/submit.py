"""`tfmri submit EXP`."""

from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Experiment, Overrides


@app.command()
def submit(
    experiment: Experiment,
    overrides: Overrides = None,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="The run's name. One that exists and is unfinished goes on.")
    ] = None,
    site: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A cluster of sge/sites/; else TFMRI_SITE, or sge/user.mk's."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the qsub commands and ask whether such jobs could run; submit none.")
    ] = False,
) -> None:
    """Submits Grid Engine jobs: prepare the scans, train every fit, evaluate."""
    from tfmri.workflows.submit import submit_experiment

    print(submit_experiment(experiment, overrides or (), run, site, dry_run))
