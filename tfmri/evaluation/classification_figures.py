"""Figures of classification: ROC and precision-recall curves, confusion matrix, reliability. See `figures`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from tfmri.evaluation import metrics
from tfmri.evaluation.drawing import (
    BLUE,
    COLOURS,
    GREY,
    files_of,
    interval_of,
    saved,
    shortened,
    title_of,
    with_interval,
)
from tfmri.evaluation.intervals import percentile_interval, subject_weights


def roc(rows: pd.DataFrame, classes: Sequence[str], path: Path, seed: int = 0, resamples: int = 1000) -> list[Path]:
    """ROC curve of the second of two classes, or of each of more against the rest, with band and area."""
    truth, scores = metrics.class_numbers(rows["truth"], classes), metrics.probabilities_of(rows, classes)
    once, weights = np.ones(len(rows)), subject_weights(rows["subject"], resamples, seed)
    rates = np.linspace(0, 1, 101)
    with saved(path, 5, 4.8) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        handles, labels = [], []
        for order, number in enumerate(range(len(classes)) if len(classes) > 2 else [1]):
            positive, score, colour = truth == number, scores[:, number], COLOURS[order % len(COLOURS)]
            name = shortened(classes[number], 14)
            if positive.all() or not positive.any():
                labels.append(f"{name}: no curve, one class only")
                handles += axes.plot([], [], color=colour)
                continue
            false_positive, true_positive = metrics.roc_points(positive, score, once)
            handles += axes.plot(false_positive, true_positive, color=colour, linewidth=2)
            with np.errstate(invalid="ignore"):
                areas = metrics.roc_auc(positive, score, weights)
            drawn = zip(*metrics.roc_points(positive, score, weights[np.isfinite(areas)]), strict=True)
            band = np.array([np.interp(rates, *points) for points in drawn])
            if len(band):
                ends = np.quantile(band, [0.025, 0.975], axis=0)
                axes.fill_between(rates, *ends, color=colour, alpha=0.2 if len(classes) == 2 else 0.1, linewidth=0)
            area = with_interval(metrics.roc_auc(positive, score, once), percentile_interval(areas))
            labels.append(f"{name}: AUC {area}")
        axes.legend(handles, labels, loc="lower right")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="false positive rate (1 - specificity)", ylabel="true positive rate (sensitivity)")
        axes.set_title(title_of(rows))
    return files_of(path)


def precision_recall(
    rows: pd.DataFrame, classes: Sequence[str], path: Path, seed: int = 0, resamples: int = 1000
) -> list[Path]:
    """Precision by recall of the second of two classes, or of each of more against the rest, with band and average."""
    truth, scores = metrics.class_numbers(rows["truth"], classes), metrics.probabilities_of(rows, classes)
    once, weights = np.ones(len(rows)), subject_weights(rows["subject"], resamples, seed)
    places = np.linspace(0, 1, 101)
    with saved(path, 5, 4.8) as figure:
        axes = figure.subplots()
        handles, labels = [], []
        for order, number in enumerate(range(len(classes)) if len(classes) > 2 else [1]):
            positive, score, colour = truth == number, scores[:, number], COLOURS[order % len(COLOURS)]
            name = shortened(classes[number], 14)
            if positive.all() or not positive.any():
                labels.append(f"{name}: no curve, one class only")
                handles += axes.plot([], [], color=colour)
                continue
            axes.axhline(positive.mean(), color=colour if len(classes) > 2 else GREY, linestyle="--", linewidth=1)
            recall, precision = metrics.precision_recall_points(positive, score, once)
            handles += axes.step([0, *recall], [precision[0], *precision], where="pre", color=colour, linewidth=2)
            averages = metrics.average_precision(positive, score, weights)
            drawn = zip(*metrics.precision_recall_points(positive, score, weights[np.isfinite(averages)]), strict=True)
            band = [each[np.searchsorted(reached, places - 1e-9).clip(max=len(each) - 1)] for reached, each in drawn]
            if band:
                ends = np.nanquantile(np.array(band), [0.025, 0.975], axis=0)
                axes.fill_between(places, *ends, color=colour, alpha=0.2 if len(classes) == 2 else 0.1, linewidth=0)
            average = with_interval(metrics.average_precision(positive, score, once), percentile_interval(averages))
            labels.append(f"{name}: average {average}")
        axes.legend(handles, labels, loc="lower left")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="recall (sensitivity)", ylabel="precision (positive predictive value)")
        axes.set_title(title_of(rows))
    return files_of(path)


def confusion_matrix(rows: pd.DataFrame, classes: Sequence[str], path: Path) -> list[Path]:
    """Scans by true (row) and predicted (column) class: counts, and percentages of each row."""
    truth, prediction = (metrics.class_numbers(rows[column], classes) for column in ("truth", "prediction"))
    counts = metrics.confusion(truth, prediction, len(classes), np.ones(len(rows)))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    size = 2.2 + 0.95 * len(classes)
    with saved(path, size + 0.6, size) as figure:
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), count in np.ndenumerate(counts):
            text = f"{count:.0f}\n{shares[row, column]:.0%}" if counts[row].any() else "0\n-"
            ink = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=12)
        names = [shortened(name, 14) for name in classes]
        axes.set_xticks(range(len(classes)), names)
        axes.set_yticks(range(len(classes)), names)
        if max(map(len, names)) > 9:
            axes.tick_params(axis="x", labelrotation=30)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true")
        axes.set_title(title_of(rows, "\n"))
    return files_of(path)


def reliability(
    rows: pd.DataFrame, classes: Sequence[str], path: Path, seed: int = 0, resamples: int = 1000
) -> list[Path]:
    """Accuracy against confidence of the most probable class in ten bins; below, how many scans each bin holds."""
    truth, probabilities = metrics.class_numbers(rows["truth"], classes), metrics.probabilities_of(rows, classes)
    count, confidence, accuracy = metrics.reliability_bins(truth, probabilities, np.ones(len(rows)))
    weights = subject_weights(rows["subject"], resamples, seed)
    drawn = metrics.reliability_bins(truth, probabilities, weights)[2]
    filled = np.flatnonzero(count)
    bars = [percentile_interval(drawn[:, bin]) for bin in filled]
    centres = (np.arange(metrics.CALIBRATION_BINS) + 0.5) / metrics.CALIBRATION_BINS
    ece = interval_of("ece", metrics.metrics_of(rows, "classification", classes), rows, seed, resamples)
    with saved(path, 5, 5.4) as figure:
        upper, lower = figure.subplots(2, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
        upper.plot(
            [0, 1],
            [0, 1],
            color=GREY,
            linestyle="--",
            linewidth=1,
        )
        upper.vlines(
            confidence[filled], [bar.lower for bar in bars], [bar.upper for bar in bars], color=BLUE, alpha=0.5
        )
        upper.plot(confidence[filled], accuracy[filled], color=BLUE, marker="o")
        upper.set(ylim=(-0.02, 1.02), ylabel="accuracy")
        upper.set_title(f"{title_of(rows)}\nexpected calibration error {ece}")
        lower.bar(centres, count, width=0.95 / metrics.CALIBRATION_BINS, color=BLUE)
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        start = min(0.5, 1 / len(classes)) if len(classes) == 2 else np.floor(10 / len(classes)) / 10
        lower.set(xlim=(start - 0.02, 1.02), xlabel="confidence (highest class probability)", ylabel="scans")
    return files_of(path)
