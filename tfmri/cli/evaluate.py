"""`tfmri evaluate RUN`."""

from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Run


@app.command()
def evaluate(
    run: Run, split: Annotated[str, typer.Option(help="Whom to predict: test, validation or train.")] = "test"
) -> None:
    """Evaluates the best model of a run: predictions, metrics with intervals, figures."""
    from tfmri.runs.directory import find_run
    from tfmri.workflows import evaluate as workflow

    workflow.evaluate(find_run(run), split)
