"""One prediction a scan out of those of several fits, and how far these lie apart."""

from collections.abc import Sequence

import numpy as np
import pandas as pd


def ensemble(by_fit: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The mean over fits: of probabilities, whose largest is then the prediction, or of the predicted numbers.

    A column `sd`, the standard deviation that each fit gives its number, becomes that of the mixture of their normal
    distributions: it holds how far they lie apart, too (Lakshminarayanan et al. 2017, NeurIPS, section 2.4).

    Args:
        by_fit: predictions of one target by one or more fits, with the columns of predictions.csv.
        classes: names in the order of the model's outputs; empty for a number.

    Returns:
        One row a scan, in the order of its first row. `fit` is the one that predicted it, or 'ensemble'. NaN where a
        fit's output is none, or infinite.
    """
    averaged = [f"p_{name}" for name in classes] or ["prediction"]
    groups = by_fit.groupby("scan", sort=False)
    result = by_fit.drop_duplicates("scan").set_index("scan", drop=False).rename_axis(None)
    result[averaged] = groups[averaged].mean(skipna=False).replace([np.inf, -np.inf], np.nan)
    if "sd" in by_fit:
        apart = groups["prediction"].var(ddof=0).reindex(result.index)
        own = by_fit["sd"].pow(2).groupby(by_fit["scan"], sort=False).mean().reindex(result.index)
        result["sd"] = np.sqrt(own + apart).where(result["prediction"].notna())
    if classes:
        means = result[averaged].to_numpy(float)
        said = np.array(classes, object)[means.argmax(axis=1)]
        result["prediction"] = pd.Series(said, result.index).where(~np.isnan(means).any(axis=1))
    result["fit"] = result["fit"].where(groups.size() == 1, "ensemble")
    return result.reset_index(drop=True)


def spread(members: pd.DataFrame, predictions: pd.DataFrame, classes: Sequence[str]) -> pd.Series:
    """How far the members of an ensemble lie apart on each scan: a standard deviation over them (divided by n).

    Args:
        members: predictions of the same target with the columns `scan`, `prediction` and p_<class>: a row for every
            fit, or draw of one, and scan.
        predictions: a row a scan, as `ensemble` gives them.
        classes: names in the order of the model's outputs; empty for a number.

    Returns:
        (n,) in the order of `predictions`: of the number, in its unit, or of the probability of the class that is
        predicted. NaN where a scan has one member only.
    """
    if not classes:
        numbers = members.assign(said=members["prediction"])
    else:
        chosen = members["scan"].map(predictions.set_index("scan")["prediction"])
        places = pd.Index(classes).get_indexer(pd.Index(chosen))
        table = members[[f"p_{name}" for name in classes]].to_numpy(float)
        numbers = members.assign(said=table[np.arange(len(table)), places])
    groups = numbers.groupby("scan")["said"]
    found = groups.std(ddof=0).where(groups.count() > 1)
    return found.reindex(predictions["scan"]).reset_index(drop=True)
