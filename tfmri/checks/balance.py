"""How a target is spread: over its classes, and over training, validation and test.

Everything is counted in subjects, each with its first scan: people are drawn into a study, not scans.
"""

import math

import numpy as np
import pandas as pd

from tfmri.checks.finding import Finding, Harm

SIDES = ("train", "validation", "test")
IMBALANCED = 3.0  # the largest class has so many times the subjects of the smallest
VERY_IMBALANCED = 9.0
SURE = 0.005  # p below which two distributions are said to differ; a sound split does so once in 200 times
NEAR = 0.05  # of the training range: what lies so near to it is not far outside; likewise, so few scans are not many
DRAWN = 5000  # tables drawn for a p value
WIDE = 0.1  # half a 95 % interval of the test accuracy, above which it is told


def balance_findings(table: pd.DataFrame, target: str, numeric: bool, labels: str) -> list[Finding]:
    """What there is to say of a target's distribution.

    Args:
        table: a cohort's table. Its `split` is '' throughout where it is not known.
        target: name of its column.
        numeric: whether the target is a number, and no class.
        labels: name of the labels file, for `where`.
    """
    people = table.drop_duplicates("subject")
    split = people[people["split"].isin(SIDES)]
    where = f"{labels}, column '{target}'"
    findings = [] if numeric else _imbalance(people[target], target, where)
    if not split.empty:
        values, sides = split[target], split["split"]
        findings += _outside(table, target, where) if numeric else _absent(values, sides, where)
        findings += _differences(values, sides, numeric, target, where)
        findings += _small_test(values[sides == "test"], numeric, target, where)
    return findings


def _imbalance(values: pd.Series, target: str, where: str) -> list[Finding]:
    counts = values.value_counts()
    largest, smallest = counts.iloc[0], counts.iloc[-1]
    ratio = largest / smallest
    if len(counts) < 2 or ratio < IMBALANCED:
        return []
    very = ratio >= VERY_IMBALANCED
    share = largest / counts.sum()
    found = f"{_counted(counts)}: '{counts.index[0]}' is {ratio:.1f} times as frequent as '{counts.index[-1]}'"
    advice = (
        f"Always saying '{counts.index[0]}' is right in {share:.0%} of the subjects: judge by balanced accuracy or "
    )
    advice += f"ROC AUC, not by accuracy, and consider targets.{target}.class_weights: balanced."
    numbers = {"ratio": ratio, "n": int(counts.sum()), "majority_share": share}
    return [Finding("class_imbalance", Harm.DOUBTFUL if very else Harm.NOTE, where, found, "", advice, (), numbers)]


def _absent(values: pd.Series, sides: pd.Series, where: str) -> list[Finding]:
    """Classes that a split has nobody of."""
    findings = []
    for side in [side for side in SIDES if (sides == side).any()]:
        for label in sorted(set(values) - set(values[sides == side])):
            spoils = side == "train"
            advice = "It cannot be learnt then: training refuses." if spoils else "Nothing is known about it then."
            advice += f" Put some of its {(values == label).sum()} subjects there, or take larger shares."
            harm = Harm.SPOILS if spoils else Harm.DOUBTFUL
            expected = "each class in each split"
            findings.append(
                Finding(
                    "class_absent_in_split", harm, where, f"nobody of class '{label}' is in {side}", expected, advice
                )
            )
    return findings


def _outside(table: pd.DataFrame, target: str, where: str) -> list[Finding]:
    """Numbers that are asked for in validation or test, but lie outside what is trained on."""
    trained = table.loc[table["split"] == "train", target]
    others = table[table["split"].isin(["validation", "test"])]
    outside = others[(others[target] < trained.min()) | (others[target] > trained.max())]
    if outside.empty or trained.empty:
        return []
    least, most = outside[target].min(), outside[target].max()
    found = f"{len(outside)} scans of validation and test ({least:g} to {most:g}) lie outside the training range"
    expected = f"{trained.min():g} to {trained.max():g}, as in train"
    advice = "A network cannot be expected to extrapolate; soft labels refuse such numbers."
    near = NEAR * (trained.max() - trained.min())
    far = int(((outside[target] < trained.min() - near) | (outside[target] > trained.max() + near)).sum())
    harm = Harm.DOUBTFUL if far > NEAR * len(others) else Harm.NOTE
    numbers = {"n": len(outside), "far": far, "lowest": float(least), "highest": float(most)}
    return [Finding("outside_training_range", harm, where, found, expected, advice, tuple(outside["scan"]), numbers)]


