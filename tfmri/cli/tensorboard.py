"""`tfmri tensorboard [RUN]`."""

from typing import Annotated

import typer

from tfmri.cli import app


@app.command()
def tensorboard(
    run: Annotated[
        str | None, typer.Argument(metavar="[RUN]", help="An experiment or a run of it; all by default.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of this machine, which alone can see it.")] = 6006,
) -> None:
    """Serves the curves of the runs to a browser on this machine, until Ctrl-C."""
    from tfmri.workflows.tensorboard import serve

    raise typer.Exit(serve(run, port))
