"""Metrics of classes and of numbers, for a sample and for all its bootstrap resamples at once.

Every metric is written once, in terms of `weights`: how often each scan counts. `weights` is (n,), or (resamples, n)
with one resample per row; a metric comes back as a number, or as (resamples,). Left out, every scan counts once and the
values are scikit-learn's. A metric that is undefined (a recall where the class is absent, a correlation with a
constant) is NaN, in each resample for itself.

The gap is prediction minus truth: positive where a brain looks older than it is.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:  # whoever reads an experiment's settings comes by here, and needs no pandas
    import pandas as pd

Kind = Literal["classification", "ordinal", "regression"]  # ordinal: classes that have an order
Metrics = dict[str, Any]  # metric -> number, or (resamples,) float64

LOWER_IS_BETTER = frozenset({"loss", "mae", "mse", "rmse", "brier", "log_loss", "ece", "stage_mae"})
CALIBRATION_BINS = 10


def classification_metrics(truth, prediction, probabilities, classes: Sequence[str], weights=None) -> Metrics:
    """balanced_accuracy, accuracy, recall_<class>, precision_<class>, mcc, roc_auc, average_precision, brier, log_loss,
    ece.

    `balanced_accuracy` is the mean recall over the classes that occur in `truth` at all; a resample that misses one of
    them has none. `precision_<class>` is NaN where nobody is predicted to be of the class. `roc_auc` and
    `average_precision` are of the second of two classes, and of more the unweighted mean of one-versus-rest.
    `brier` of two classes is the mean squared error of one probability; of more, of all of them, summed.

    Args:
        truth: (n,) class names.
        prediction: (n,) class names; need not be the most probable class.
        probabilities: (n, classes), in the order of `classes`, rows summing to 1.
        classes: names, at least two.
        weights: (n,) or (resamples, n), how often each scan counts.

    Raises:
        ValueError: a name that is not among `classes`.
    """
    truth, prediction = class_numbers(truth, classes), class_numbers(prediction, classes)
    probabilities = np.asarray(probabilities, float)
    weights = np.ones(len(truth)) if weights is None else weights
    total = weights.sum(-1)
    is_class = truth[:, None] == np.arange(len(classes))
    table = confusion(truth, prediction, len(classes), weights)
    hits, rows, columns = np.diagonal(table, axis1=-2, axis2=-1), table.sum(-1), table.sum(-2)
    with np.errstate(divide="ignore", invalid="ignore"):
        recall, precision = hits / rows, hits / columns
        aucs = [roc_auc(is_class[:, c], probabilities[:, c], weights) for c in range(len(classes))]
        precisions = [average_precision(is_class[:, c], probabilities[:, c], weights) for c in range(len(classes))]
        covariance = hits.sum(-1) * total - (rows * columns).sum(-1)
        spread = np.sqrt((total**2 - (rows**2).sum(-1)) * (total**2 - (columns**2).sum(-1)))
        squared = ((probabilities - is_class) ** 2).sum(1) / (2 if len(classes) == 2 else 1)
        of_truth = np.clip(probabilities[is_class], np.finfo(float).eps, 1)
        return {
            "balanced_accuracy": recall[..., is_class.any(0)].mean(-1) if len(truth) else np.nan * total,
            "accuracy": hits.sum(-1) / total,
            **{f"recall_{name}": recall[..., c][()] for c, name in enumerate(classes)},
            **{f"precision_{name}": precision[..., c][()] for c, name in enumerate(classes)},
            # as scikit-learn: 0 where one side is constant
            "mcc": np.where(total > 0, np.divide(covariance, np.where(spread > 0, spread, np.inf)), np.nan)[()],
            "roc_auc": aucs[1] if len(classes) == 2 else np.mean(aucs, axis=0),
            "average_precision": precisions[1] if len(classes) == 2 else np.mean(precisions, axis=0),
            "brier": weights @ squared / total,
            "log_loss": weights @ -np.log(of_truth) / total,
            "ece": expected_calibration_error(truth, probabilities, weights),
        }


def ordinal_metrics(truth, prediction, probabilities, classes: Sequence[str], weights=None) -> Metrics:
    """The `classification_metrics`, whose arguments it takes, and then quadratic_kappa and stage_mae.

    Classes count as the stages 0, 1, ... in their order. `stage_mae` is the mean absolute error in stages.
    `quadratic_kappa` is Cohen's kappa with quadratic weights (Cohen 1968, Psychological Bulletin 70): 1 less the mean
    squared error over that of the same answers dealt out at random; NaN where truth and prediction are one class.
    """
    stage, said = (class_numbers(names, classes).astype(float) for names in (truth, prediction))
    counts = np.ones(len(stage)) if weights is None else weights
    total = counts.sum(-1)
    at_random = total * (counts @ (stage**2 + said**2)) - 2 * (counts @ stage) * (counts @ said)  # whole numbers
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            **classification_metrics(truth, prediction, probabilities, classes, weights),
            "quadratic_kappa": 1 - total * (counts @ (stage - said) ** 2) / _or_nan(at_random),
            "stage_mae": counts @ np.abs(stage - said) / total,
        }


def regression_metrics(truth, prediction, weights=None) -> Metrics:
    """mae, rmse, r2, pearson_r, spearman_r, mean_gap, gap_age_r (the correlation of gap and truth).

    Args:
        truth: (n,) numbers, years for age.
        prediction: (n,) numbers in the same unit.
        weights: (n,) or (resamples, n), how often each scan counts.
    """
    truth, prediction = np.asarray(truth, float), np.asarray(prediction, float)
    if truth.ndim != 1 or truth.shape != prediction.shape:  # (n, 1) against (n,) would broadcast to n x n
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} must both be (n,)")
    weights = np.ones(len(truth)) if weights is None else weights
    total, gap = weights.sum(-1), prediction - truth
    with np.errstate(divide="ignore", invalid="ignore"):
        mse = weights @ gap**2 / total
        return {
            "mae": weights @ np.abs(gap) / total,
            "rmse": np.sqrt(mse),
            "r2": 1 - mse / _variance(truth, weights),
            "pearson_r": pearson_r(truth, prediction, weights),
            "spearman_r": pearson_r(ranks(truth, weights), ranks(prediction, weights), weights),
            "mean_gap": weights @ gap / total,
            "gap_age_r": pearson_r(gap, truth, weights),
        }


def metrics_of(rows: "pd.DataFrame", kind: Kind, classes: Sequence[str]) -> Callable[..., Metrics]:
    """The metrics of a predictions table (columns truth, prediction, p_<class>), to be called with `weights=`."""
    if kind == "regression":
        return partial(regression_metrics, rows["truth"].to_numpy(float), rows["prediction"].to_numpy(float))
    measure = {"classification": classification_metrics, "ordinal": ordinal_metrics}[kind]
    return partial(measure, rows["truth"], rows["prediction"], probabilities_of(rows, classes), classes)


def probabilities_of(rows: "pd.DataFrame", classes: Sequence[str]) -> np.ndarray:
    """(n, classes) float64 from the columns p_<class> of a predictions table."""
    return rows[[f"p_{name}" for name in classes]].to_numpy(float)


def class_numbers(names, classes: Sequence[str]) -> np.ndarray:
    """(n,) place of each name in `classes`. ValueError for a name that is not there."""
    import pandas as pd

    numbers = pd.Index(classes).get_indexer(pd.Index(names, dtype=object))
    if (numbers < 0).any():
        raise ValueError(f"'{np.asarray(names)[numbers < 0][0]}' is not one of the classes {list(classes)}")
    return numbers


def confusion(truth: np.ndarray, prediction: np.ndarray, classes: int, weights: np.ndarray) -> np.ndarray:
    """(..., classes, classes) summed weights, truth in rows and prediction in columns, from (n,) class numbers."""
    cell = np.eye(classes * classes)[truth * classes + prediction]
    return (weights @ cell).reshape(*weights.shape[:-1], classes, classes)


def roc_auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> Any:
    """Share of (positive, negative) pairs in which the positive has the higher score, ties counting half.

    Args:
        positive: (n,) bool.
        score: (n,).
        weights: (n,) or (resamples, n).
    Source: Mann & Whitney 1947; equal to the area under the ROC curve (Hanley & McNeil 1982).
    """
    above, below = _at_each_score(positive, score, weights)
    lower = below.cumsum(-1) - below
    return (above * (lower + below / 2)).sum(-1) / (above.sum(-1) * below.sum(-1))


def roc_points(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates, each (..., distinct scores + 1) ascending from 0 to 1; see `roc_auc`."""

    def rate(at_score: np.ndarray) -> np.ndarray:
        passed = np.flip(at_score, -1).cumsum(-1) / at_score.sum(-1, keepdims=True)
        return np.concatenate([np.zeros_like(passed[..., :1]), passed], axis=-1)

    with np.errstate(divide="ignore", invalid="ignore"):
        true_positive, false_positive = (rate(at_score) for at_score in _at_each_score(positive, score, weights))
    return false_positive, true_positive


