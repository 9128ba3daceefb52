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
    tune: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Search (tfmri tune), by so many workers at once, instead of training."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the qsub commands and ask whether such jobs could run; submit none.")
    ] = False,
) -> None:
    """Submits Grid Engine jobs: prepare the scans, train every fit, evaluate; or search for better settings."""
    from tfmri.workflows.submit import Wanted, submit_experiment

    print(submit_experiment(experiment, overrides or (), Wanted(run, site, tune, dry_run)))
