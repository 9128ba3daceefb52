"""Two models on the same scans: how far their metrics lie apart, and whether that is more than chance.

The difference of every metric has a bootstrap interval over subjects, in which both models see the same draws. Beside
them stand tests: DeLong's of the area under the ROC curve (two classes), McNemar's exact one of accuracy, Wilcoxon's
signed ranks of absolute errors. These take scans as independent, and so see one scan of each subject.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tfmri.evaluation.conformal import one_a_subject
from tfmri.evaluation.intervals import FEWEST, subject_weights
from tfmri.evaluation.metrics import Kind, metrics_of
from tfmri.evaluation.summary import NOBODY, UNDEFINED_LIMIT, usable


@dataclass(frozen=True)
class PairedTest:
    """A test of whether two models differ.

    Args:
        name: of the test, and what it is of.
        p: two-sided; NaN where it cannot be had.
        scans: that it sees.
    """

    name: str
    p: float
    scans: int


def shared(first: pd.DataFrame, second: pd.DataFrame, kind: Kind, classes: Sequence[str]) -> tuple[Any, Any]:
    """The rows of two predictions.csv that are of the same scans and have a prediction in both, in one order.

    Raises:
        ValueError: a scan whose truth is not the same in both.
    """
    names = set(usable(first, kind, classes)["scan"]) & set(usable(second, kind, classes)["scan"])
    one, other = (rows[rows["scan"].isin(names)].sort_values("scan").reset_index(drop=True) for rows in (first, second))
    differs = one["truth"].astype(str) != other["truth"].astype(str)
    if kind == "regression":
        differs = (one["truth"].astype(float) - other["truth"].astype(float)).abs() > 1e-6
    if differs.any():
        scan = one.loc[differs, "scan"].iloc[0]
        raise ValueError(
            f"{scan} is {one.loc[differs, 'truth'].iloc[0]} in one and {other.loc[differs, 'truth'].iloc[0]}"
        )
    return one, other


def differences(
    first: pd.DataFrame, second: pd.DataFrame, kind: Kind, classes: Sequence[str], seed: int, resamples: int = 1000
) -> dict[str, dict[str, Any]]:
    """{metric: {first, second, difference, lower, upper[, note]}}; difference is second minus first.

    What does not exist is None, and `note` says why.

    Args:
        first: rows of predictions.csv (`shared`).
        second: the same scans in the same order.
        kind: of the target.
        classes: in the order of the models' outputs; empty for a number.
        seed: of the draws.
        resamples: how many.
    """
    one, other = (metrics_of(rows, kind, classes) for rows in (first, second))
    weights = subject_weights(first["subject"], resamples, seed)
    values, drawn = (one(), other()), (one(weights=weights), other(weights=weights))
    few = first["subject"].nunique() < FEWEST
    result: dict[str, dict[str, Any]] = {}
    for name in values[0]:
        draws = np.asarray(drawn[1][name] - drawn[0][name], float)
        known = draws[np.isfinite(draws)]
        numbers = [values[0][name], values[1][name], values[1][name] - values[0][name]]
        undefined = len(known) < (1 - UNDEFINED_LIMIT) * len(draws)
        ends = [np.nan, np.nan] if few or undefined else np.quantile(known, [0.025, 0.975])
        shown = [float(each) if np.isfinite(each) else None for each in (*numbers, *ends)]
        result[name] = dict(zip(("first", "second", "difference", "lower", "upper"), shown, strict=True))
        if not len(first):
            result[name]["note"] = NOBODY
        elif not np.isfinite(numbers[2]):
            result[name]["note"] = "not defined: a class is missing, or truth or prediction is constant"
        elif few:
            result[name]["note"] = f"no interval: resamples of fewer than {FEWEST} subjects tell too little"
        elif undefined:
            result[name]["note"] = "no interval: not defined in too many of the resamples, too few subjects"
    return result


def paired_tests(
    first: pd.DataFrame, second: pd.DataFrame, kind: Kind, classes: Sequence[str], seed: int
) -> list[PairedTest]:
    """The tests that fit, on one scan of each subject; arguments as those of `differences`."""
    kept = one_a_subject(first, seed).index
    one, other = first.loc[kept], second.loc[kept]
    scans = len(one)
    if kind == "regression":
        errors = [(rows["prediction"] - rows["truth"]).abs().to_numpy(float) for rows in (one, other)]
        return [PairedTest("Wilcoxon's signed ranks, of absolute errors", wilcoxon(*errors), scans)]
    right = [(rows["prediction"] == rows["truth"]).to_numpy() for rows in (one, other)]
    found = [PairedTest("McNemar's exact test, of accuracy", mcnemar(*right), scans)]
    if len(classes) == 2:
        scores = [rows[f"p_{classes[1]}"].to_numpy(float) for rows in (one, other)]
        p = delong((one["truth"] == classes[1]).to_numpy(), *scores)
        found.insert(0, PairedTest("DeLong's test, of the area under the ROC curve", p, scans))
    return found


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of (n,) right answers of one model and of another: a binomial test of where only one is right.

    Source: McNemar 1947, Psychometrika 12, in its exact form.
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return float(binomtest(only_first, only_first + only_second).pvalue) if only_first + only_second else 1.0


def wilcoxon(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of the signed ranks of the differences of (n,) absolute errors; 1 where they are all the same."""
    from scipy import stats

    return float(stats.wilcoxon(first, second).pvalue) if (first != second).any() else 1.0


def delong(positive: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided p of the difference of two areas under ROC curves of the same scans; NaN where there is one class only.

    Args:
        positive: (n,) bool.
        first: (n,) scores of one model.
        second: (n,) of the other.
    Sources: DeLong et al. 1988, Biometrics 44; computed from mid-ranks as by Sun & Xu 2014, IEEE SPL 21.
    """
    from scipy.stats import norm

    if positive.sum() < 2 or (~positive).sum() < 2:
        return float("nan")
    above, below = zip(*(_placements(positive, score) for score in (first, second)), strict=True)
    covariance = np.cov(above) / positive.sum() + np.cov(below) / (~positive).sum()
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    difference = above[0].mean() - above[1].mean()
    if variance < 1e-15:
        return 1.0 if abs(difference) < 1e-9 else float("nan")
    return float(2 * norm.sf(abs(difference) / np.sqrt(variance)))


def _placements(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each positive the share of negatives below it, and of each negative the share of positives above it."""
    from scipy.stats import rankdata

    above, below = score[positive], score[~positive]
    ranks = rankdata(np.concatenate([above, below]))
    return (
        (ranks[: len(above)] - rankdata(above)) / len(below),
        1 - (ranks[len(above) :] - rankdata(below)) / len(above),
    )


def holm(p: Sequence[float]) -> list[float]:
    """p of several tests, made larger so that by chance any is below 0.05 in one of twenty cases; NaN stays.

    Source: Holm 1979, Scandinavian Journal of Statistics 6.
    """
    values = np.asarray(p, float)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    values[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return values.tolist()
