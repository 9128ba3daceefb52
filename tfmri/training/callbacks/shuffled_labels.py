"""What a training on shuffled labels has to say at its end: whether it is no better than chance."""

from typing import Any

import numpy as np
import pandas as pd

from tfmri.evaluation.chance import against_chance, shuffled_labels_sentence
from tfmri.tasks.task import Task
from tfmri.training.callbacks.state import StatefulCallback


class ShuffledLabels(StatefulCallback):
    """Compares each validation with chance; `last` is the sentence on the latest, which no choice of epoch flatters.

    Args:
        task: decodes outputs.
        truth: (n,) the shuffled target of every scan, by row number.
        subjects: (n,) whose they are.
    """

    def __init__(self, task: Task, truth: pd.Series, subjects: pd.Series):
        super().__init__()
        self.task, self.truth, self.subjects = task, truth, subjects
        self.last = ""

    def on_validation(self, rows: np.ndarray, outputs: np.ndarray) -> None:
        """Makes the sentence."""
        predicted = self.task.decode(outputs)["prediction"]
        found = against_chance(self.truth.iloc[rows], predicted, self.subjects.iloc[rows])
        self.last = shuffled_labels_sentence(found, "on validation after the last epoch")

    def get_state(self) -> dict[str, Any]:
        """The sentence."""
        return {"last": self.last}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` gave."""
        self.last = state.get("last", "")
