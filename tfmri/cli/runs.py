"""`tfmri runs`."""

from typing import Annotated

import typer

from tfmri.cli import app


@app.command()
def runs(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Lists the runs there are, with their state and headline number."""
    import json

    from tfmri.workflows.runs import facts_of_runs, list_runs

    print(json.dumps(facts_of_runs(), indent=2) if as_json else list_runs())
