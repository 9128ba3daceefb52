"""Keeps the model of the best epoch, with all that is needed to use it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tfmri.files import whole_path
from tfmri.inference.model_file import Carried, add_to_model
from tfmri.training.callbacks.state import StatefulCallback
from tfmri.training.schedules import better


class BestModel(StatefulCallback):
    """Saves the model whenever `monitor` is better than ever before; of equal epochs the first stays.

    As long as it has been no number in any epoch, the latest model stands in, so that there is one.

    Args:
        path: of the `.keras` file.
        monitor: a column of the history, `validation_loss` or a metric; losses and errors are better when lower.
        carried: gives what the file carries besides the model.
    """

    def __init__(self, path: Path, monitor: str, carried: Callable[[], Carried]):
        super().__init__()
        self.path, self.monitor, self.carried = path, monitor, carried
        self.best: float | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compares, and saves if better."""
        value = (logs or {})[self.monitor]
        is_better = better(value, self.best, self.monitor)
        if is_better or self.best is None:
            self.best = value if is_better else None
            with whole_path(self.path) as path:
                self.model.save(path)
                add_to_model(path, self.carried())

    def get_state(self) -> dict[str, Any]:
        """The best value so far."""
        return {"best": self.best}

    def set_state(self, state: dict[str, Any]) -> None:
        """The best value of the training that goes on."""
        self.best = state["best"]
