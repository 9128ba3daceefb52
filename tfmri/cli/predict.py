"""`tfmri predict RUN|EXPORT SCAN...`."""

from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Workers


@app.command()
def predict(
    model: Annotated[str, typer.Argument(metavar="RUN|EXPORT", help="A run, or what `tfmri export` wrote.")],
    scans: Annotated[list[str], typer.Argument(metavar="SCAN...", help="Images, folders of them, or a labels.csv.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The table of predictions.")] = Path("predictions.csv"),
    workers: Workers = None,
) -> None:
    """Predicts any scan, prepared as the model was trained: a CSV with a row a scan."""
    from tfmri.workflows.predict import predict as workflow

    raise typer.Exit(workflow(model, scans, output, workers))
