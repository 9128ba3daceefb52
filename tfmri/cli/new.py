"""`tfmri new NAME`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the experiment: experiments/NAME.yaml is written.")],
    labels: Annotated[Path, typer.Option(metavar="FILE", help="The labels.csv.")],
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What to learn; the likeliest column by default.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="data.columns.NAME=COLUMN", help="Which column is which, where that is unclear."),
    ] = None,
) -> None:
    """Writes a commented experiment file: targets from the columns of labels.csv, spacing and shape from its scans."""
    from tfmri.workflows import new as workflow

    path, chosen = workflow.new(name, labels, target, overrides or ())
    print(f"{path}: {chosen.name} by {chosen.settings['task']}, from column '{chosen.column}'")
    for remark in chosen.remarks:
        print(f"note: {remark}: check it")
    quoted = shlex.quote(name)
    print(f"\nnext:\n  tfmri check {quoted}\n  tfmri train {quoted}")
