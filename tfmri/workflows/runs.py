"""`tfmri runs`: what has been run: its state, how far it is, how long it took, and its headline number."""

import fcntl
import json
from datetime import timedelta

from tfmri.evaluation.summary import in_figures
from tfmri.experiment.load import load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.runs.directory import Fit, Run, all_runs, runs_root

HEADS = ("run", "state", "epochs", "trained for", "test")


def list_runs() -> str:
    """A line a run, oldest first; a run that cannot be read says so."""
    rows = [HEADS, *(_row(run) for run in all_runs())]
    if len(rows) == 1:
        return f"There are no runs in {runs_root()}/ yet."
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _row(run: Run) -> tuple[str, ...]:
    try:
        experiment = load_experiment(run.experiment)
        fits = [run.fit(plan.name) for plan in experiment.fits]
        return run.label, _state(fits), _epochs(fits, experiment), _duration(fits), _headline(run)
    except Exception as error:  # one damaged folder, or one of another version, is no reason not to list the others
        return run.label, "unreadable", "", "", str(error).splitlines()[0][:80]


def _state(fits: list[Fit]) -> str:
    """finished, training (some process holds it), stopped, or of several fits how many have ended."""
    finished = sum(fit.finished for fit in fits)
    if finished == len(fits):
        return "finished"
    state = "training" if any(_held(fit) for fit in fits) else "stopped"
    return state if len(fits) == 1 else f"{state}, {finished} of {len(fits)} fits"


def _held(fit: Fit) -> bool:
    """Whether a process is training a fit, on this machine or on one that shares its locks."""
    lock = fit.path / ".lock"
    if not lock.exists():
        return False
    with lock.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _epochs(fits: list[Fit], experiment: Experiment) -> str:
    done = [len(fit.read_history()) for fit in fits]
    shown = str(done[0]) if len(set(done)) == 1 else f"{min(done)}-{max(done)}"
    return f"{shown} of {experiment.training.epochs}"


def _duration(fits: list[Fit]) -> str:
    """Hours and minutes of training steps, over all fits."""
    seconds = sum(row.get("seconds", 0) for fit in fits for row in fit.read_history())
    return str(timedelta(seconds=round(seconds)))


def _headline(run: Run) -> str:
    path = run.evaluation("test") / "metrics.json"
    if not path.exists():
        return ""
    target, metrics = next(iter(json.loads(path.read_text()).items()))
    name, first = next(iter(metrics.items()))
    return f"{target} {name.replace('_', ' ')} {in_figures(first)}"
