"""`tfmri compare RUN RUN...`."""

from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app


@app.command()
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Runs; each is compared with the first.")],
    split: Annotated[str, typer.Option(help="test, validation, or the name of other results.")] = "test",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Writes all numbers, too.")
    ] = None,
) -> None:
    """Compares runs on the same scans: paired intervals, tests, and in what their settings differ."""
    from tfmri.runs.directory import find_run
    from tfmri.workflows.compare import compare as workflow

    print(workflow([find_run(run) for run in runs], split, output))
