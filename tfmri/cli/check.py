"""`tfmri check EXP`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from tfmri.cli import app
from tfmri.cli.parameters import Experiment, Overrides, Workers


@app.command()
def check(
    experiment: Experiment,
    overrides: Overrides = None,
    json_only: Annotated[bool, typer.Option("--json", help="Print the findings as JSON, and nothing else.")] = False,
    to: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where the page goes; check/EXP by default.")
    ] = None,
    headers_only: Annotated[bool, typer.Option(help="Labels and headers only, which takes seconds.")] = False,
    workers: Workers = None,
) -> None:
    """Tells all that is wrong or doubtful with labels and scans, the worst first; exit code 3 if it spoils a result."""
    from tfmri.checks.report import as_json, as_text
    from tfmri.experiment.load import find_experiment, load_experiment
    from tfmri.workflows import check as workflow

    path = find_experiment(experiment)
    report = workflow.check(load_experiment(path, overrides or ()), path.stem, headers_only, workers)
    page = workflow.write(report, to or workflow.checked_at(path.stem))
    print(json.dumps(as_json(report), indent=2) if json_only else f"{as_text(report)}\n\nTo look through: {page}")
    raise typer.Exit(report.exit_code)
