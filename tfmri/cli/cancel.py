"""`tfmri cancel RUN`."""

from typing import Annotated

import typer

from tfmri.cli import app


@app.command()
def cancel(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="EXP/NAME, or EXP for its latest.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="The jobs of all runs submitted from here.")] = False,
) -> None:
    """Ends what waits or runs of a run's jobs; a training saves first."""
    from tfmri.workflows.cancel import cancel as workflow

    print(workflow(run, everything))
