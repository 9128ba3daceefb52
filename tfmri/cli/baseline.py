"""`tfmri baseline EXP`."""

from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Experiment, Overrides


@app.command()
def baseline(
    experiment: Experiment,
    overrides: Overrides = None,
    split: Annotated[str, typer.Option(help="test or validation.")] = "test",
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Columns of the labels file in place of voxels, such as 'vol_*'."),
    ] = None,
) -> None:
    """Fits classical models on the same splits, and puts the network beside them."""
    from tfmri.workflows.baseline import baseline as workflow

    print(workflow(experiment, overrides or (), split, features or ()))
