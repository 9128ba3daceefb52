"""`tfmri preview EXP`."""

from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Experiment, Overrides


@app.command()
def preview(
    experiment: Experiment,
    overrides: Overrides = None,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the picture goes; preview/ by default.")
    ] = None,
    scans: Annotated[int | None, typer.Option(min=1, help="How many scans to show; nine by default.")] = None,
    transform: Annotated[
        str | None, typer.Option(metavar="NAME", help="Show one transform at low, middle and high strength.")
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw again what a NAME-parameters.json holds.")
    ] = None,
) -> None:
    """Draws prepared scans with their labels, and one of them augmented as the network will see it.

    What each augmented scan drew is written beside the picture, as NAME-parameters.json.
    """
    from tfmri.experiment.load import find_experiment, load_experiment
    from tfmri.project import in_project
    from tfmri.workflows import preview as workflow

    path = find_experiment(experiment)
    folder = to or in_project("preview")
    for file in workflow.preview(load_experiment(path, overrides or ()), path.stem, folder, scans, transform, replay):
        print(file)
