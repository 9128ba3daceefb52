"""Whether predictions are better than chance: against the same predictions and targets dealt out among subjects."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tfmri.cohort.shuffle import dealer

DRAWS = 999
LEVEL = 0.01  # of chance that chance looks better than chance


@dataclass(frozen=True)
class AgainstChance:
    """How good predictions are beside chance.

    Args:
        metric: in words.
        value: of the predictions.
        limit: what chance reaches in one of a hundred draws.
        p: share of the draws that are as good or better, the predictions themselves counted among them.
    """

    metric: str
    value: float
    limit: float
    p: float

    @property
    def better(self) -> bool:
        """Whether this is hardly chance."""
        return self.p <= LEVEL


def against_chance(truth: pd.Series, predicted: pd.Series, subjects: pd.Series, seed: int = 0) -> AgainstChance:
    """A permutation test of balanced accuracy, or of the mean absolute error for numbers.

    Args:
        truth: (n,) classes or numbers.
        predicted: (n,) the same.
        subjects: (n,) whose they are: all targets of a subject go together.
        seed: of the draws.
    """
    numeric = pd.api.types.is_numeric_dtype(predicted)
    measure: Callable[[np.ndarray], float]
    if numeric:
        true, found = truth.to_numpy(float), predicted.to_numpy(float)

        def measure(rows: np.ndarray) -> float:
            return -float(np.mean(np.abs(true[rows] - found)))
    else:
        true, classes = pd.factorize(truth.astype(str))
        found = classes.get_indexer(pd.Index(predicted.astype(str)))

        def measure(rows: np.ndarray) -> float:
            scans = np.bincount(true[rows], minlength=len(classes))
            hits = np.bincount(true[rows], true[rows] == found, minlength=len(classes))
            return float(np.mean(hits[scans > 0] / scans[scans > 0]))

    value = measure(np.arange(len(truth)))
    random, deal = np.random.default_rng(seed), dealer(subjects.to_numpy(str))
    draws = np.array([measure(deal(random)) for _ in range(DRAWS)])
    limit, sign = float(np.quantile(draws, 1 - LEVEL)), -1 if numeric else 1
    p = (1 + int(np.sum(draws >= value - 1e-9))) / (1 + DRAWS)
    return AgainstChance("mean absolute error" if numeric else "balanced accuracy", sign * value, sign * limit, p)


def shuffled_labels_sentence(found: AgainstChance, where: str) -> str:
    """What follows from predictions of a model that learnt from shuffled targets; `where` such as 'on validation'."""
    known = (
        f"{found.metric} {found.value:.3f} {where}, where chance reaches {found.limit:.3f} in one of a hundred draws"
    )
    if not found.better:
        return f"shuffled labels: {known}: no better than chance, as it must be"
    return (
        f"shuffled labels: {known}: BETTER THAN CHANCE (p = {found.p:.3f}). Once in a hundred times that is luck: "
        "repeat it with another seed. If it stays, the targets reach the model by another way than by learning"
    )
