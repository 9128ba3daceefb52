"""The bias of predicted age with age: models guess towards the mean, so that the young look old and the old young.

The line is fitted where the model did not train, and never on test. Corrected gaps have a column of their own, for
relating the gap to other things; they are no better predictions, since the correction uses the true age.

Sources: Beheshti et al. 2019, NeuroImage: Clinical 24; de Lange & Cole 2020, NeuroImage: Clinical 26; Butler et al.
2021, Human Brain Mapping 42.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class AgeBias:
    """The line gap = slope * age + intercept, gap being prediction minus age.

    Args:
        slope: years of gap for each year of age; below 0 for nearly all models.
        intercept: years.
    """

    slope: float
    intercept: float


def fit_age_bias(truth: np.ndarray, prediction: np.ndarray) -> AgeBias:
    """The least-squares line through the gaps of (n,) ages and predictions, in years.

    Raises:
        ValueError: fewer than three scans, or all of one age.
    """
    truth, prediction = np.asarray(truth, float), np.asarray(prediction, float)
    if len(truth) < 3 or not np.ptp(truth) > 0:
        raise ValueError("the bias with age needs three scans or more, of people of different ages")
    slope, intercept = np.polyfit(truth, prediction - truth, 1)
    return AgeBias(float(slope), float(intercept))


def corrected_gap(truth: np.ndarray, prediction: np.ndarray, bias: AgeBias) -> np.ndarray:
    """(n,) gaps less what the bias says of the age: Beheshti et al. 2019, equation 2; in years."""
    truth, prediction = np.asarray(truth, float), np.asarray(prediction, float)
    return prediction - truth - (bias.slope * truth + bias.intercept)
