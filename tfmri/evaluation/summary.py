"""The numbers of an evaluation: what `metrics.json` holds, and its headline lines for the terminal.

    {target: {metric: {value, lower, upper, trivial, n, subjects[, note]}},
     "groups": {target: {column: {group: {metric: {...}}}}},
     "adjustments": {target: {...}},   what was learnt on validation, and what it does here (`adjustments`)
     "fits": {target: {metric: {mean, sd, lowest, highest, fits}}},   of several fits: each one by itself
     "views": "averaged with its mirror image",   where other looks at a scan were taken than the plain one
     "warnings": {target: [sentence, ...]}}

`n` counts scans (of `recall_<class>`, those of the class), `subjects` whose they are. `trivial` is what the trivial
predictor reaches on the same scans. What does not exist is None, and `note` says why.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tfmri.evaluation.intervals import FEWEST, Interval, percentile_intervals, perfect_score_bound
from tfmri.evaluation.metrics import LOWER_IS_BETTER, Kind, metrics_of
from tfmri.evaluation.trivial import trivial_metrics

SMALLEST_GROUP = 10  # scans; below it a group's metrics are not given
UNDEFINED_LIMIT = 0.1  # share of resamples without a value, beyond which there is no interval
NOBODY = "no scan has a prediction"
HEADLINES = ("balanced_accuracy", "roc_auc", "quadratic_kappa", "stage_mae", "mae", "pearson_r")
RESERVED = frozenset(
    {"groups", "warnings", "adjustments", "fits", "views"}
)  # keys beside the targets, so no names of targets
UNITS = {"age": "years"}  # of targets whose unit the name says
IN_WORDS = {
    "balanced_accuracy": "balanced accuracy",
    "roc_auc": "ROC AUC",
    "quadratic_kappa": "quadratic weighted kappa",
    "stage_mae": "mean absolute error in stages",
    "mae": "mean absolute error",
    "pearson_r": "correlation r",
}


def summarise(
    predictions: pd.DataFrame,
    kind: Kind,
    classes: Sequence[str],
    train_truth: pd.Series,
    seed: int,
    resamples: int = 1000,
    group_columns: Sequence[str] = ("site",),
) -> dict[str, Any]:
    """All metrics of one target with 95 % intervals and the trivial predictor's value, whole and by group.

    Args:
        predictions: rows of one target of predictions.csv: subject, target, truth, prediction, the `group_columns`, and
            p_<class> for classes.
        kind: soft labels and whatever else ends in a number are "regression", ordered classes "ordinal".
        classes: names in the order of the model's outputs; empty for regression.
        train_truth: the target of every training scan.
        seed: of the resampling.
        resamples: number of draws.
        group_columns: columns to give the metrics by; one with a single value is left out.

    Returns:
        What the module's first lines show, for this one target; without NaN, ready for JSON.
    """
    (target,) = predictions["target"].unique()
    rows = usable(predictions, kind, classes)
    measured = measure(rows, kind, classes, train_truth, seed, resamples)
    warnings = [*_missing(len(predictions), len(rows)), *_constant(rows, kind)]
    groups: dict[str, dict[str, Any]] = {}
    for column in group_columns:
        names = rows[column].fillna("").astype(str)
        if names.nunique() > 1:
            groups[column] = {
                name or "not known": measure(group, kind, classes, train_truth, seed, resamples)
                if len(group) >= SMALLEST_GROUP
                else _too_small(group, measured)
                for name, group in rows.groupby(names)
            }
    return {target: measured, "groups": {target: groups}, "warnings": {target: warnings}}


def usable(predictions: pd.DataFrame, kind: Kind, classes: Sequence[str]) -> pd.DataFrame:
    """The rows that have a truth and a prediction (and, for classes, all probabilities), none of them infinite."""
    needed = ["truth", "prediction", *(f"p_{name}" for name in classes)]
    known = predictions[needed].replace([np.inf, -np.inf], np.nan).notna().all(axis=1)
    return predictions[known].reset_index(drop=True)


def headline(summary: Mapping[str, Any], best_reachable: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """The main metrics of every target, aligned, one a line, and then the warnings in plain words.

    Args:
        summary: of `summarise`; the summaries of several targets may stand in one.
        best_reachable: {target: {metric: value}}, where it is known (the phantom cohort).
    """
    best_reachable = best_reachable or {}
    lines = []
    for target, measured in _targets(summary).items():
        for name in (name for name in HEADLINES if name in measured):
            entry, best = measured[name], best_reachable.get(target, {}).get(name)
            unit = f" ({UNITS[target]})" if target in UNITS and name == "mae" else ""
            count = f"n = {entry['n']}"
            if entry["subjects"] != entry["n"]:
                count += f" scans of {entry['subjects']} subject{'s' * (entry['subjects'] != 1)}"
            lines.append(
                (
                    target,
                    IN_WORDS[name] + unit,
                    in_figures(entry),
                    f"trivial {_number(entry['trivial'])}" if entry["trivial"] is not None else "",
                    f"best reachable {_number(best)}" if best is not None else "",
                    count,
                    entry.get("note", "") if entry["lower"] is None else "",
                )
            )
            target = ""  # a target's name stands on its first line only
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    shown = [
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True) if width).rstrip()
        for line in lines
    ]
    return "\n".join([*shown, *(f"warning: {sentence}" for sentence in all_warnings(summary, best_reachable))])


def all_warnings(
    summary: Mapping[str, Any], best_reachable: Mapping[str, Mapping[str, float]] | None = None
) -> list[str]:
    """The summary's warnings, and one for each metric that is better than the best reachable beyond its interval."""
    found = [f"{target}: {sentence}" for target, those in summary["warnings"].items() for sentence in those]
    for target, reachable in (best_reachable or {}).items():
        for name, best in reachable.items():
            entry = _targets(summary).get(target, {}).get(name)
            if entry is None or entry["lower"] is None:
                continue
            if entry["upper"] < best if name in LOWER_IS_BETTER else entry["lower"] > best:
                found.append(
                    f"{target}: {IN_WORDS.get(name, name)} {in_figures(entry)} is better than the best reachable "
                    f"{_number(best)}, which no honest model can be: look for a leak between training and test"
                )
    return found


