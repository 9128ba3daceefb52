"""`tfmri evaluate RUN`."""

from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Run


@app.command()
def evaluate(
    run: Run,
    split: Annotated[str, typer.Option(help="Whom to predict: test, validation or train.")] = "test",
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Predict the people of another labels.csv instead.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What results on them are called; the file's folder's name else.")
    ] = None,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="Average the predictions of each scan and its mirror image.")
    ] = False,
    dropout_draws: Annotated[
        int, typer.Option(metavar="N", help="Draws with dropout on, whose spread says how sure the model is.")
    ] = 0,
    anonymous: Annotated[bool, typer.Option("--anonymous", help="Leave heads and ids out of the report.")] = False,
) -> None:
    """Evaluates the best models of a run: predictions, metrics with intervals, figures, a report."""
    from tfmri.inference.views import Views
    from tfmri.runs.directory import find_run
    from tfmri.workflows import evaluate as workflow

    wanted = workflow.Wanted(split, labels, name, Views(mirrored, dropout_draws), anonymous)
    raise typer.Exit(workflow.evaluate(find_run(run), wanted))
