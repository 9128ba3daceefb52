"""How figures look and are saved: colours, names, titles, points by site.

Colours are Okabe & Ito's, which stay apart for colour-blind readers; groups differ by marker too. Names from a labels
file are drawn as they stand: `$` and `_` mean nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tfmri.evaluation import metrics
from tfmri.evaluation.intervals import Interval, percentile_intervals
from tfmri.evaluation.summary import UNITS
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
UNDATED = {".png": "Software", ".pdf": "CreationDate"}  # what of a file would differ between two drawings of the same
LONGEST_NAME = 24  # characters of a class, site or target that are drawn


@contextmanager
def saved(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure of width x height inches to draw on, saved on leaving; the same drawing gives the same bytes."""
    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        for file in files_of(path):
            with whole_path(file) as temporary:
                figure.savefig(temporary, dpi=150, metadata={UNDATED[file.suffix]: None})
            figure.set_layout_engine("none")  # laid out once; the second file keeps the places


def files_of(path: Path) -> list[Path]:
    """The files that a figure is saved as."""
    return [path] if path.suffix == ".png" else [path.parent / f"{path.name}{suffix}" for suffix in UNDATED]


def scatter(axes: Axes, x: np.ndarray, y: np.ndarray, rows: pd.DataFrame, legend: bool = True) -> None:
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
    if len(groups) > 1 and legend:
        # below the axes, where it hides no point
        names = [shortened(name, 14) for name, _ in groups]
        axes.figure.legend(drawn, names, loc="outside lower center", ncols=3, handletextpad=0.1)


def interval_of(
    name: str, statistics: Callable[..., metrics.Metrics], rows: pd.DataFrame, seed: int, resamples: int
) -> str:
    """Value and 95 % interval of one metric, as it is drawn."""
    interval = percentile_intervals(
        lambda weights: {name: statistics(weights=weights)[name]}, rows["subject"], seed, resamples
    )
    return with_interval(statistics()[name], interval[name])


def with_interval(value: float, interval: Interval) -> str:
    """``0.91 [0.82, 0.98]``."""
    if np.isnan(value):
        return "not defined"
    if not interval.upper - interval.lower > 1e-12:  # a point is no interval
        return f"{value:.2f}"
    return f"{value:.2f} [{interval.lower:.2f}, {interval.upper:.2f}]"


def numbers_of(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, str]:
    """Truth, prediction, and the target's name with its unit."""
    target = str(rows["target"].iloc[0])
    return rows["truth"].to_numpy(float), rows["prediction"].to_numpy(float), with_unit(target)


def with_unit(target: str) -> str:
    """The name of a target with its unit."""
    return f"{shortened(target)} ({UNITS[target]})" if target in UNITS else shortened(target)


def title_of(rows: pd.DataFrame, between: str = ": ") -> str:
    """Target, and how many scans of how many subjects."""
    scans, subjects = len(rows), rows["subject"].nunique()
    of = f" scans of {subjects} subjects" if subjects != scans else ""
    return f"{shortened(str(rows['target'].iloc[0]))}{between}n = {scans}{of}"


def shortened(name: str, longest: int = LONGEST_NAME) -> str:
    """A name cut in its middle, since names of sites and classes often begin alike."""
    tail = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[: longest - 1 - tail]}…{name[-tail:]}"


def padded(values: np.ndarray, share: float = 0.05) -> tuple[float, float]:
    """Ends of an axis with room beside the values."""
    room = share * (np.ptp(values) or 1.0)
    return float(values.min() - room), float(values.max() + room)
