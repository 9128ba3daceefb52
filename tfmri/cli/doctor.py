"""`tfmri doctor`."""

from typing import Annotated

import typer

from tfmri.cli import app


@app.command()
def doctor(
    site: Annotated[
        str | None, typer.Option(metavar="NAME", help="A cluster of sge/sites/; else TFMRI_SITE, or sge/user.mk's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Checks Python, TensorFlow, GPUs, disks, Grid Engine and the way there, and says what to do."""
    from tfmri.workflows.doctor import doctor as workflow

    said, code = workflow(site, as_json)
    print(said)
    raise typer.Exit(code)
