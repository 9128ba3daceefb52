"""Callbacks whose state goes into the checkpoint."""

from typing import Any

import keras
import numpy as np


class StatefulCallback(keras.callbacks.Callback):
    """A Keras callback that an interrupted training takes up where it left it."""

    def on_validation(self, rows: np.ndarray, outputs: np.ndarray) -> None:
        """Told before `on_epoch_end` of the validation's row numbers (n,) and the model's outputs (n, outputs)."""

    def get_state(self) -> dict[str, Any]:
        """Plain data for the checkpoint."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` gave."""
