"""`tfmri runs`: what has been run, with its headline number."""

import json

from tfmri.evaluation.summary import in_figures
from tfmri.experiment.load import load_experiment
from tfmri.runs.directory import Run, all_runs, runs_root


def list_runs() -> str:
    """A line a run, oldest first: its name, its state, and the first metric of its test split."""
    rows = [(run.label, _state(run), _headline(run)) for run in all_runs()]
    if not rows:
        return f"There are no runs in {runs_root()}/ yet."
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"{name:<{width}}  {state:<12}  {number}" for name, state, number in rows)


def _state(run: Run) -> str:
    plans = load_experiment(run.experiment).fits
    finished = sum(run.fit(plan.name).finished for plan in plans)
    if finished == len(plans):
        return "finished"
    return "unfinished" if len(plans) == 1 else f"{finished} of {len(plans)} fits"


def _headline(run: Run) -> str:
    path = run.evaluation("test") / "metrics.json"
    if not path.exists():
        return ""
    target, metrics = next(iter(json.loads(path.read_text()).items()))
    name, first = next(iter(metrics.items()))
    return f"{target} {name.replace('_', ' ')} {in_figures(first)}"
