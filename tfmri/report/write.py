"""The report's files, beside the results that they tell of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfmri.experiment.schema import Experiment
from tfmri.files import write_text
from tfmri.images.cache import CachedScan
from tfmri.report.cards import methods, model_card
from tfmri.report.facts import Facts
from tfmri.report.page import page
from tfmri.runs.directory import Run


def write_report(
    run: Run,
    place: str,
    experiment: Experiment,
    table: pd.DataFrame,
    predictions: pd.DataFrame,
    summary: Mapping[str, Any],
    best: Mapping[str, Mapping[str, float]],
    prepared: Mapping[str, CachedScan],
    anonymous: bool = False,
) -> Path:
    """Writes report.html, model_card.md and methods.md into the folder of the results.

    Args:
        prepared: scan -> its prepared image; the others as in `Facts`.

    Returns:
        The path of the page.
    """
    facts = Facts(run, place, experiment, table, predictions, summary, best, anonymous)

    def load(scan: str) -> np.ndarray | None:
        found = prepared.get(scan)
        return np.load(found.image) if found is not None and found.image.exists() else None

    path = facts.folder / "report.html"
    write_text(facts.folder / "model_card.md", model_card(facts))
    write_text(facts.folder / "methods.md", methods(facts))
    write_text(path, page(facts, load))
    return path
