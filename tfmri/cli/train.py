"""`tfmri train EXP`."""

from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Experiment, Overrides


@app.command()
def train(
    experiment: Experiment,
    overrides: Overrides = None,
    run: Annotated[
        str | None, typer.Option(metavar="NAME", help="The run's name. One that exists and is unfinished goes on.")
    ] = None,
    fold: Annotated[
        int | None, typer.Option(metavar="K", help="Train this fold only, of an experiment with split.folds.")
    ] = None,
) -> None:
    """Trains a model as an experiment file says, or one for each fold."""
    from tfmri.experiment.load import find_experiment, load_experiment
    from tfmri.workflows import train as workflow

    path = find_experiment(experiment)
    _, code = workflow.train(load_experiment(path, overrides or ()), path.stem, run, fold)
    raise typer.Exit(code)