def _differences(values: pd.Series, sides: pd.Series, numeric: bool, target: str, where: str) -> list[Finding]:
    """Whether validation and test are drawn from the same people as train."""
    findings = []
    trained = values[sides == "train"]
    for side in ("validation", "test"):
        there = values[sides == side]
        if trained.empty or there.empty:
            continue
        statistic, p, name = _two_numbers(trained, there) if numeric else _two_classes(trained, there)
        if p >= SURE:
            continue
        found = f"{target} in {side} ({_summary(there, numeric)}) differs from train ({_summary(trained, numeric)}): "
        found += f"{name} {statistic:.2f}, p = {p:.2g}: chance alone would hardly part people like this"
        what = "the best epoch is chosen on" if side == "validation" else "the test result holds for"
        advice = f"If this is not meant, make the split anew: {what} other people than those trained on."
        numbers = {"statistic": statistic, "p": p, "n_train": len(trained), f"n_{side}": len(there)}
        findings.append(Finding("split_differs", Harm.DOUBTFUL, where, found, "", advice, (), numbers))
    return findings


def _two_numbers(first: pd.Series, second: pd.Series) -> tuple[float, float, str]:
    from scipy.stats import ks_2samp

    result = ks_2samp(first, second)
    return float(result.statistic), float(result.pvalue), "Kolmogorov-Smirnov distance"


def _two_classes(first: pd.Series, second: pd.Series) -> tuple[float, float, str]:
    """Pearson's chi-square; p from tables drawn with the same margins, for counts may be small."""
    from scipy.stats import random_table

    counts = pd.DataFrame({"first": first.value_counts(), "second": second.value_counts()}).fillna(0).to_numpy(int)
    if len(counts) < 2:
        return 0.0, 1.0, "chi-square"
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    drawn = random_table(counts.sum(axis=1), counts.sum(axis=0)).rvs(DRAWN, random_state=0)
    statistic = ((counts - expected) ** 2 / expected).sum()
    extreme = ((drawn - expected) ** 2 / expected).sum(axis=(1, 2)) >= statistic - 1e-9
    return float(statistic), float((1 + extreme.sum()) / (1 + DRAWN)), "chi-square"


def _small_test(values: pd.Series, numeric: bool, target: str, where: str) -> list[Finding]:
    """How little a small test split can tell."""
    if numeric or values.empty:
        half = 1.96 * 0.75 / math.sqrt(max(1, len(values)))  # of a mean absolute error, whose errors are about normal
        if values.empty or half < 2 * WIDE:
            return []
        found = f"{len(values)} subjects in test: its mean absolute error is known to about ±{half:.0%} of itself"
    else:
        counts = values.value_counts()
        half = 1.96 * math.sqrt(sum(0.8 * 0.2 / count for count in counts)) / len(counts)
        if half < WIDE:
            return []
        found = f"{_counted(counts)} in test: a balanced accuracy of 80 % is known to about ±{100 * half:.0f} points"
    advice = "Say so with the result, which comes with its interval; cross-validation (split.folds) uses everybody."
    return [Finding("small_test", Harm.NOTE, where, found, "", advice, (), {"n": len(values), "half_interval": half})]


def _counted(counts: pd.Series) -> str:
    return ", ".join(f"{count} '{label}'" for label, count in counts.items())


def _summary(values: pd.Series, numeric: bool) -> str:
    if numeric:
        return f"{values.mean():.3g} ± {np.std(values):.2g}"
    shares = values.value_counts(normalize=True)
    return ", ".join(f"{share:.0%} {label}" for label, share in sorted(shares.items()))