def in_figures(entry: Mapping[str, Any]) -> str:
    """Value and interval of one metric: ``0.91 [0.82, 0.98]``."""
    if entry["lower"] is None:
        return _number(entry["value"])
    return f"{_number(entry['value'])} [{_number(entry['lower'])}, {_number(entry['upper'])}]"


def _targets(summary: Mapping[str, Any]) -> dict[str, Any]:
    return {name: those for name, those in summary.items() if name not in RESERVED}


def _number(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 2) + 0.0:.2f}"  # no -0.00


def measure(
    rows: pd.DataFrame, kind: Kind, classes: Sequence[str], train_truth: pd.Series, seed: int, resamples: int
) -> dict[str, dict[str, Any]]:
    """{metric: {value, lower, upper, trivial, n, subjects[, note]}} of usable rows; arguments as `summarise`."""
    statistics = metrics_of(rows, kind, classes)
    values = statistics()
    trivial = trivial_metrics(rows["truth"], train_truth, kind, classes)
    intervals = percentile_intervals(statistics, rows["subject"], seed, resamples)
    subjects = rows["subject"].nunique()
    subjects_of = {name: rows.loc[rows["truth"] == name, "subject"].nunique() for name in classes}
    shares = {  # metrics that are shares of subjects, and of how many of each class
        "accuracy": [subjects],
        "balanced_accuracy": [count for count in subjects_of.values() if count],
        **{f"recall_{name}": [count] for name, count in subjects_of.items()},
    }
    measured = {}
    for name, value in values.items():
        of_class = name.removeprefix("recall_")
        people = subjects_of[of_class] if of_class != name else subjects
        lower, upper, note = _ends(float(value), intervals[name], people, shares.get(name, []))
        measured[name] = {
            "value": _or_none(value),
            "lower": lower,
            "upper": upper,
            "trivial": _or_none(trivial[name]),
            "n": int((rows["truth"] == of_class).sum()) if of_class != name else len(rows),
            "subjects": people,
            **({"note": note} if note else {}),
        }
    return measured


