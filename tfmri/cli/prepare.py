"""`tfmri prepare EXP`."""

from tfmri.cli import app
from tfmri.cli.parameters import Experiment, Overrides, Workers


@app.command()
def prepare(experiment: Experiment, overrides: Overrides = None, workers: Workers = None) -> None:
    """Prepares every scan of an experiment and keeps it in the cache; `train` does so by itself."""
    from tfmri.experiment.load import find_experiment, load_experiment
    from tfmri.workflows import cohort

    settings = load_experiment(find_experiment(experiment), overrides or ())
    table = cohort.load_cohort(settings)[0].table
    cohort.prepare(table, settings, workers)
    print(f"{len(table)} scans are prepared in {cohort.cache_folder()}/")
