"""Says in plain words when a model predicts the same for everybody, or what is no number."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from tfmri.tasks.task import Task
from tfmri.training.callbacks.state import StatefulCallback

ROUNDING = 1e-5  # of the outputs' size: outputs that differ by less are the same
NARROW = 0.05  # of the truth's standard deviation: predictions that spread less tell nobody apart
RARE = 0.5  # of the scans of the commonest class
log = logging.getLogger(__name__)


class Collapse(StatefulCallback):
    """Looks at every validation; `last` is what there is to say of the latest one, '' where all is well.

    Args:
        task: decodes the outputs.
        truth: (n,) the target of every scan, by row number.
        scans: (n,) their ids.
    """

    def __init__(self, task: Task, truth: pd.Series, scans: np.ndarray):
        super().__init__()
        self.task, self.truth, self.scans = task, truth, scans
        self.epoch = 0
        self.said, self.last = False, ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keeps the number of the epoch."""
        self.epoch = epoch

    def on_validation(self, rows: np.ndarray, outputs: np.ndarray) -> None:
        """Warns the first time that outputs are no numbers, or all the same."""
        finite = np.isfinite(outputs).all(axis=1)
        self.last = one_answer(self.task, self.truth.iloc[rows], outputs) if finite.all() else ""
        if self.said:
            return
        if not finite.all():
            self.said = True
            which = "any validation scan" if not finite.any() else ", ".join(self.scans[rows][~finite])
            log.warning(
                "epoch %d: the model's output is no number for %s: %s",
                self.epoch + 1,
                which,
                "look at these scans (tfmri preview)" if finite.any() else "usually the learning rate is far too high",
            )
        elif same_outputs(outputs):
            self.said = True
            log.warning(
                "epoch %d: the model's output is the same for all %d validation scans. Usually the learning rate is "
                "too high, or the prepared scans are all alike: look at them (tfmri preview), or try a tenth of "
                "training.optimizer.learning_rate",
                self.epoch + 1,
                len(rows),
            )

    def get_state(self) -> dict[str, Any]:
        """What was said, and what is to be said."""
        return {"said": self.said, "last": self.last}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` gave."""
        self.said, self.last = state.get("said", False), state.get("last", "")


def same_outputs(outputs: np.ndarray) -> bool:
    """Whether two or more scans have one and the same output, (n, outputs), to rounding."""
    spread = np.ptp(outputs, axis=0).max() if len(outputs) else 0.0
    return len(outputs) > 1 and bool(spread <= ROUNDING * np.abs(outputs).max())


def one_answer(task: Task, truth: pd.Series, outputs: np.ndarray) -> str:
    """A sentence on predictions that tell nobody apart who differs, '' where they do.

    Args:
        task: decodes outputs.
        truth: (n,) classes or numbers.
        outputs: (n, outputs).
    """
    if truth.nunique() < 2:
        return ""
    predicted, scans = task.decode(outputs)["prediction"], f"all {len(truth)} validation scans"
    advice = "Usually the learning rate does not fit or training is too short; tfmri train EXP --overfit-one-batch "
    advice += "tells whether the model can learn at all"
    if not pd.api.types.is_numeric_dtype(predicted):
        if predicted.nunique() > 1:
            return ""
        counts = truth.value_counts()
        rare = "; for rare classes, try training.sampling=balanced" if counts.min() < RARE * counts.max() else ""
        shares = ", ".join(f"{count} {name}" for name, count in counts.items())
        return f"the model takes {scans} for '{predicted.iloc[0]}', where there are {shares}. {advice}{rare}"
    spread, of_truth = float(np.std(predicted)), float(np.std(truth.astype(float)))
    if spread >= NARROW * of_truth:
        return ""
    near = f"{float(np.mean(predicted)):.3g}"
    return (
        f"the model predicts nearly the same for {scans}: {near} with a standard deviation of {spread:.2g}, where that "
        f"of the truth is {of_truth:.2g}. {advice}"
    )
