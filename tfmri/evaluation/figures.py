"""Figures of results, each as PNG (150 dpi) and PDF: all of a target, and those of regression and of the split.

Every function takes a path without suffix, adds `.png` and `.pdf`, and returns both paths; with a path that ends in
`.png` it draws that alone. Bands and intervals are 95 %
percentile bootstrap intervals over subjects; with the same seed they are those of `metrics.json`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from tfmri.evaluation import metrics
from tfmri.evaluation.calibration import needed_level
from tfmri.evaluation.classification_figures import confusion_matrix, precision_recall, reliability, roc
from tfmri.evaluation.drawing import (
    BLUE,
    COLOURS,
    GREY,
    VERMILION,
    files_of,
    interval_of,
    numbers_of,
    padded,
    saved,
    scatter,
    shortened,
    title_of,
    with_unit,
)
from tfmri.evaluation.intervals import percentile_interval, subject_weights
from tfmri.evaluation.summary import UNITS, usable


def write_figures(
    predictions: pd.DataFrame,
    kind: metrics.Kind,
    classes: Sequence[str],
    directory: Path,
    seed: int = 0,
    resamples: int = 1000,
) -> list[Path]:
    """All figures of one target's predictions; see `summary.summarise` for the arguments.

    Returns:
        The files written; none where no scan has a prediction.
    """
    rows = usable(predictions, kind, classes)
    if rows.empty:
        return []
    directory = Path(directory)
    if kind != "regression":
        return [
            *roc(rows, classes, directory / "roc", seed, resamples),
            *precision_recall(rows, classes, directory / "precision_recall", seed, resamples),
            *confusion_matrix(rows, classes, directory / "confusion_matrix"),
            *reliability(rows, classes, directory / "reliability", seed, resamples),
        ]
    return [
        *predicted_vs_true(rows, directory / "predicted_vs_true", seed, resamples),
        *gap_vs_age(rows, directory / "gap_vs_age", seed, resamples),
        *bland_altman(rows, directory / "bland_altman", seed, resamples),
        *(predicted_sd(rows, directory / "predicted_sd", seed, resamples) if "sd" in rows else []),
    ]


def predicted_vs_true(rows: pd.DataFrame, path: Path, seed: int = 0, resamples: int = 1000) -> list[Path]:
    """Prediction against truth with the identity line, coloured by site, with mean absolute error and correlation."""
    truth, prediction, target = numbers_of(rows)
    unit = f" {UNITS[name]}" if (name := rows["target"].iloc[0]) in UNITS else ""
    statistics = metrics.metrics_of(rows, "regression", ())
    mae, r = (interval_of(name, statistics, rows, seed, resamples) for name in ("mae", "pearson_r"))
    with saved(path, 5, 4.8) as figure:
        axes = figure.subplots()
        ends = padded(np.concatenate([truth, prediction]))
        axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1)
        scatter(axes, truth, prediction, rows)
        axes.text(0.03, 0.97, f"MAE {mae}{unit}\nr {r}", transform=axes.transAxes, va="top")
        axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"true {target}", ylabel=f"predicted {target}")
        axes.set_title(title_of(rows))
    return files_of(path)


def gap_vs_age(rows: pd.DataFrame, path: Path, seed: int = 0, resamples: int = 1000) -> list[Path]:
    """Gap (prediction minus truth) against truth with its regression line: the age bias of Butler et al. 2021.

    Below, the same of `corrected_gap`, where there is one.
    """
    shown = {"as predicted": rows}
    if "corrected_gap" in rows and rows["corrected_gap"].notna().all():
        corrected = rows["truth"].astype(float) + rows["corrected_gap"].astype(float)
        shown["corrected, by the line learnt on validation"] = rows.assign(prediction=corrected)
    gaps = np.concatenate([each["prediction"].astype(float) - each["truth"].astype(float) for each in shown.values()])
    with saved(path, 5.4, 1.0 + 3.2 * len(shown)) as figure:
        panels = figure.subplots(len(shown), sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, (name, each) in zip(panels, shown.items(), strict=True):
            _gap(axes, each, seed, resamples, legend=axes is panels[-1])
            axes.set_title(f"{title_of(rows)}\n{name}" if axes is panels[0] and len(shown) > 1 else name)
        if len(shown) == 1:
            panels[0].set_title(title_of(rows))
        panels[-1].set(xlabel=f"true {numbers_of(rows)[2]}", ylim=padded(np.append(gaps, 0), 0.15))
    return files_of(path)


def _gap(axes: Axes, rows: pd.DataFrame, seed: int, resamples: int, legend: bool) -> None:
    truth, prediction, target = numbers_of(rows)
    gap = prediction - truth
    r = interval_of("gap_age_r", metrics.metrics_of(rows, "regression", ()), rows, seed, resamples)
    axes.axhline(0, color=GREY, linestyle="--", linewidth=1)
    if np.ptp(truth) > 0:
        grid = np.linspace(truth.min(), truth.max(), 50)
        axes.plot(grid, fitted_line(truth, gap, np.ones(len(rows)), grid), color="black", linewidth=1.5)
        band = fitted_line(truth, gap, subject_weights(rows["subject"], resamples, seed), grid)
        axes.fill_between(grid, *np.nanquantile(band, [0.025, 0.975], 0), color="black", alpha=0.15, linewidth=0)
    scatter(axes, truth, gap, rows, legend)
    axes.text(0.97, 0.97, f"r {r}", transform=axes.transAxes, va="top", ha="right")
    axes.set(ylabel=f"gap, predicted - true {target}")


def bland_altman(rows: pd.DataFrame, path: Path, seed: int = 0, resamples: int = 1000) -> list[Path]:
    """Difference against mean of prediction and truth, with mean and limits of agreement and their bands.

    Source: Bland & Altman 1986, The Lancet 327.
    """
    truth, prediction, target = numbers_of(rows)
    gap = prediction - truth
    lines = limits_of_agreement(gap, np.ones(len(rows)))
    drawn = limits_of_agreement(gap, subject_weights(rows["subject"], resamples, seed))
    with saved(path, 5.8, 4.2) as figure:
        axes = figure.subplots()
        for (name, value), draws in zip(lines.items(), drawn.values(), strict=True):
            band = percentile_interval(draws)
            colour = BLUE if name == "mean" else VERMILION
            axes.axhline(value, color=colour, linestyle="-" if name == "mean" else "--", linewidth=1.5)
            axes.axhspan(band.lower, band.upper, color=colour, alpha=0.12, linewidth=0)
            axes.annotate(
                f"{name}\n{value:.1f}", (1.01, value), xycoords=("axes fraction", "data"), va="center", color=colour
            )
        scatter(axes, (truth + prediction) / 2, gap, rows)
        axes.set(xlabel=f"mean of predicted and true {target}", ylabel=f"predicted - true {target}")
        axes.set_title(title_of(rows))
    return files_of(path)


def predicted_sd(rows: pd.DataFrame, path: Path, seed: int = 0, resamples: int = 1000) -> list[Path]:
    """Share of truths in the central intervals of the predicted normal distributions, against the share they claim.

    With `sd`, and with `calibrated_sd` where there is one. Below the diagonal a model is too sure.
    Source: Kuleshov et al. 2018, ICML, section 3.
    """
    shown = {"as the model says": ("sd", BLUE), "scaled, as learnt on validation": ("calibrated_sd", VERMILION)}
    weights = subject_weights(rows["subject"], resamples, seed)
    levels = np.linspace(0, 1, 101)[:-1]  # the interval of 1 has no end
    with saved(path, 5, 4.8) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        for name, (sd, colour) in shown.items():
            if sd not in rows:
                continue
            held = (needed_level(rows, sd)[:, None] <= levels).astype(float)
            axes.plot(levels, held.mean(axis=0), color=colour, linewidth=2, label=name)
            ends = np.quantile(weights @ held / weights.sum(axis=1, keepdims=True), [0.025, 0.975], axis=0)
            axes.fill_between(levels, *ends, color=colour, alpha=0.15, linewidth=0)
        axes.legend(loc="upper left")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="share that intervals are to hold", ylabel="share that they hold")
        axes.set_title(title_of(rows))
    return files_of(path)


def histogram_by_split(values: pd.Series, splits: pd.Series, path: Path, classes: Sequence[str] = ()) -> list[Path]:
    """How many scans of each split have which class or number; one panel a split.

    Args:
        values: (n,) classes or numbers of a target, which is its name.
        splits: (n,) 'train', 'validation', 'test'.
        path: without suffix.
        classes: in the order in which they are drawn; those of `values` by default.
    """
    known = values.notna()
    values, splits = values[known], splits[known]
    names = [name for name in ("train", "validation", "test") if (splits == name).any()]
    target = str(values.name)
    with saved(path, 5, 1 + 1.35 * len(names)) as figure:
        grid = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
        numeric = pd.api.types.is_numeric_dtype(values)
        edges = np.histogram_bin_edges(values, bins=min(30, max(5, round(np.sqrt(len(values)))))) if numeric else None
        names_of = [] if numeric else list(classes) or sorted(values.unique())
        for axes, name, colour in zip(grid, names, COLOURS, strict=False):
            of_split = values[splits == name]
            if edges is not None:
                axes.hist(of_split, bins=list(edges), color=colour, edgecolor="white", linewidth=0.5)
            else:
                counts = [(of_split == one).sum() for one in names_of]
                bars = axes.bar(range(len(names_of)), counts, width=0.6, color=colour)
                axes.bar_label(bars, [f"{count} ({count / len(of_split):.0%})" for count in counts], fontsize=10)
                axes.set_xticks(range(len(names_of)), [shortened(one, 14) for one in names_of])
                axes.margins(y=0.25)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.set_ylabel("scans")
            axes.set_title(f"{name}, n = {len(of_split)}")
        grid[-1].set_xlabel(with_unit(target))
    return files_of(path)


def fitted_line(x: np.ndarray, y: np.ndarray, weights: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Weighted least-squares line through (n,) points at (g,) places: (..., g); NaN where all `x` are the same."""
    total = weights.sum(-1)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    variance = weights @ x**2 / total - mean_x**2
    slope = (weights @ (x * y) / total - mean_x * mean_y) / np.where(variance > 1e-9, variance, np.nan)
    return np.expand_dims(mean_y, -1) + np.expand_dims(slope, -1) * (grid - np.expand_dims(mean_x, -1))


def limits_of_agreement(gap: np.ndarray, weights: np.ndarray) -> dict[str, Any]:
    """Mean of (n,) gaps, and mean ± 1.96 standard deviations (of the sample, n - 1), each (...)."""
    total = weights.sum(-1)
    mean = weights @ gap / total
    variance = np.maximum(weights @ gap**2 / total - mean**2, 0) * total / np.maximum(total - 1, 1)
    return {
        "+1.96 SD": mean + 1.96 * np.sqrt(variance),
        "mean": mean,
        "-1.96 SD": mean - 1.96 * np.sqrt(variance),
    }
