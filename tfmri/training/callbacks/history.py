"""history.csv and the lines a person watches."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from tfmri.files import write_csv
from tfmri.training.callbacks.state import StatefulCallback


class History(StatefulCallback):
    """Rewrites history.csv after each epoch, and prints one line an epoch; on a terminal, a bar of its steps too.

    Args:
        path: of history.csv.
        epochs: in all.
        steps: an epoch.
    """

    def __init__(self, path: Path, epochs: int, steps: int):
        super().__init__()
        self.path, self.epochs, self.steps = path, epochs, steps
        self.rows: list[dict[str, float]] = []
        self.bar: tqdm | None = None

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
        row = dict(logs or {})
        self.rows.append(row)
        write_csv(self.path, pd.DataFrame(self.rows))
        silent = ("epoch", "step", "learning_rate", "seconds", "volumes_per_second")
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in row.items() if name not in silent)
        speed = f"{row['seconds']:.1f} s, {row['volumes_per_second']:.0f} volumes/s"
        print(f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}  {numbers}  ({speed})", flush=True)

    def on_train_end(self, logs=None) -> None:
        """Takes the bar away."""
        self.close_bar()

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
