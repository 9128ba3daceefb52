"""`tfmri runs`: what has been run: its state, how far it is, how long it took, and its headline number."""

import json
import math
from collections import Counter
from datetime import timedelta
from typing import Any

from tfmri.evaluation.summary import in_figures
from tfmri.experiment.load import load_experiment
from tfmri.runs.directory import Fit, Run, all_runs, runs_root
from tfmri.runs.study import study_of

HEADS = ("run", "state", "epochs", "trained for", "test")


def list_runs() -> str:
    """A line a run, oldest first; a run that cannot be read says so. The trials of a search share one."""
    known, studies = facts_of_runs(), dict[str, list[dict[str, Any]]]()
    for facts in known:
        if facts.get("study") and not facts["test"]:
            studies.setdefault(facts["study"], []).append(facts)
    rows: list[tuple[str, ...]] = [HEADS]
    for facts in known:
        trials = studies.get(facts.get("study", ""), [])
        if facts not in trials:
            rows.append(_cells(facts))
        elif facts is trials[-1]:
            rows.append(_cells_of_study(trials))
    if len(rows) == 1:
        return f"There are no runs in {runs_root()}/ yet."
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def facts_of_runs() -> list[dict[str, Any]]:
    """Of each run, oldest first, what JSON can hold.

    `run`, `path`, and `state`: finished, training (some process holds it), stopped, or unreadable, which has a `reason`
    and nothing more. Then `fits` and how many are `finished`, `epochs` of each fit done, `epochs_asked`, `seconds` of
    training over all fits, `target`, `test`: the headline metric with its `name`, as in metrics.json, or None, and
    `study`: the search that it is a trial of, or None.
    """
    return [_facts(run) for run in all_runs()]


def _facts(run: Run) -> dict[str, Any]:
    about = {"run": run.label, "path": str(run.path.absolute())}
    try:
        experiment = load_experiment(run.experiment)
        fits = [run.fit(plan.name) for plan in experiment.fits]
        histories = [fit.read_history() for fit in fits]
        seconds = [row.get("seconds", 0.0) for history in histories for row in history]
        return {
            **about,
            "state": _state(fits),
            "fits": len(fits),
            "finished": sum(fit.finished for fit in fits),
            "epochs": [len(history) for history in histories],
            "epochs_asked": experiment.training.epochs,
            "seconds": round(sum(each for each in seconds if math.isfinite(each)), 1),
            "target": experiment.target,
            "test": _headline(run),
            "study": study_of(run),
        }
    except Exception as error:  # one damaged folder, or one of another version, is no reason not to list the others
        return {**about, "state": "unreadable", "reason": (str(error) or type(error).__name__).splitlines()[0]}


def _state(fits: list[Fit]) -> str:
    if all(fit.finished for fit in fits):
        return "finished"
    return "training" if any(fit.training for fit in fits) else "stopped"


def _headline(run: Run) -> dict[str, Any] | None:
    path = run.evaluation("test") / "metrics.json"
    if not path.exists():
        return None
    metrics = next(iter(json.loads(path.read_text()).values()))
    name, first = next(iter(metrics.items()))
    return {"name": name, **first}


def _cells(facts: dict[str, Any]) -> tuple[str, ...]:
    """The line of a run: of several fits, how many have ended, and the fewest and most epochs."""
    if facts["state"] == "unreadable":
        return facts["run"], facts["state"], "", "", facts["reason"][:80]
    several = facts["fits"] > 1 and facts["state"] != "finished"
    state = facts["state"] + (f", {facts['finished']} of {facts['fits']} fits" if several else "")
    low, high = min(facts["epochs"]), max(facts["epochs"])
    epochs = f"{low if low == high else f'{low}-{high}'} of {facts['epochs_asked']}"
    test = facts["test"]
    headline = f"{facts['target']} {test['name'].replace('_', ' ')} {in_figures(test)}" if test else ""
    return facts["run"], state, epochs, str(timedelta(seconds=round(facts["seconds"]))), headline


def _cells_of_study(trials: list[dict[str, Any]]) -> tuple[str, ...]:
    """The line of the trials of a search that nobody has evaluated."""
    counts = Counter(facts["state"] for facts in trials)
    done = [epochs for facts in trials for epochs in facts["epochs"]]
    name = f"{trials[0]['study']}-*"
    state = f"{len(trials)} trials: " + ", ".join(f"{count} {state}" for state, count in counts.items())
    seconds = round(sum(facts["seconds"] for facts in trials))
    return name, state, f"{min(done)}-{max(done)}", str(timedelta(seconds=seconds)), ""
