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
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the pictures go.")] = Path("preview"),
    scans: Annotated[int, typer.Option(min=1, help="How many scans to show.")] = 12,
) -> None:
    """Draws prepared scans, and one of them augmented as the network will see it."""
    from tfmri.experiment.load import find_experiment, load_experiment
    from tfmri.workflows import preview as workflow

    for path in workflow.preview(load_experiment(find_experiment(experiment), overrides or ()), to, scans):
        print(path)
