"""What came of a study: the table of its trials, the best of them, what mattered, and the figure."""

import math
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from matplotlib.ticker import MaxNLocator
from optuna.trial import FrozenTrial, TrialState

from tfmri.evaluation.drawing import BLUE, GREY, VERMILION, saved
from tfmri.runs.study import StudyFolder
from tfmri.tuning.space import words
from tfmri.tuning.study import REASON, Search, best_of, whole

STATES = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "under way",
}
COLUMNS = ("trial", "run", "state", "epochs", "reason")  # before and behind the value and the settings
ENOUGH = 10  # finished trials, below which nothing is said of what mattered


def trial_table(study: optuna.Study, folder: StudyFolder, search: Search, metric: str) -> pd.DataFrame:
    """A row a trial: trial, run, state, the metric, epochs reported, its settings as words, and why it failed.

    The metric of a trial that was stopped early is the best that it had reached.
    """
    rows = [
        {
            "trial": each.number + 1,
            "run": folder.trial(each.number).path.name,
            "state": STATES[each.state],
            metric: each.value if each.value is not None else _latest(each),
            "epochs": each.last_step or 0,
            **words(each.params, search.space),
            "reason": each.user_attrs.get(REASON, ""),
        }
        for each in study.get_trials(deepcopy=False)
        if whole(each, search)
    ]
    return pd.DataFrame(rows, columns=["trial", "run", "state", metric, "epochs", *search.space, "reason"])


def _latest(trial: FrozenTrial) -> float:
    return math.nan if trial.last_step is None else trial.intermediate_values[trial.last_step]


def importance(study: optuna.Study) -> dict[str, float]:
    """The share of each setting in what made finished trials differ, the largest first; none where they are too few.

    Source: Watanabe et al. 2023, PED-ANOVA, IJCAI.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < ENOUGH or len({each.value for each in done}) == 1:
        return {}
    found = optuna.importance.get_param_importances(study)
    return {key: float(share) for key, share in found.items()} if all(map(math.isfinite, found.values())) else {}


def result(study: optuna.Study, folder: StudyFolder, search: Search, metric: str) -> dict[str, Any]:
    """What JSON can hold: `metric`, how many `trials` are in each state, `importance`, and `best` with `run`, `value`
    and its settings, `set`; None where no trial has finished.
    """
    trials = [each for each in study.get_trials(deepcopy=False) if whole(each, search)]
    best = best_of(trials, search.lower_is_better)
    return {
        "metric": metric,
        "lower_is_better": search.lower_is_better,
        "trials": {name: sum(each.state == state for each in trials) for state, name in STATES.items()},
        "best": best
        and {
            "run": folder.trial(best.number).path.name,
            "value": best.value,
            "set": [f"{key}={value}" for key, value in words(best.params, search.space).items()],
        },
        "importance": importance(study),
    }


def in_lines(table: pd.DataFrame, metric: str, lower_is_better: bool) -> list[str]:
    """The table for people, the best trial first, then those stopped early, and those without a value."""
    order = table.assign(_unfinished=table["state"] != STATES[TrialState.COMPLETE])
    order = order.sort_values(["_unfinished", metric], ascending=[True, lower_is_better])
    settings = [name for name in map(str, table) if name not in (*COLUMNS, metric)]
    cells = [["run", "state", metric.replace("_", " "), "epochs", *(name.split(".")[-1] for name in settings)]]
    for row in order.to_dict("records"):
        value = f"{row[metric]:.4g}" if math.isfinite(row[metric]) else "-"
        given = [_short(row[name]) for name in settings]
        cells.append([row["run"], row["state"], value, str(row["epochs"]), *given])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def _short(text: str) -> str:
    try:
        return text if len(text) <= 6 else f"{float(text):.3g}"
    except ValueError:
        return text if len(text) <= 40 else text[:37] + "..."


def draw_history(table: pd.DataFrame, metric: str, lower_is_better: bool, path: Path) -> list[Path]:
    """The value of every trial, and the best of the finished ones so far.

    Args:
        table: see `trial_table`.
        path: without suffix.
    """
    finished = table[table["state"] == STATES[TrialState.COMPLETE]].sort_values("trial")
    early = table[table["state"] == STATES[TrialState.PRUNED]]
    with saved(path, 6, 4) as figure:
        axes = figure.subplots()
        if len(early):
            axes.scatter(early["trial"], early[metric], color=GREY, marker="x", label="stopped early")
        if len(finished):
            so_far = finished[metric].cummin() if lower_is_better else finished[metric].cummax()
            axes.step(finished["trial"], so_far, color=VERMILION, where="post", label="best so far")
            axes.scatter(finished["trial"], finished[metric], color=BLUE, label="finished", zorder=3)
        axes.set_xlabel("trial")
        axes.set_ylabel(metric.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(early) or len(finished):
            axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
    return [path.parent / f"{path.name}{suffix}" for suffix in (".png", ".pdf")]
