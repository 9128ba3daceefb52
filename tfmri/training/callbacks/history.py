"""history.csv, the learning curves, and the lines a person watches."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from tfmri.files import write_csv
from tfmri.training.callbacks.sparing import Sparing
from tfmri.training.callbacks.state import StatefulCallback

FIRST = ("epoch", "step", "learning_rate", "loss")  # columns
LAST = ("gradient_norm", "seconds", "waiting", "volumes_per_second")
MUCH_WAITING = 0.05  # of the time


class History(StatefulCallback):
    """Rewrites history.csv after each epoch, and prints one line an epoch; on a terminal, a bar of its steps too.

    The curves are drawn after an epoch as often as it costs little (`Sparing`), and at the end.

    Args:
        path: of history.csv.
        curves: of the picture of it, without suffix.
        monitor: the column that chooses the best epoch.
        epochs: in all.
        steps: an epoch.
    """

    def __init__(self, path: Path, curves: Path, monitor: str, epochs: int, steps: int):
        super().__init__()
        self.path, self.curves, self.monitor, self.epochs, self.steps = path, curves, monitor, epochs, steps
        self.rows: list[dict[str, float]] = []
        self.bar: tqdm | None = None
        self.sparing = Sparing()

    def on_train_begin(self, logs=None) -> None:
        """Takes away what an earlier process wrote past the checkpoint."""
        if self.rows:
            write_csv(self.path, pd.DataFrame(self.rows))
        else:
            self.path.unlink(missing_ok=True)

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        """Draws the bar."""
        title = f"epoch {epoch + 1}/{self.epochs}"
        self.bar = tqdm(total=self.steps, desc=title, leave=False, unit="step", disable=not sys.stderr.isatty())

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        """Moves the bar to the steps done."""
        if self.bar is not None:
            self.bar.update(batch + 1 - self.bar.n)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the file and prints the line."""
        self.close_bar()
        row = in_order(logs or {})
        self.rows.append(row)
        write_csv(self.path, pd.DataFrame(self.rows))
        speed = f"{row['seconds']:.1f} s, {row['volumes_per_second']:.0f} volumes/s"
        if row["waiting"] > MUCH_WAITING and epoch:  # in the first one, compiling is most of it
            speed += f", {row['waiting']:.0%} of it waiting for data"
        print(f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}  {self._numbers(row)}  ({speed})", flush=True)
        if self.sparing.due():
            with self.sparing:
                self._draw()

    def on_train_end(self, logs=None) -> None:
        """Takes the bar away, and draws the curves as they are now."""
        self.close_bar()
        if self.rows:
            self._draw()

    def close_bar(self) -> None:
        """Takes the bar away, if there is one."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def get_state(self) -> dict[str, Any]:
        """The rows so far."""
        return {"rows": self.rows}

    def set_state(self, state: dict[str, Any]) -> None:
        """The rows of the training that goes on."""
        self.rows = list(state["rows"])

    def _numbers(self, row: Mapping[str, float]) -> str:
        """The loss, the main metric and what chooses the best epoch, in training and validation."""
        from tfmri.evaluation.learning_curves import main_metric

        said = ["loss", main_metric(pd.DataFrame([row])), self.monitor.removeprefix("validation_")]
        pairs = {name: [row.get(name), row.get(f"validation_{name}")] for name in said if name}
        return "  ".join(
            f"{name.replace('_', ' ')} {', validation '.join(f'{value:.3f}' for value in values if value is not None)}"
            for name, values in pairs.items()
        )

    def _draw(self) -> None:
        from tfmri.evaluation.learning_curves import learning_curves

        learning_curves(pd.DataFrame(self.rows), self.curves, self.monitor)


def in_order(row: Mapping[str, float]) -> dict[str, float]:
    """A row of history as people read it: Keras hands it over by the alphabet, and with every number a float."""

    def place(name: str) -> tuple:
        if name in FIRST:
            return 0, FIRST.index(name)
        if name in LAST:
            return 3, LAST.index(name)
        return 2 if name.startswith("validation_") else 1, name != "validation_loss", name

    return {name: int(row[name]) if name in ("epoch", "step") else row[name] for name in sorted(row, key=place)}
