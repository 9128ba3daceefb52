"""TensorBoard events: curves of training and validation, rate, speed, and what the network is shown."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfmri.training.callbacks.state import StatefulCallback

PICTURE_EVERY = 10  # epochs


class Events(StatefulCallback):
    """Writes `logs/train` and `logs/validation`, with the step as the horizontal axis.

    Args:
        folder: of both.
        picture: epoch -> (height, width) uint8, augmented inputs as the network sees them in that epoch.
    """

    def __init__(self, folder: Path, picture: Callable[[int], np.ndarray]):
        super().__init__()
        self.folder, self.picture = folder, picture

    def on_train_begin(self, logs=None) -> None:
        """Opens the event files."""
        self.train = tf.summary.create_file_writer(str(self.folder / "train"))
        self.validation = tf.summary.create_file_writer(str(self.folder / "validation"))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch's numbers, and a picture in every tenth epoch."""
        logs = dict(logs or {})
        step = int(logs.pop("step"))
        logs.pop("epoch")
        with self.train.as_default(step):
            for name, value in logs.items():
                if not name.startswith("validation_"):
                    tf.summary.scalar(name, value)
            if epoch % PICTURE_EVERY == 0:
                tf.summary.image("augmented inputs", self.picture(epoch)[None, :, :, None])
        with self.validation.as_default(step):
            for name, value in logs.items():
                if name.startswith("validation_"):
                    tf.summary.scalar(name.removeprefix("validation_"), value)
        self.train.flush()
        self.validation.flush()

    def on_train_end(self, logs=None) -> None:
        """Closes the event files."""
        self.train.close()
        self.validation.close()
