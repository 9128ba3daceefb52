"""What tasks with classes have in common: names in order, codes, balanced weights, the table of probabilities."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.tasks.task import target_name


def counted(values: pd.Series, classes: Iterable[object]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the classes, and how many of the training targets `values` each has.

    Raises:
        InputError: fewer than two classes, a class without training samples, a value that is no class.
    """
    names = tuple(str(name) for name in classes)
    where = target_name(values)
    if len(names) < 2:
        raise InputError(Problem(where, f"{len(names)} class: {', '.join(names)}", "two or more"))
    counts = np.bincount(codes(values, names), minlength=len(names))
    if not counts.all():
        absent = [name for name, count in zip(names, counts, strict=True) if not count]
        advice = "Leave the class out, label more scans, or cut the splits differently."
        raise InputError(Problem(where, f"no training scan of {', '.join(absent)}", "some of every class", advice))
    return names, tuple(int(count) for count in counts)


def codes(values: pd.Series, classes: tuple[str, ...]) -> np.ndarray:
    """(n,) int32, places in `classes`, or an InputError that names what is none of them."""
    found = pd.Index(classes).get_indexer(pd.Index(values.astype(str)))
    if (found < 0).any():
        unknown = ", ".join(repr(value) for value in values[found < 0].unique()[:5])
        expected = "one of " + ", ".join(classes)
        advice = "Add it to the target's `classes`, or leave these rows out with data.where."
        raise InputError(Problem(target_name(values), f"unknown class {unknown}", expected, advice))
    return found.astype(np.int32)


def balanced_weights(counts: Sequence[int]) -> np.ndarray:
    """(classes,) n / (classes * count): of a sample of each class, with the mean 1 over the training samples."""
    return sum(counts) / (len(counts) * np.array(counts))


def shares(counts: Sequence[int], class_weights: str) -> np.ndarray:
    """(classes,) share of each class in the training loss."""
    of = np.array(counts, float) if class_weights == "none" else np.ones(len(counts))
    return of / of.sum()


def decoded(probability: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Columns `prediction`, the most probable class, and p_<class>, from (n, classes) probabilities."""
    table = pd.DataFrame(probability, columns=[f"p_{name}" for name in classes])
    table.insert(0, "prediction", np.array(classes, dtype=object)[probability.argmax(axis=1)])
    return table


def measured(correct: np.ndarray, found: np.ndarray) -> dict[str, float]:
    """`balanced_accuracy`, over the classes that `correct` has, and `accuracy`, of (n,) codes."""
    from sklearn.metrics import recall_score

    recall = recall_score(correct, found, labels=np.unique(correct), average=None)
    return {"balanced_accuracy": float(np.mean(recall)), "accuracy": float(np.mean(correct == found))}
