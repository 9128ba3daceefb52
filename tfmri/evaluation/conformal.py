"""Intervals and sets of classes that hold the truth with a chosen probability, whatever the model: split conformal.

Calibrated on scans that the model did not train on. The promise holds on average over people who are drawn as those of
the calibration were, so not for a site that it has not seen. Each person counts once, by one of their scans.

Sources: Lei et al. 2018, JASA 113, algorithm 2 (intervals); Sadinle et al. 2019, JASA 114 (sets); Dunn et al. 2023,
JASA 118 (one scan of each person).
"""

import numpy as np
import pandas as pd


def fewest(level: float) -> int:
    """How many people a calibration at `level` needs at least: 9 for 0.9."""
    return int(np.ceil(round(level / (1 - level), 9)))


def interval_half_width(truth: np.ndarray, prediction: np.ndarray, level: float) -> float:
    """What is to be taken to either side of a prediction, in the target's unit; infinite for fewer than `fewest`.

    Args:
        truth: (n,) of calibration, one scan of each person.
        prediction: (n,).
        level: share of intervals that are to hold the truth, 0 to 1.
    """
    return conformal_quantile(np.abs(np.asarray(prediction, float) - np.asarray(truth, float)), level)


def set_quantile(truth: np.ndarray, probabilities: np.ndarray, level: float) -> float:
    """How improbable a class may be, 1 - p, and still be in the set; infinite for fewer than `fewest`.

    Args:
        truth: (n,) class numbers of calibration, one scan of each person.
        probabilities: (n, classes).
        level: share of sets that are to hold the truth, 0 to 1.
    """
    return conformal_quantile(1 - np.asarray(probabilities, float)[np.arange(len(truth)), truth], level)


def prediction_sets(probabilities: np.ndarray, quantile: float) -> np.ndarray:
    """(n, classes) bool: the classes in each set. The most probable class always is, so that no set is empty."""
    probabilities = np.asarray(probabilities, float)
    inside = 1 - probabilities <= quantile
    inside[np.arange(len(inside)), probabilities.argmax(axis=1)] = True
    return inside


def conformal_quantile(scores: np.ndarray, level: float) -> float:
    """The ceil((n + 1) level)-th smallest of (n,) scores; infinite where there are not as many."""
    rank = int(np.ceil(round((len(scores) + 1) * level, 9)))
    return float(np.sort(scores)[rank - 1]) if 0 < rank <= len(scores) else np.inf


def one_a_subject(rows: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """One row of each `subject`, drawn at random."""
    return rows.sample(frac=1, random_state=seed).drop_duplicates("subject").sort_index()
