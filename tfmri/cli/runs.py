"""`tfmri runs`."""

from tfmri.cli import app


@app.command()
def runs() -> None:
    """Lists the runs there are, with their state and headline number."""
    from tfmri.workflows.runs import list_runs

    print(list_runs())
