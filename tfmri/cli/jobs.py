"""`tfmri jobs [RUN]`."""

from typing import Annotated

import typer

from tfmri.cli import app


@app.command()
def jobs(
    run: Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run; else all of the last days.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Lists the submitted jobs: waiting, running with epoch and time left, done, failed and why."""
    from tfmri.workflows.jobs import list_jobs

    print(list_jobs(run, as_json))
