"""`tfmri demo DIR`."""

from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Workers


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the cohort goes.")],
    variant: Annotated[
        str,
        typer.Option(
            help="demo; null: chance is all there is; leaky: people under two ids; confounded: the site tells the sex."
        ),
    ] = "demo",
    subjects: Annotated[int | None, typer.Option(min=10, help="How many people.")] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other people.")] = 0,
    workers: Workers = None,
) -> None:
    """Writes the phantom cohort: scans made from a brain template, with a labels.csv and the truth about them."""
    from tfmri.phantom.cohort import SUBJECTS, ensure_cohort

    print(ensure_cohort(folder, variant, subjects or SUBJECTS, seed, workers))
