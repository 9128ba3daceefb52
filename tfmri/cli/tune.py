"""`tfmri tune EXP`."""

from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Experiment, Overrides


@app.command()
def tune(
    experiment: Experiment,
    overrides: Overrides = None,
    study: Annotated[
        str, typer.Option(metavar="NAME", help="Its name, also that of its runs: NAME-0001, NAME-0002, ...")
    ] = "tune",
    trials: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="At most so many by this process; those of the study are tune.trials."),
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="HH:MM:SS", help="Save and leave so long after the start; a Grid Engine job's h_rt else."),
    ] = None,
) -> None:
    """Searches for better settings, as the experiment's `tune` section says: on validation, never on test."""
    from tfmri.workflows.tune import Work
    from tfmri.workflows.tune import tune as workflow

    raise typer.Exit(workflow(experiment, overrides or (), Work(study, trials, deadline)))