def entry(values: np.ndarray, subjects: pd.Series, seed: int, resamples: int, share: bool = False) -> dict[str, Any]:
    """{value, lower, upper, n, subjects[, note]} of the mean of (n,) `values`; `share`: they are 0 or 1."""

    def mean(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"mean": weights @ values / weights.sum(-1)}

    people = subjects.nunique()
    if not people:
        return {"value": None, "lower": None, "upper": None, "n": 0, "subjects": 0, "note": NOBODY}
    value = float(np.mean(values))
    interval = percentile_intervals(mean, subjects, seed, resamples)["mean"]
    lower, upper, note = _ends(value, interval, people, [people] if share else [])
    counts = {"n": len(values), "subjects": people}
    return {"value": value, "lower": lower, "upper": upper, **counts, **({"note": note} if note else {})}


def spread_over_fits(by_fit: pd.DataFrame, kind: Kind, classes: Sequence[str]) -> dict[str, Any]:
    """{metric: {mean, sd, lowest, highest, fits}} over the fits, each measured by itself on the scans it predicted.

    This is how much a result depends on seed and fold, which the intervals, over subjects, do not tell.

    Args:
        by_fit: predictions_by_fit.csv.
        kind: of the target.
        classes: in the order of the model's outputs; empty for a number.
    """
    rows = usable(by_fit, kind, classes)
    each = pd.DataFrame([metrics_of(own, kind, classes)() for _, own in rows.groupby("fit")]).astype(float)
    return {
        str(name): {
            "mean": float(column.mean()),
            "sd": float(column.std(ddof=1)) if len(column) > 1 else None,
            "lowest": float(column.min()),
            "highest": float(column.max()),
            "fits": len(column),
        }
        for name, column in ((name, each[name].dropna()) for name in each)
        if len(column)
    }


def _ends(
    value: float, interval: Interval, subjects: int, counts: Sequence[int]
) -> tuple[float | None, float | None, str]:
    """Ends of the interval, or None and the reason; `counts` for metrics that are shares of subjects, else empty."""
    if np.isnan(value) and not subjects:
        return None, None, NOBODY
    if np.isnan(value):
        return None, None, "not defined on these scans: a class is missing, or truth or prediction is constant"
    if interval.undefined > UNDEFINED_LIMIT:
        return None, None, f"no interval: not defined in {interval.undefined:.0%} of the resamples, too few subjects"
    varies = interval.upper - interval.lower > 1e-12
    if counts and value in (0, 1) and not varies:
        bound = perfect_score_bound(counts)
        ends = (bound, 1.0) if value == 1 else (0.0, 1 - bound)
        return *ends, "all subjects alike: the exact binomial interval, since every resample gives the same value"
    if subjects < FEWEST:
        return None, None, f"no interval: resamples of fewer than {FEWEST} subjects tell too little"
    if varies:
        return interval.lower, interval.upper, ""
    return None, None, "no interval: every resample gives the same value"


def _too_small(group: pd.DataFrame, measured: Mapping[str, Any]) -> dict[str, Any]:
    entry = {key: None for key in ("value", "lower", "upper", "trivial")}
    counts = {"n": len(group), "subjects": group["subject"].nunique()}
    return {
        name: {**entry, **counts, "note": f"fewer than {SMALLEST_GROUP} scans: too few to say"} for name in measured
    }


def _missing(given: int, used: int) -> list[str]:
    return (
        [f"{given - used} of {given} scans have no truth or no prediction and are not counted"] if used < given else []
    )


def _constant(rows: pd.DataFrame, kind: Kind) -> list[str]:
    if len(rows) < 2:
        return []
    advice = "it has learned nothing from the images"
    if kind != "regression":
        if rows["prediction"].nunique() == 1 and rows["truth"].nunique() > 1:
            return [f"the model answers {rows['prediction'].iloc[0]!r} for every scan: {advice}"]
    elif rows["prediction"].astype(float).std() < 1e-3 * rows["truth"].astype(float).std():
        return [f"the model answers {rows['prediction'].astype(float).mean():.4g} for every scan: {advice}"]
    return []


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
