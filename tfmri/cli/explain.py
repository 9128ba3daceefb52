"""`tfmri explain RUN`."""

from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Run


@app.command()
def explain(
    run: Run,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="gradient, smoothgrad, integrated, gradcam, gradcam++ or occlusion; several times for several."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Whose scans: test, validation or train.")] = "test",
    scans: Annotated[int, typer.Option(metavar="N", help="How many of them.")] = 8,
    target_class: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Whose logit is explained; the predicted class's else.")
    ] = None,
    layer: Annotated[str | None, typer.Option(metavar="NAME", help="Of gradcam; the last one in space else.")] = None,
    sanity: Annotated[
        bool, typer.Option("--sanity", help="Compare the maps with those of networks that have learnt nothing.")
    ] = False,
    sanity_run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Trained on shuffled labels; NAME-shuffled else, if it is there.")
    ] = None,
) -> None:
    """Maps where in a scan the models of a run find their answer."""
    from tfmri.runs.directory import find_run
    from tfmri.workflows.explain import Wanted
    from tfmri.workflows.explain import explain as workflow

    methods = method or ("integrated", "gradcam")
    print(workflow(find_run(run), Wanted(methods, split, scans, target_class, layer, sanity, sanity_run)))
