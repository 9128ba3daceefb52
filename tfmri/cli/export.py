"""`tfmri export RUN`."""

from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Run


@app.command()
def export(
    run: Run,
    output: Annotated[Path, typer.Option("--output", "-o", help="The file or folder to write.")],
    form: Annotated[str, typer.Option("--format", help="keras, savedmodel or onnx.")] = "keras",
) -> None:
    """Writes the models of a run, with their preparation, into a file or folder of their own."""
    from tfmri.runs.directory import find_run
    from tfmri.workflows.export import export as workflow

    written = workflow(find_run(run), output, form)
    print(f"{written}: tfmri predict {written} SCAN...")
