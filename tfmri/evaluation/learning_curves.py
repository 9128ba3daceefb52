"""The history of a training as a figure, and its best epoch."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from tfmri.evaluation.drawing import BLUE, GREY, VERMILION, files_of, saved
from tfmri.evaluation.metrics import LOWER_IS_BETTER

WIDE_RANGE = 20  # highest over lowest value of a learning curve, beyond which its axis is logarithmic


def learning_curves(history: pd.DataFrame, path: Path, monitor: str | None = None) -> list[Path]:
    """Loss, main metric, learning rate and time by epoch, with the best epoch marked.

    Args:
        history: columns epoch, loss, and where they exist learning_rate, seconds, validation_loss, <metric> and
            validation_<metric>. Rows may lack validation values.
        path: without suffix.
        monitor: column by which the best epoch was chosen; by default the main metric's validation column.
    """
    main = main_metric(history)
    chosen_by = monitor or next(name for name in (f"validation_{main}", "validation_loss", "loss") if name in history)
    best = best_epoch(history, chosen_by)
    small = [name for name in ("learning_rate", "seconds") if name in history]
    panels = ["loss", *([main] if main else []), *small]
    heights = [1.0 if name in small else 2.0 for name in panels]
    with saved(path, 6, 1.2 + 1.15 * sum(heights)) as figure:
        grid = figure.subplots(len(panels), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})
        for axes, name in zip(grid[:, 0], panels, strict=True):
            for column, label, colour, marker in (
                (name, "train", BLUE, "o"),
                (f"validation_{name}", "validation", VERMILION, "s"),
            ):
                drawn = history[["epoch", column]].dropna() if column in history else pd.DataFrame()
                if len(drawn):
                    size = 4 if len(drawn) <= 40 else 0
                    if name in small:
                        colour, size = GREY, 0 if len(drawn) > 1 else 4
                    axes.plot(drawn["epoch"], drawn[column], color=colour, marker=marker, markersize=size, label=label)
            axes.set_ylabel({"seconds": "s / epoch"}.get(name, name.replace("_", " ")))
            shown = np.concatenate([line.get_ydata() for line in axes.lines] or [np.empty(0)])
            if name not in small and len(shown) and 0 < shown.min() < shown.max() / WIDE_RANGE:
                axes.set_yscale("log")  # validation before batch normalisation has settled would flatten all the rest
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.yaxis.set_minor_formatter(NullFormatter())
            if best is not None:
                axes.axvline(best, color=GREY, linestyle=":", zorder=0)
            if name in small:
                axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
                axes.set_ylim(bottom=0)
                axes.yaxis.set_major_locator(MaxNLocator(3))
        grid[0, 0].legend(*grid[0, 0].get_legend_handles_labels())
        grid[-1, 0].set_xlabel("epoch")
        grid[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        grid[-1, 0].set_xlim(history["epoch"].min() - 0.5, history["epoch"].max() + 0.5)
        if best is not None:
            value = history.loc[history["epoch"] == best, chosen_by].iloc[-1]
            grid[0, 0].set_title(f"best epoch {best:g}: {chosen_by.replace('_', ' ')} {value:.3g}")
    return files_of(path)


def main_metric(history: pd.DataFrame) -> str | None:
    """The metric a history is about: balanced_accuracy, or mae, or else the first with a validation column."""
    validated = [name.removeprefix("validation_") for name in history.columns if name.startswith("validation_")]
    metrics_there = [name for name in validated if name != "loss"]
    return next((name for name in ("balanced_accuracy", "mae", *metrics_there) if name in metrics_there), None)


def best_epoch(history: pd.DataFrame, monitor: str) -> float | None:
    """The epoch in which the column `monitor` is best, the first of several; None where it has no value."""
    values = history.set_index("epoch")[monitor].dropna()
    if values.empty:
        return None
    lower = monitor.removeprefix("validation_") in LOWER_IS_BETTER
    return float(values.index[int(values.argmin() if lower else values.argmax())])
