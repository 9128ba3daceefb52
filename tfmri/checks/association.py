"""How strongly two things known of each subject go together, and how well one alone tells the other.

A thing is a class or a number per subject; numbers count by their ranks. Each is turned into an orthonormal basis of
what varies in it, (n, k): indicators of k + 1 classes, or ranks. The sum of squared products of two bases (Pillai's
trace) is then, times a constant, the well-known statistic of the pair: Pearson's chi² of two classes, Kruskal and
Wallis's H of a class and a number, the square of Spearman's rho of two numbers. One permutation test serves all.

`accuracy` and `explained` say what the p value does not: how well a subject is told by others who are alike in that
thing, itself left out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

MOST = 9_999  # permutations: enough for p = 0.001 of eight tests together,
BATCH = 500  # of them at once,
CERTAIN = 50  # of them as extreme as what was seen, with which the test ends: p is no longer small
NEIGHBOURS = 2  # on each side
FOLDS, REPEATS = 10, 5


@dataclass(frozen=True)
class Thing:
    """What is known of each subject.

    Args:
        values: (n,) numbers, or the index of a class.
        names: of the classes; none where it is a number.
    """

    values: np.ndarray
    names: tuple[str, ...] = ()

    def of(self, subjects: np.ndarray) -> "Thing":
        """The same of the subjects at these positions, without classes that none of them is in."""
        if not self.names:
            return Thing(self.values[subjects])
        present, values = np.unique(self.values[subjects], return_inverse=True)
        return Thing(values, tuple(self.names[index] for index in present))

    @property
    def constant(self) -> bool:
        """Whether it is the same for all."""
        return len(np.unique(self.values)) < 2


@dataclass(frozen=True)
class Test:
    """A statistic and how often chance alone gives one as extreme."""

    name: str
    value: float
    p: float


def classes(values: np.ndarray) -> Thing:
    """Words, one per subject, as a thing."""
    names, indices = np.unique(values.astype(str), return_inverse=True)
    return Thing(indices, tuple(names.tolist()))


def association(first: Thing, second: Thing, key: tuple[int, ...]) -> Test:
    """Whether two things go together: chi², H or rho, and its permutation p value.

    Args:
        first: of each subject.
        second: of the same subjects. Neither may be constant.
        key: of the random permutations.
    """
    count = len(first.values)
    a, b = sorted((_basis(first), _basis(second)), key=lambda basis: -basis.shape[1])  # what is permuted is narrow
    p = _permuted(lambda each: ((np.swapaxes(each, 1, 2) @ a) ** 2).sum(axis=(1, 2)), b, key)
    products = a.T @ b
    if not first.names and not second.names:
        return Test("Spearman's rho", float(products[0, 0]), p)
    if first.names and second.names:
        return Test("Pearson's chi²", float(count * (products**2).sum()), p)
    return Test("Kruskal–Wallis H", float((count - 1) * (products**2).sum()), p)


def serial(thing: Thing, key: tuple[int, ...]) -> Test:
    """Whether neighbours are alike in a thing: its serial correlation along the order it stands in, and one-sided p.

    Source: Wald & Wolfowitz 1943, Annals of Mathematical Statistics 14(4), with ranks; not closed to a circle.
    """
    basis = _basis(thing)
    value = float((basis[1:] * basis[:-1]).sum() / basis.shape[1])
    p = _permuted(lambda each: (each[:, 1:] * each[:, :-1]).sum(axis=(1, 2)), basis, key)
    return Test("serial correlation", value, p)


def accuracy(target: Thing, by: Thing | None = None) -> float:
    """Balanced accuracy with which `by` alone tells the class of a subject from all others; chance is 1 / classes.

    Told is the class in which the subject's own class of `by` is most frequent, or whose mean rank is nearest. Without
    `by`, the class most frequent among the neighbours in the order of the subjects. Ties count by halves. Classes are
    told by cross-validation with stratified folds: to leave out one alone would turn every tie against it.
    """
    own = np.eye(len(target.names))[target.values]  # (n, classes)
    others = own.sum(axis=0) - own
    if by is None:
        score = _neighbours(own) / np.maximum(others, 1)
    elif by.names:
        levels = np.eye(len(by.names))[by.values]
        return float(np.mean([_accuracy(own, _from_other_folds(own, levels, seed)) for seed in range(REPEATS)]))
    else:
        ranks = stats.rankdata(by.values)[:, np.newaxis]
        means = ((ranks * own).sum(axis=0) - ranks * own) / np.maximum(others, 1)
        score = np.where(others > 0, -np.abs(ranks - means), -np.inf)
    return _accuracy(own, score)


def explained(target: Thing, by: Thing | None = None) -> float:
    """R² of a number told by `by` alone, each subject from all others; 0 is what their mean tells, less is worse.

    Told is the mean of the subject's own class of `by`, or a straight line through the ranks. Without `by`, the mean of
    the neighbours in the order of the subjects.
    """
    numbers = target.values.astype(np.float64)
    mean = (numbers.sum() - numbers) / (len(numbers) - 1)
    if by is None:
        told = _neighbours(numbers[:, np.newaxis])[:, 0] / _neighbours(np.ones((len(numbers), 1)))[:, 0]
    elif by.names:
        levels = np.eye(len(by.names))[by.values]
        others = levels @ levels.sum(axis=0) - 1
        told = np.where(others > 0, (levels @ (levels.T @ numbers) - numbers) / np.maximum(others, 1), mean)
    else:
        ranks = stats.rankdata(by.values)
        ranks -= ranks.mean()
        squares = (ranks**2).sum()
        fitted = numbers.mean() + ranks * (ranks @ numbers) / squares
        told = numbers - (numbers - fitted) / (1 - 1 / len(numbers) - ranks**2 / squares)
    return float(1 - ((numbers - told) ** 2).sum() / ((numbers - mean) ** 2).sum())


def _accuracy(own: np.ndarray, score: np.ndarray) -> float:
    """Balanced accuracy of the highest of the scores (n, classes), `own` (n, classes) being 1 for the right class."""
    best = np.isclose(score, score.max(axis=1, keepdims=True))
    right = (best * own).sum(axis=1) / best.sum(axis=1)
    return float(np.mean((right @ own) / own.sum(axis=0)))


def _from_other_folds(own: np.ndarray, levels: np.ndarray, seed: int) -> np.ndarray:
    """(n, classes) how frequent each subject's level is in each class, among the subjects of other folds."""
    shuffled = np.random.default_rng([seed]).permutation(len(own))
    folds = np.empty(len(own), int)
    folds[shuffled[np.argsort(own[shuffled].argmax(axis=1), kind="stable")]] = np.arange(len(own)) % FOLDS
    score = np.zeros_like(own)
    for fold in range(FOLDS):
        others = own * (folds != fold)[:, np.newaxis]
        inside = folds == fold
        score[inside] = levels[inside] @ (levels.T @ others) / np.maximum(others.sum(axis=0), 1)
    return score


