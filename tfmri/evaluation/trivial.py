"""The trivial predictor that every model must beat: it looks at no image and knows only the training subjects' truth.

For classes it predicts the most frequent training class, with the training shares as probabilities; for a number it
predicts the training mean. It is measured by the same functions as the model.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfmri.evaluation.metrics import (
    Kind,
    Metrics,
    class_numbers,
    classification_metrics,
    ordinal_metrics,
    regression_metrics,
)


def trivial_metrics(truth, train_truth, kind: Kind, classes: Sequence[str] = ()) -> Metrics:
    """The metrics of the trivial predictor on `truth`; NaN where undefined (a correlation with a constant, say).

    Args:
        truth: (n,) what is to be predicted.
        train_truth: (m,) truth of the training scans; missing values are left out.
        kind: of the target.
        classes: names, where there are classes.

    Raises:
        ValueError: nothing in `train_truth`.
    """
    train_truth = pd.Series(train_truth).dropna()
    if train_truth.empty:
        raise ValueError("the trivial predictor needs the truth of at least one training scan")
    if kind == "regression":
        return regression_metrics(truth, np.full(len(truth), train_truth.mean()))
    shares = np.bincount(class_numbers(train_truth, classes), minlength=len(classes)) / len(train_truth)
    prediction = np.full(len(truth), classes[int(shares.argmax())], dtype=object)
    measure = ordinal_metrics if kind == "ordinal" else classification_metrics
    return measure(truth, prediction, np.tile(shares, (len(truth), 1)), classes)
