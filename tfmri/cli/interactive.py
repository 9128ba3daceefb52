"""`tfmri interactive [COMMAND]`."""

from typing import Annotated

import typer

from tfmri.cli import app


@app.command(context_settings={"allow_interspersed_args": False, "ignore_unknown_options": True})
def interactive(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", help="What to run there; else a shell.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=0, help="How many GPUs.")] = 1,
    time: Annotated[str, typer.Option(metavar="HH:MM:SS", help="After which it ends.")] = "0:30:0",
    memory: Annotated[
        str | None, typer.Option(metavar="16G", help="Of the whole session. [default: 4G for each GPU]")
    ] = None,
    site: Annotated[
        str | None, typer.Option(metavar="NAME", help="A cluster of sge/sites/; else TFMRI_SITE, or sge/user.mk's.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until a node is free; else it is now or not.")] = False,
) -> None:
    """Opens a shell on a node of the cluster, or runs a command there; options come before the command."""
    from tfmri.workflows.interactive import interactive as workflow
    from tfmri.workflows.interactive import qrsh

    workflow(qrsh(gpus, time, memory, site, wait, command or ()))
