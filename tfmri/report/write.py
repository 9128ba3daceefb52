"""The report's files, beside the results that they tell of."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tfmri.files import write_text
from tfmri.images.cache import CachedScan
from tfmri.report.cards import methods, model_card
from tfmri.report.facts import Facts
from tfmri.report.page import page


def write_report(facts: Facts, prepared: Mapping[str, CachedScan]) -> Path:
    """Writes report.html, model_card.md and methods.md into the folder of the results.

    Args:
        facts: of a run and its results.
        prepared: scan -> its prepared image.

    Returns:
        The path of the page.
    """

    def load(scan: str) -> np.ndarray | None:
        found = prepared.get(scan)
        return np.load(found.image) if found is not None and found.image.exists() else None

    path = facts.folder / "report.html"
    write_text(facts.folder / "model_card.md", model_card(facts))
    write_text(facts.folder / "methods.md", methods(facts))
    write_text(path, page(facts, load))
    return path
