"""Callbacks whose state goes into the checkpoint."""

from typing import Any

import keras


class StatefulCallback(keras.callbacks.Callback):
    """A Keras callback that an interrupted training takes up where it left it."""

    def get_state(self) -> dict[str, Any]:
        """Plain data for the checkpoint."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` gave."""
