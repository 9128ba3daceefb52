"""`tfmri train EXP`."""

from pathlib import Path
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the experiment's latest run.")] = False,
    fold: Annotated[
        int | None, typer.Option(metavar="K", help="Train this fold only, of an experiment with split.folds.")
    ] = None,
    fit: Annotated[str | None, typer.Option(metavar="NAME", help="Train this fit only, such as fold-3_seed-2.")] = None,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Fits of the same split, each with a seed of its own (seeds=N).")
    ] = None,
    deadline: Annotated[
        str | None,
        typer.Option(metavar="HH:MM:SS", help="Save and leave so long after the start; a Grid Engine job's h_rt else."),
    ] = None,
    hosts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Train together with these hosts: a line name:port for each."),
    ] = None,
    host_index: Annotated[
        int | None, typer.Option(metavar="N", help="This host's line of it, from 0; found by its name else.")
    ] = None,
    shuffle_labels: Annotated[
        bool,
        typer.Option("--shuffle-labels", help="Deal the targets out among subjects: results then have to be chance."),
    ] = False,
    overfit_one_batch: Annotated[
        bool,
        typer.Option("--overfit-one-batch", help="Only see whether the model can fit one batch; writes no run."),
    ] = False,
) -> None:
    """Trains a model as an experiment file says, or one for each fold and seed."""
    from tfmri.workflows.train import Wanted
    from tfmri.workflows.train import train as workflow

    settings = [*(overrides or ()), *([f"seeds={seeds}"] if seeds is not None else ())]
    settings += ["data.shuffle_labels=true"] * shuffle_labels
    if overfit_one_batch:
        from tfmri.workflows.overfit import overfit_one_batch as overfit

        raise typer.Exit(overfit(experiment, settings))
    _, code = workflow(experiment, settings, Wanted(run, resume, fold, fit, deadline, hosts, host_index))
    raise typer.Exit(code)
