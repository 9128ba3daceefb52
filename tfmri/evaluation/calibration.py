"""Probabilities that mean what they say, and where to cut them: learnt on validation, never on test."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

EXTREMES = 0.05, 20.0  # of a temperature


def fit_temperature(probabilities: np.ndarray, truth: Sequence[int] | np.ndarray) -> float:
    """The temperature that gives the scans the lowest log loss, within `EXTREMES`; above 1 where a model is too sure.

    Args:
        probabilities: (n, classes), rows summing to 1.
        truth: (n,) class numbers.

    Raises:
        ValueError: no scans.
    Source: Guo et al. 2017, ICML, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    truth = np.asarray(truth, int)
    if not len(truth):
        raise ValueError("a temperature is learnt from at least one scan")
    logits = _logits(probabilities)

    def log_loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(scaled).sum(axis=1)) - scaled[np.arange(len(truth)), truth]))

    low, high = np.log(EXTREMES)
    found = minimize_scalar(log_loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(min((low, found.x, 0.0, high), key=log_loss)))  # the search stops short of the ends, and of 1


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """(n, classes) softmax of the logits divided by `temperature`: the same classes, more or less sure of them."""
    from scipy.special import softmax

    return softmax(_logits(probabilities) / temperature, axis=1)


def fit_sd_factor(truth: np.ndarray, prediction: np.ndarray, sd: np.ndarray) -> float:
    """What predicted standard deviations are to be multiplied by; above 1 where a model is too sure.

    It is the root of the mean of ((truth - prediction) / sd)², at which the normal likelihood is highest.

    Args:
        truth: (n,).
        prediction: (n,) in the same unit.
        sd: (n,), above 0.

    Raises:
        ValueError: no scans.
    Source: Laves et al. 2020, MIDL, equation 9.
    """
    if not len(truth):
        raise ValueError("a factor of standard deviations is learnt from at least one scan")
    return float(np.sqrt(np.mean(((truth - prediction) / sd) ** 2)))


def needed_level(rows: "pd.DataFrame", sd: str) -> np.ndarray:
    """(n,) level of the narrowest central interval that holds the truth, 0 to 1.

    Args:
        rows: with `truth` and `prediction`, the mean of a normal distribution.
        sd: the column of its standard deviation.
    """
    from scipy.special import erf

    gap = rows["truth"].to_numpy(float) - rows["prediction"].to_numpy(float)
    return erf(np.abs(gap) / rows[sd].to_numpy(float) / np.sqrt(2))


def choose_threshold(positive: np.ndarray, score: np.ndarray) -> float:
    """The threshold, of those half-way between scores, at which `score >= threshold` has the best balanced accuracy.

    Among equals the one nearest to 0.5.

    Args:
        positive: (n,) bool.
        score: (n,) probability of being positive.

    Raises:
        ValueError: one class only.
    """
    positive, score = np.asarray(positive, bool), np.asarray(score, float)
    if positive.all() or not positive.any():
        raise ValueError("a threshold needs scans of both classes")
    values = np.unique(score)
    thresholds = np.unique([0.5, values[0], *(values[1:] + values[:-1]) / 2, np.nextafter(values[-1], np.inf)])
    # how many of each lie below a threshold, from the sorted scores
    missed = np.searchsorted(np.sort(score[positive]), thresholds, side="left") / positive.sum()
    refused = np.searchsorted(np.sort(score[~positive]), thresholds, side="left") / (~positive).sum()
    accuracy = (1 - missed + refused) / 2
    best = thresholds[accuracy > accuracy.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])


def _logits(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(np.asarray(probabilities, float), 1e-12))
