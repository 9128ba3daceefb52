"""Figures of training, of classification and of regression, each as PNG (150 dpi) and PDF.

Every function takes a path without suffix, adds `.png` and `.pdf`, and returns both paths; with a path that ends in
`.png` it draws that alone. Bands and intervals are 95 %
percentile bootstrap intervals over subjects; with the same seed they are those of `metrics.json`. Colours are Okabe &
Ito's, which stay apart for colour-blind readers; groups differ by marker too. Names from a labels file are drawn as
they stand: `$` and `_` mean nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from tfmri.evaluation import metrics
from tfmri.evaluation.intervals import Interval, percentile_interval, percentile_intervals, subject_weights
from tfmri.evaluation.summary import UNITS, usable
from tfmri.files import whole_path

BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY, YELLOW, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#F0E442", "#767676"
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")
STYLE: Any = {
    "text.parse_math": False,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.08,  # inches
    "figure.constrained_layout.w_pad": 0.08,
    "legend.fontsize": 10,
    "pdf.fonttype": 42,  # TrueType: text stays text, as journals ask
}
WIDE_RANGE = 20  # highest over lowest value of a learning curve, beyond which its axis is logarithmic
UNDATED = {".png": "Software", ".pdf": "CreationDate"}  # what of a file would differ between two drawings of the same
LONGEST_NAME = 24  # characters of a class, site or target that are drawn


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
    if kind == "classification":
        return [
            *roc(rows, classes, directory / "roc", seed, resamples),
            *confusion_matrix(rows, classes, directory / "confusion_matrix"),
            *reliability(rows, classes, directory / "reliability", seed, resamples),
        ]
    return [
        *predicted_vs_true(rows, directory / "predicted_vs_true", seed, resamples),
        *gap_vs_age(rows, directory / "gap_vs_age", seed, resamples),
        *bland_altman(rows, directory / "bland_altman", seed, resamples),
    ]


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
    return _files(path)


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
    lower = monitor.removeprefix("validation_") in metrics.LOWER_IS_BETTER
    return float(values.index[int(values.argmin() if lower else values.argmax())])


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
            name = _name(classes[number], 14)
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
            area = _figures(metrics.roc_auc(positive, score, once), percentile_interval(areas))
            labels.append(f"{name}: AUC {area}")
        axes.legend(handles, labels, loc="lower right")
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        axes.set(xlabel="false positive rate (1 - specificity)", ylabel="true positive rate (sensitivity)")
        axes.set_title(_title(rows))
    return _files(path)


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
        names = [_name(name, 14) for name in classes]
        axes.set_xticks(range(len(classes)), names)
        axes.set_yticks(range(len(classes)), names)
        if max(map(len, names)) > 9:
            axes.tick_params(axis="x", labelrotation=30)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true")
        axes.set_title(_title(rows, "\n"))
    return _files(path)


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
    ece = _interval_of("ece", metrics.metrics_of(rows, "classification", classes), rows, seed, resamples)
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
        upper.set_title(f"{_title(rows)}\nexpected calibration error {ece}")
        lower.bar(centres, count, width=0.95 / metrics.CALIBRATION_BINS, color=BLUE)
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        start = min(0.5, 1 / len(classes)) if len(classes) == 2 else np.floor(10 / len(classes)) / 10
        lower.set(xlim=(start - 0.02, 1.02), xlabel="confidence (highest class probability)", ylabel="scans")
    return _files(path)


def predicted_vs_true(rows: pd.DataFrame, path: Path, seed: int = 0, resamples: int = 1000) -> list[Path]:
    """Prediction against truth with the identity line, coloured by site, with mean absolute error and correlation."""
    truth, prediction, target = _numbers(rows)
    unit = f" {UNITS[name]}" if (name := rows["target"].iloc[0]) in UNITS else ""
    statistics = metrics.metrics_of(rows, "regression", ())
    mae, r = (_interval_of(name, statistics, rows, seed, resamples) for name in ("mae", "pearson_r"))
    with saved(path, 5, 4.8) as figure:
        axes = figure.subplots()
        ends = _padded(np.concatenate([truth, prediction]))
        axes.plot(ends, ends, color=GREY, linestyle="--", linewidth=1)
        _scatter(axes, truth, prediction, rows)
        axes.text(0.03, 0.97, f"MAE {mae}{unit}\nr {r}", transform=axes.transAxes, va="top")
        axes.set(xlim=ends, ylim=ends, aspect="equal", xlabel=f"true {target}", ylabel=f"predicted {target}")
        axes.set_title(_title(rows))
    return _files(path)


def gap_vs_age(rows: pd.DataFrame, path: Path, seed: int = 0, resamples: int = 1000) -> list[Path]:
    """Gap (prediction minus truth) against truth with its regression line: the age bias of Butler et al. 2021."""
    truth, prediction, target = _numbers(rows)
    gap = prediction - truth
    r = _interval_of("gap_age_r", metrics.metrics_of(rows, "regression", ()), rows, seed, resamples)
    with saved(path, 5.4, 4.2) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linestyle="--", linewidth=1)
        if np.ptp(truth) > 0:
            grid = np.linspace(truth.min(), truth.max(), 50)
            axes.plot(grid, fitted_line(truth, gap, np.ones(len(rows)), grid), color="black", linewidth=1.5)
            band = fitted_line(truth, gap, subject_weights(rows["subject"], resamples, seed), grid)
            axes.fill_between(grid, *np.nanquantile(band, [0.025, 0.975], 0), color="black", alpha=0.15, linewidth=0)
        _scatter(axes, truth, gap, rows)
        axes.text(0.97, 0.97, f"r {r}", transform=axes.transAxes, va="top", ha="right")
        axes.set(xlabel=f"true {target}", ylabel=f"predicted - true {target}", ylim=_padded(np.append(gap, 0), 0.15))
        axes.set_title(_title(rows))
    return _files(path)


def bland_altman(rows: pd.DataFrame, path: Path, seed: int = 0, resamples: int = 1000) -> list[Path]:
    """Difference against mean of prediction and truth, with mean and limits of agreement and their bands.

    Source: Bland & Altman 1986, The Lancet 327.
    """
    truth, prediction, target = _numbers(rows)
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
        _scatter(axes, (truth + prediction) / 2, gap, rows)
        axes.set(xlabel=f"mean of predicted and true {target}", ylabel=f"predicted - true {target}")
        axes.set_title(_title(rows))
    return _files(path)


def histogram_by_split(values: pd.Series, splits: pd.Series, path: Path) -> list[Path]:
    """How many scans of each split have which class or number; one panel a split.

    Args:
        values: (n,) classes or numbers of a target, which is its name.
        splits: (n,) 'train', 'validation', 'test'.
        path: without suffix.
    """
    known = values.notna()
    values, splits = values[known], splits[known]
    names = [name for name in ("train", "validation", "test") if (splits == name).any()]
    target = str(values.name)
    with saved(path, 5, 1 + 1.35 * len(names)) as figure:
        grid = figure.subplots(len(names), sharex=True, squeeze=False)[:, 0]
        numeric = pd.api.types.is_numeric_dtype(values)
        edges = np.histogram_bin_edges(values, bins=min(30, max(5, round(np.sqrt(len(values)))))) if numeric else None
        classes = [] if numeric else sorted(values.unique())
        for axes, name, colour in zip(grid, names, COLOURS, strict=False):
            of_split = values[splits == name]
            if edges is not None:
                axes.hist(of_split, bins=list(edges), color=colour, edgecolor="white", linewidth=0.5)
            else:
                counts = [(of_split == one).sum() for one in classes]
                bars = axes.bar(range(len(classes)), counts, width=0.6, color=colour)
                axes.bar_label(bars, [f"{count} ({count / len(of_split):.0%})" for count in counts], fontsize=10)
                axes.set_xticks(range(len(classes)), [_name(one, 14) for one in classes])
                axes.margins(y=0.25)
            axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
            axes.set_ylabel("scans")
            axes.set_title(f"{name}, n = {len(of_split)}")
        grid[-1].set_xlabel(_with_unit(target))
    return _files(path)


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


@contextmanager
def saved(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of width x height inches to draw on, saved on leaving; the same drawing gives the same bytes."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        for file in _files(path):
            with whole_path(file) as temporary:
                figure.savefig(temporary, dpi=150, metadata={UNDATED[file.suffix]: None})
            figure.set_layout_engine("none")  # laid out once; the second file keeps the places


def _files(path: Path) -> list[Path]:
    return [path] if path.suffix == ".png" else [path.parent / f"{path.name}{suffix}" for suffix in UNDATED]


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray, rows: pd.DataFrame) -> None:
    """Points, by site where there are several; sites beyond the palette share the last colour."""
    site = rows["site"].fillna("").astype(str) if "site" in rows else pd.Series("", index=rows.index)
    names = list(site.value_counts().index)
    alone, together = (
        (names, []) if len(names) <= len(COLOURS) else (names[: len(COLOURS) - 1], names[len(COLOURS) - 1 :])
    )
    groups = [(name or "not known", [name]) for name in sorted(alone)]
    groups += [(f"{len(together)} other sites", together)] if together else []
    size = 30 if len(rows) <= 300 else 10
    drawn = [
        axes.scatter(x[of], y[of], s=size, c=colour, marker=marker, alpha=0.75, linewidths=0)
        for (_, members), colour, marker in zip(groups, COLOURS, MARKERS, strict=False)
        for of in [site.isin(members).to_numpy()]
    ]
    if len(groups) > 1:
        # below the axes, where it hides no point
        names = [_name(name, 14) for name, _ in groups]
        axes.figure.legend(drawn, names, loc="outside lower center", ncols=3, handletextpad=0.1)


def _interval_of(
    name: str, statistics: Callable[..., metrics.Metrics], rows: pd.DataFrame, seed: int, resamples: int
) -> str:
    interval = percentile_intervals(
        lambda weights: {name: statistics(weights=weights)[name]}, rows["subject"], seed, resamples
    )
    return _figures(statistics()[name], interval[name])


def _figures(value: float, interval: Interval) -> str:
    if np.isnan(value):
        return "not defined"
    if not interval.upper - interval.lower > 1e-12:  # a point is no interval
        return f"{value:.2f}"
    return f"{value:.2f} [{interval.lower:.2f}, {interval.upper:.2f}]"


def _numbers(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, str]:
    """Truth, prediction, and the target's name with its unit."""
    target = str(rows["target"].iloc[0])
    return rows["truth"].to_numpy(float), rows["prediction"].to_numpy(float), _with_unit(target)


def _with_unit(target: str) -> str:
    return f"{_name(target)} ({UNITS[target]})" if target in UNITS else _name(target)


def _title(rows: pd.DataFrame, between: str = ": ") -> str:
    scans, subjects = len(rows), rows["subject"].nunique()
    of = f" scans of {subjects} subjects" if subjects != scans else ""
    return f"{_name(str(rows['target'].iloc[0]))}{between}n = {scans}{of}"


def _name(name: str, longest: int = LONGEST_NAME) -> str:
    """A name cut in its middle, since names of sites and classes often begin alike."""
    tail = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[: longest - 1 - tail]}…{name[-tail:]}"


def _padded(values: np.ndarray, share: float = 0.05) -> tuple[float, float]:
    room = share * (np.ptp(values) or 1.0)
    return float(values.min() - room), float(values.max() + room)