def precision_recall_points(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Recall, ascending to 1, and precision there, each (..., distinct scores); see `average_precision`."""
    above, below = (np.flip(each, -1).cumsum(-1) for each in _at_each_score(positive, score, weights))
    with np.errstate(divide="ignore", invalid="ignore"):
        return above / above[..., -1:], above / (above + below)


def average_precision(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> Any:
    """Precision at each distinct score, averaged with the recall gained there; NaN without positives.

    Args:
        positive: (n,) bool.
        score: (n,).
        weights: (n,) or (resamples, n).
    Source: scikit-learn's `average_precision_score`, which does not interpolate (Davis & Goadrich 2006, ICML).
    """
    above, below = (np.flip(each, -1) for each in _at_each_score(positive, score, weights))
    found = above.cumsum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nansum(above * found / (found + below.cumsum(-1)), -1) / _or_nan(above.sum(-1))


def ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) or (resamples, n) ranks of (n,) `values`, each counted as often as it weighs; ties share their mean rank."""
    _, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    first = np.flatnonzero(np.diff(place[order], prepend=-1))
    here = np.add.reduceat(weights[..., order], first, -1)
    return (here.cumsum(-1) - (here - 1) / 2)[..., place]


def reliability_bins(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Scans by confidence (of their most probable class), in CALIBRATION_BINS bins of equal width, closed on the right.

    Args:
        truth: (n,) class numbers.
        probabilities: (n, classes).
        weights: (n,) or (resamples, n).

    Returns:
        Weight, mean confidence and accuracy of each bin, (..., bins); NaN where a bin is empty.
    """
    confidence = probabilities.max(1)
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    member = np.eye(CALIBRATION_BINS)[np.searchsorted(edges[1:-1], confidence)]
    correct = probabilities.argmax(1) == truth
    weight = weights @ member
    with np.errstate(invalid="ignore"):
        return weight, weights @ (member * confidence[:, None]) / weight, weights @ (member * correct[:, None]) / weight


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> Any:
    """Mean distance of confidence and accuracy over the bins of `reliability_bins`, weighted by their scans.

    Biased upwards in small samples: with some 20 scans even a perfectly calibrated model has about 0.1.
    Source: Guo et al. 2017, ICML, equation 3.
    """
    weight, confidence, accuracy = reliability_bins(truth, probabilities, weights)
    return np.nansum(weight * np.abs(confidence - accuracy), -1) / weight.sum(-1)


def pearson_r(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> Any:
    """Correlation of two variables, (n,) or of each resample (resamples, n), weighted; NaN where one is constant."""
    total, x, y = weights.sum(-1), _centred(x), _centred(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = _sum(x * y, weights) / total - (_sum(x, weights) / total) * (_sum(y, weights) / total)
        return np.clip(covariance / np.sqrt(_variance(x, weights) * _variance(y, weights)), -1, 1)


def _variance(x: np.ndarray, weights: np.ndarray) -> Any:
    """Weighted variance; NaN where `x` is constant, so that what is divided by it is undefined."""
    total, x = weights.sum(-1), _centred(x)
    square = _sum(x**2, weights) / total
    variance = square - (_sum(x, weights) / total) ** 2
    return np.where(variance > 1e-12 * square, variance, np.nan)[()]  # a constant leaves a rounding error of 1e-16


def _or_nan(number: Any) -> Any:
    return np.where(number > 0, number, np.nan)


def _centred(x: np.ndarray) -> np.ndarray:
    return x - x.mean(-1, keepdims=True) if x.size else x


def _sum(x: np.ndarray, weights: np.ndarray) -> Any:
    """Weighted sum over the scans; `x` is (n,), or as `weights`."""
    return weights @ x if x.ndim == 1 else (weights * x).sum(-1)


def _at_each_score(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives at each distinct score, scores ascending: (..., distinct scores) each."""
    order = np.argsort(score)
    first = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    weights, positive = weights[..., order], positive[order]
    return np.add.reduceat(weights * positive, first, -1), np.add.reduceat(weights * ~positive, first, -1)
