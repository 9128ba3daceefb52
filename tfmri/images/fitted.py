"""The preparation as a fit keeps it, in `preparation.json`: settings, and what was learnt from its training scans.

The cache holds only what no fold changes. What a fit learns is small, and is applied where scans are read for it: by
the pipeline, or, of one scan, by `prepare_files`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tfmri.images import prepare
from tfmri.images.cache import CachedScan
from tfmri.images.histogram import LANDMARKS, fit_standard
from tfmri.images.prepare import Preparation


@dataclass(frozen=True)
class FittedPreparation:
    """All that is needed to prepare another scan as those that a model was trained on.

    Args:
        preparation: the settings.
        standard: (channel, k) float32, the scale of intensities; None unless `normalise` is 'histogram'.
        steps_version: of `prepare`, when it was fitted.
    """

    preparation: Preparation
    standard: np.ndarray | None
    steps_version: int

    def to_config(self) -> dict[str, Any]:
        """For JSON; `from_config` reads it."""
        standard = None if self.standard is None else self.standard.tolist()
        percentiles = None if self.standard is None else list(LANDMARKS)
        return {
            "settings": asdict(self.preparation),
            "steps_version": self.steps_version,
            "histogram_standard": standard,
            "histogram_percentiles": percentiles,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "FittedPreparation":
        """What `to_config` wrote."""
        standard = config["histogram_standard"]
        return cls(
            Preparation(**config["settings"]),
            None if standard is None else np.array(standard, np.float32),
            config["steps_version"],
        )


def fit_preparation(preparation: Preparation, train: Sequence[CachedScan]) -> FittedPreparation:
    """Learns what the settings ask for from prepared scans, of training subjects only."""
    standard = None
    if preparation.normalise == "histogram":
        landmarks = np.stack([scan.landmarks for scan in train])
        standard = np.stack([fit_standard(list(landmarks[:, channel])) for channel in range(preparation.channels)])
    return FittedPreparation(preparation, standard, prepare.STEPS_VERSION)
