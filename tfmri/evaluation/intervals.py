"""Percentile bootstrap intervals that resample subjects, all scans of a subject together.

Scans of one subject are not independent, so subjects are what is drawn, with replacement, as many as there are. A draw
is a row of weights: how often each scan counts. Draws are not stratified by class: a metric that needs a class which a
draw misses is undefined in that draw and left out of the percentiles; how often that happened is counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST = 10  # subjects; resamples of fewer vary too little: of the errors of 5, 95 % intervals hold the truth in 80 %
BLOCK = 4_000_000  # weights given to the statistics at once, 32 MB; they hold several arrays of that size


@dataclass(frozen=True)
class Interval:
    """A percentile interval; `lower` and `upper` are NaN where no resample defines the metric.

    Args:
        lower: lower end.
        upper: upper end.
        undefined: share of resamples in which the metric has no value, 0 to 1.
    """

    lower: float
    upper: float
    undefined: float


def subject_weights(subjects, resamples: int, seed: int) -> np.ndarray:
    """How often each scan counts in each resample of the subjects.

    The same subjects and seed give the same draws, whatever the order of the rows, so that two models on the same
    subjects can be compared draw by draw.

    Args:
        subjects: (n,) ids, one per scan.
        resamples: number of draws.
        seed: of the draws.

    Returns:
        (resamples, n) float64; a subject's scans all have the same weight.
    """
    names, subject = np.unique(np.asarray(subjects, dtype=str), return_inverse=True)
    count = len(names)
    drawn = np.random.default_rng([seed, count]).integers(count, size=(resamples, count))
    drawn += count * np.arange(resamples)[:, None]
    return np.bincount(drawn.ravel(), minlength=resamples * count).reshape(resamples, count)[:, subject].astype(float)


def percentile_intervals(
    statistics: Callable[..., Mapping[str, np.ndarray]],
    subjects,
    seed: int,
    resamples: int = 1000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Interval of each statistic over resamples of the subjects.

    Args:
        statistics: called with ``weights=`` (resamples, n); gives {name: (resamples,)}, NaN where undefined.
        subjects: (n,) ids, one per scan.
        seed: of the draws.
        resamples: number of draws.
        level: coverage, 0 to 1.
    Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    weights = subject_weights(subjects, resamples, seed)
    rows = max(1, BLOCK // max(1, weights.shape[1]))
    blocks = [statistics(weights=weights[start : start + rows]) for start in range(0, resamples, rows)]
    return {name: percentile_interval(np.concatenate([block[name] for block in blocks]), level) for name in blocks[0]}


def percentile_interval(draws: np.ndarray, level: float = 0.95) -> Interval:
    """The central `level` of (resamples,) draws; undefined ones (NaN) are left out and counted."""
    defined = draws[~np.isnan(draws)]
    if not defined.size:
        return Interval(np.nan, np.nan, 1.0)
    lower, upper = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(lower), float(upper), 1 - defined.size / draws.size)


def perfect_score_bound(counts: Sequence[int], level: float = 0.95) -> float:
    """The lowest mean recall that still answers every subject rightly with probability (1 - level) / 2.

    Where nothing is wrong, every resample is perfect too and the bootstrap interval shrinks to a point, however few the
    subjects. This is the lower end to give then; 1 minus it is the upper end where nothing is right.

    With recalls r and class sizes n it minimises mean(r) under prod(r ** n) = (1 - level) / 2, whose solution is
    r = min(1, t n). For one count it is Clopper & Pearson's 1934 bound, ((1 - level) / 2) ** (1 / n).

    Args:
        counts: subjects of each class; for accuracy, or one class's recall, a single number.
        level: coverage, 0 to 1.
    """
    from scipy.optimize import brentq

    sizes = np.asarray(counts, float)
    goal = np.log((1 - level) / 2)
    log_t = brentq(
        lambda log_t: (sizes * np.minimum(0, log_t + np.log(sizes))).sum() - goal, goal - 50, -np.log(sizes.min())
    )
    return float(np.minimum(1, np.exp(log_t) * sizes).mean())