def _basis(thing: Thing) -> np.ndarray:
    """(n, k) orthonormal columns, each of mean 0."""
    if not thing.names:
        ranks = stats.rankdata(thing.values)
        ranks -= ranks.mean()
        return (ranks / np.linalg.norm(ranks))[:, np.newaxis]
    indicators = np.eye(len(thing.names))[thing.values]
    indicators = indicators[:, indicators.any(axis=0)]
    basis, _ = np.linalg.qr((indicators - indicators.mean(axis=0))[:, 1:])
    return basis


def _permuted(statistic: Callable[[np.ndarray], np.ndarray], basis: np.ndarray, key: tuple[int, ...]) -> float:
    """How often `statistic` of (batch, n, k) permuted rows is at least that of `basis`, itself counted among them.

    Source of ending early: Besag & Clifford 1991, Sequential Monte Carlo p-values, Biometrika 78(2).
    """
    seen = float(statistic(basis[np.newaxis])[0])
    rng = np.random.default_rng(key)
    rows = np.tile(np.arange(len(basis)), (BATCH, 1))
    extreme, done = 0, 0
    while done < MOST and extreme < CERTAIN:
        batch = min(BATCH, MOST - done)
        values = statistic(basis[rng.permuted(rows[:batch], axis=1)])
        extreme += int((values >= seen - 1e-9 * max(1.0, abs(seen))).sum())
        done += batch
    return (extreme + 1) / (done + 1)


def _neighbours(values: np.ndarray) -> np.ndarray:
    """(n, k) sums of the rows up to `NEIGHBOURS` before and after each row."""
    count = len(values)
    sums = np.zeros_like(values, dtype=np.float64)
    for step in range(1, min(NEIGHBOURS, count - 1) + 1):
        sums[step:] += values[:-step]
        sums[:-step] += values[step:]
    return sums
