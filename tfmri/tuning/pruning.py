"""Tells a study after each epoch how a trial does, and stops the trial where the study says so."""

from collections.abc import Callable
from typing import Any

from tfmri.training.callbacks.state import StatefulCallback
from tfmri.training.interruption import Interruption
from tfmri.training.schedules import History, better

PRUNED = 1  # what stops a training as a signal would: its state is saved, and it could go on


class Pruning(StatefulCallback):
    """Reports the best value so far, and asks a trial that is behind the others to stop.

    Args:
        rows: gives the history with the epoch that has just ended; this callback stands behind the one that writes it.
        metric: the column that trials are compared by.
        epochs: in all: a trial in the last one ends by itself.
        report: (epoch from 1, best value so far) -> whether to stop.
        interruption: of the training.
    """

    def __init__(
        self,
        rows: Callable[[], History],
        metric: str,
        epochs: int,
        report: Callable[[int, float], bool],
        interruption: Interruption,
    ):
        super().__init__()
        self.rows, self.metric, self.epochs, self.report = rows, metric, epochs, report
        self.interruption = interruption

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports; an epoch without any number so far has nothing to report."""
        value = best_value(self.rows(), self.metric)
        if value is not None and self.report(epoch + 1, value) and epoch + 1 < self.epochs:
            self.interruption.exit_code = self.interruption.exit_code or PRUNED


def best_value(history: History, metric: str) -> float | None:
    """The best that the column `metric` has been; None where it has been no number."""
    best = None
    for row in history:
        if better(row[metric], best, metric):
            best = row[metric]
    return best
