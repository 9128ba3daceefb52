"""`tfmri prepare EXP`."""

from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Overrides, Workers


@app.command()
def prepare(
    experiment: Annotated[
        str | None, typer.Argument(metavar="EXP", help="A name in experiments/, or the path of a YAML file.")
    ] = None,
    overrides: Overrides = None,
    workers: Workers = None,
    status: Annotated[bool, typer.Option("--status", help="Say what the cache holds; prepare nothing.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Say what in the cache no experiment in experiments/ and no run needs.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove what --prune finds.")] = False,
    archive: Annotated[
        Path | None, typer.Option(metavar="FILE.tar", help="Write the prepared scans into one file.")
    ] = None,
    from_archive: Annotated[
        Path | None, typer.Option(metavar="FILE.tar", help="Unpack such a file into the cache, before anything else.")
    ] = None,
) -> None:
    """Prepares every scan of an experiment and keeps it in the cache (TFMRI_CACHE); `train` does so by itself."""
    from tfmri.errors import InputError, Problem
    from tfmri.experiment.load import find_experiment, load_experiment
    from tfmri.workflows import prepare as workflow

    does = {"--status": status, "--prune": prune, "--archive": archive, "--from-archive": from_archive}
    asked = [option for option, given in does.items() if given]
    if len(asked) > 1:
        raise InputError(Problem(" and ".join(asked), "each does something else", "one of them"))
    if yes and not prune:
        raise InputError(Problem("--yes", "it removes what --prune finds", "--prune beside it"))
    path = find_experiment(experiment) if experiment else None
    settings = load_experiment(path, overrides or ()) if path else None
    if status:
        said = workflow.status(settings, experiment or "", overrides or ())
    elif prune:
        said = workflow.prune(settings, really=yes)
    elif from_archive:
        said = workflow.from_archive(settings, from_archive, workers)
    elif settings is None:
        raise InputError(Problem("tfmri prepare", "no experiment is named", "a name in experiments/, or a path"))
    elif archive:
        said = workflow.to_archive(settings, archive, workers)
    else:
        said = workflow.fill(settings, workers)
    print(said)
