"""TensorBoard events: curves, pictures, settings and environment, and a profile of chosen steps.

Scalars have Keras' names and places: `epoch_<name>` by epoch, in `train` and `validation`, and `batch_<name>` by step.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfmri.training.callbacks.sparing import Sparing
from tfmri.training.callbacks.state import StatefulCallback

STEPS_SHOWN = 200  # of an epoch, at most, by `batch_...`


class Events(StatefulCallback):
    """Writes `logs/train` and `logs/validation`, and settings with results for TensorBoard's HPARAMS in `logs`.

    A training that goes on cuts every file back to what it held at the checkpoint, so that each step stands there once.

    Args:
        folder: of all of them.
        steps: an epoch.
        inputs: epoch -> (height, width) uint8, augmented scans as the network sees them in that epoch.
        predicted: (rows, outputs) of a validation -> (height, width, 3) uint8, or None. Both are drawn after an epoch
            as often as it costs little (`Sparing`).
        texts: Markdown by name, such as the experiment and the environment.
        settings: what runs are compared by, name -> text, number or truth value.
        profile_steps: first and last step, counted from 1, that the profiler records.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        inputs: Callable[[int], np.ndarray],
        predicted: Callable[[np.ndarray, np.ndarray], np.ndarray | None],
        texts: Mapping[str, str],
        settings: Mapping[str, Any],
        profile_steps: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.folder, self.steps, self.inputs, self.predicted = folder, steps, inputs, predicted
        self.texts, self.settings, self.profile_steps = texts, settings, profile_steps
        self.sizes: dict[str, int] = {}
        self.epoch = 0
        self.undrawn: int | None = None
        self.sparing = Sparing()
        self.profiling = False

    def on_train_begin(self, logs=None) -> None:
        """Cuts back what is there, opens the event files, and writes what holds for all of the training."""
        from tensorboard.plugins.hparams import api as hparams

        for path in self._files():
            os.truncate(path, min(self.sizes.get(str(path.relative_to(self.folder)), 0), path.stat().st_size))
        self.train, self.validation = (
            tf.summary.create_file_writer(str(self.folder / name)) for name in ("train", "validation")
        )
        if not self.sizes:
            with tf.summary.create_file_writer(str(self.folder)).as_default(0):
                hparams.hparams(dict(self.settings))
            with self.train.as_default(0):
                for name, text in self.texts.items():
                    tf.summary.text(name, text)

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        """Keeps the number of the epoch."""
        self.epoch = epoch

    def on_validation(self, rows: np.ndarray, outputs: np.ndarray) -> None:
        """Keeps both, to be drawn."""
        self.found = rows, outputs

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the step's numbers, of some two hundred steps of each epoch; starts and stops the profiler."""
        step = self.epoch * self.steps + batch
        if batch % max(self.steps // STEPS_SHOWN, 1) == 0:
            with self.train.as_default(step):
                for name, value in (logs or {}).items():
                    tf.summary.scalar(f"batch_{name}", value)
        if self.profile_steps is None:
            return
        first, last = self.profile_steps
        if not self.profiling and step + 2 == max(
            first, 2
        ):  # before the first of them, but never the one that compiles
            tf.profiler.experimental.start(str(self.folder / "train"))
            self.profiling = True
        elif self.profiling and step + 1 >= last:
            tf.profiler.experimental.stop()
            self.profiling = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the epoch's numbers and, as often as it costs little, its pictures."""
        known = {name: value for name, value in (logs or {}).items() if name not in ("epoch", "step", "seconds")}
        known["waiting_for_data"] = known.pop("waiting", 0.0)
        with self.train.as_default(epoch):
            for name, value in {**known, **memory()}.items():
                if not name.startswith("validation_"):
                    tf.summary.scalar(f"epoch_{name}", value)
        with self.validation.as_default(epoch):
            for name, value in known.items():
                if name.startswith("validation_"):
                    tf.summary.scalar(f"epoch_{name.removeprefix('validation_')}", value)
        self.undrawn = epoch
        if self.sparing.due():
            with self.sparing:
                self._draw()
        self._flush()

    def on_train_end(self, logs=None) -> None:
        """Draws the last epoch, and closes the event files."""
        self._draw()
        if self.profiling:
            tf.profiler.experimental.stop()
            self.profiling = False
        self.train.close()
        self.validation.close()

    def get_state(self) -> dict[str, Any]:
        """How long every event file is."""
        self._flush()
        return {"sizes": {str(path.relative_to(self.folder)): path.stat().st_size for path in self._files()}}

    def set_state(self, state: dict[str, Any]) -> None:
        """How long the files were."""
        self.sizes = state["sizes"]

    def _draw(self) -> None:
        """Draws the latest epoch that is finished, if that has not been done."""
        if self.undrawn is None:
            return
        with self.train.as_default(self.undrawn):
            tf.summary.image("augmented inputs", self.inputs(self.undrawn)[None, :, :, None])
            if (drawn := self.predicted(*self.found)) is not None:
                tf.summary.image("validation", drawn[None])
        self.undrawn = None

    def _files(self) -> list[Path]:
        return sorted(self.folder.rglob("*tfevents*"))

    def _flush(self) -> None:
        self.train.flush()
        self.validation.flush()


def memory() -> dict[str, float]:
    """The most memory that each GPU has given, or on a CPU what the process takes now, in GiB."""
    gpus = tf.config.list_logical_devices("GPU")
    if gpus:
        names = [gpu.name.removeprefix("/device:") for gpu in gpus]
        peaks = {name: tf.config.experimental.get_memory_info(name)["peak"] for name in names}
        return {f"memory_gib_{name.lower().replace(':', '')}": peak / 2**30 for name, peak in peaks.items()}
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"memory_gib": pages * os.sysconf("SC_PAGE_SIZE") / 2**30}
