"""One prediction a scan out of those of several fits."""

from collections.abc import Sequence

import pandas as pd


def ensemble(by_fit: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """The mean over fits: of probabilities, whose largest is then the prediction, or of the predicted numbers.

    Args:
        by_fit: predictions of one target by one or more fits, with the columns of predictions.csv.
        classes: names in the order of the model's outputs; empty for a number.

    Returns:
        One row a scan, in the order of its first row. `fit` is the one that predicted it, or 'ensemble'.
    """
    averaged = [f"p_{name}" for name in classes] or ["prediction"]
    groups = by_fit.groupby("scan", sort=False)
    result = by_fit.drop_duplicates("scan").set_index("scan", drop=False).rename_axis(None)
    result[averaged] = groups[averaged].mean()
    if classes:
        result["prediction"] = result[averaged].to_numpy().argmax(axis=1)
        result["prediction"] = result["prediction"].map(dict(enumerate(classes)))
    result["fit"] = result["fit"].where(groups.size() == 1, "ensemble")
    return result.reset_index(drop=True)
