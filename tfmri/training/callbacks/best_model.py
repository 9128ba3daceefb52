"""Keeps the model of the best epoch."""

from pathlib import Path
from typing import Any

import pandas as pd

from tfmri.files import whole_path
from tfmri.training.callbacks.state import StatefulCallback

LOWER_IS_BETTER = ("loss", "mae", "mse", "rmse", "brier")


class BestModel(StatefulCallback):
    """Saves the model whenever `monitor` is better than ever before; of equal epochs the first stays.

    Args:
        path: of the `.keras` file.
        monitor: a column of the history, `validation_loss` or a metric; losses and errors are better when lower.
    """

    def __init__(self, path: Path, monitor: str):
        super().__init__()
        self.path, self.monitor = path, monitor
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compares, and saves if better."""
        value = (logs or {})[self.monitor]
        lower = self.monitor.endswith(LOWER_IS_BETTER)
        if self.best is None or (value < self.best if lower else value > self.best):
            self.best = value
            with whole_path(self.path) as path:
                self.model.save(path)

    def get_state(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def set_state(self, state: dict[str, Any]) -> None:
        """The best value of the training that goes on."""
        self.best = state["best"]


def best_row(history: pd.DataFrame, monitor: str) -> pd.Series:
    """The row of `history` whose model was kept."""
    column = history[monitor]
    return history.iloc[column.argmin() if monitor.endswith(LOWER_IS_BETTER) else column.argmax()]
