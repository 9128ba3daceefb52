"""TensorBoard events: curves, pictures, settings and environment, and a profile of chosen steps.

Scalars have Keras' names, places and steps: `epoch_<name>` by epoch from 0, in `train` and `validation`, `batch_<name>`
by the step of the training from 1. `best_<name>` is what validation gave in the best epoch so far.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfmri.training.callbacks.sparing import Sparing
from tfmri.training.callbacks.state import StatefulCallback
from tfmri.training.schedules import better

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
        name: of the fit among all that are compared.
        settings: what they are compared by, name -> text, number or truth value.
        monitor: the column of the history that chooses the best epoch.
        profile_steps: first and last step, counted from 1, that the profiler records.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        inputs: Callable[[int], np.ndarray],
        predicted: Callable[[np.ndarray, np.ndarray], np.ndarray | None],
        texts: Mapping[str, str],
        name: str,
        settings: Mapping[str, Any],
        monitor: str,
        profile_steps: tuple[int, int] | None = None,
    ):
        super().__init__()
        self.folder, self.steps, self.inputs, self.predicted = folder, steps, inputs, predicted
        self.texts, self.name, self.settings, self.monitor = texts, name, settings, monitor
        self.profile_steps = profile_steps
        self.sizes: dict[str, int] = {}
        self.best: dict[str, float] = {}
        self.epoch = 0
        self.compiled = False
        self.undrawn: int | None = None
        self.sparing = Sparing()
        self.profiling = False

    def on_train_begin(self, logs=None) -> None:
        """Cuts back what is there, opens the event files, and writes what holds for all of the training."""
        from tensorboard.plugins.hparams import api as hparams

        for path in self._files():
            os.truncate(path, min(self.sizes.get(str(path.relative_to(self.folder)), 0), path.stat().st_size))
        self.whole, self.train, self.validation = (
            tf.summary.create_file_writer(str(self.folder / name)) for name in (".", "train", "validation")
        )
        if not self.sizes:
            with self.whole.as_default(0):
                hparams.hparams(dict(self.settings), trial_id=self.name)
            with self.train.as_default(0):
                for name, text in self.texts.items():
                    tf.summary.text(name, text)

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        """Keeps the number of the epoch."""
        self.epoch = epoch

    def on_validation(self, rows: np.ndarray, outputs: np.ndarray) -> None:
        """Keeps both, to be drawn."""
        self.found = rows, outputs

    def on_train_batch_begin(self, batch: int, logs=None) -> None:
        """Starts the profiler before the first of its steps, but not before one that is compiled first."""
        if self.profile_steps is not None and self.compiled and not self.profiling:
            first, last = self.profile_steps
            if max(first, 2) <= self._step(batch) <= max(last, 2):
                tf.profiler.experimental.start(str(self.folder / "train"))
                self.profiling = True
        self.compiled = True

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the step's numbers, of some two hundred steps of each epoch; stops the profiler after its last."""
        step = self._step(batch)
        if batch % max(self.steps // STEPS_SHOWN, 1) == 0:
            with self.train.as_default(step):
                for name, value in (logs or {}).items():
                    tf.summary.scalar(f"batch_{name}", value)
        if self.profile_steps is not None and step >= max(self.profile_steps[1], 2):
            self._stop_profiler()

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
        if better(known[self.monitor], self.best.get(self.monitor), self.monitor):
            self.best = {name: value for name, value in known.items() if name.startswith("validation_")}
            self.best[self.monitor] = known[self.monitor]
        with self.whole.as_default(epoch):
            for name, value in self.best.items():
                tf.summary.scalar(f"best_{name}", value)
        self.undrawn = epoch
        if self.sparing.due():
            with self.sparing:
                self._draw()
        self._flush()

    def on_train_end(self, logs=None) -> None:
        """Draws the last epoch, and closes the event files."""
        self._draw()
        self._stop_profiler()
        for writer in (self.whole, self.train, self.validation):
            writer.close()

    def get_state(self) -> dict[str, Any]:
        """How long every event file is, and what validation gave in the best epoch."""
        self._flush()
        sizes = {str(path.relative_to(self.folder)): path.stat().st_size for path in self._files()}
        return {"sizes": sizes, "best": self.best}

    def set_state(self, state: dict[str, Any]) -> None:
        """Takes back what `get_state` gave."""
        self.sizes, self.best = state["sizes"], state.get("best", {})

    def _step(self, batch: int) -> int:
        """The number, from 1, of a step of the whole training."""
        return self.epoch * self.steps + batch + 1

    def _stop_profiler(self) -> None:
        if self.profiling:
            tf.profiler.experimental.stop()
            self.profiling = False

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
        for writer in (self.whole, self.train, self.validation):
            writer.flush()


def memory() -> dict[str, float]:
    """The most memory that each GPU of this process has given, or on a CPU what the process takes now, in GiB."""
    gpus = range(len(tf.config.get_visible_devices("GPU")))  # the logical ones may be those of other machines too
    if gpus:
        peaks = {number: tf.config.experimental.get_memory_info(f"GPU:{number}")["peak"] for number in gpus}
        return {f"memory_gib_gpu{number}": peak / 2**30 for number, peak in peaks.items()}
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"memory_gib": pages * os.sysconf("SC_PAGE_SIZE") / 2**30}
