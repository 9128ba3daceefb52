"""The preparation as a fit keeps it: settings, and what was learnt from its training scans.

The cache holds only what no fold changes. What a fit learns is small, and is applied where scans are read for it: by
the pipeline, or, of one scan, by `prepare_files`.

It travels inside the model: a `.keras` file is a zip archive from which Keras takes its own members by name, and
`preparation.json` is one more. So wherever the file is copied to, `preparation_of` says how to prepare a scan for it.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.images import prepare
from tfmri.images.cache import CachedScan
from tfmri.images.histogram import LANDMARKS, fit_standard
from tfmri.images.prepare import Preparation

MEMBER = "preparation.json"


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


def add_preparation(model: Path, prepared: FittedPreparation) -> None:
    """Puts into a `.keras` file, as Keras has just written it, how its scans were prepared."""
    with zipfile.ZipFile(model, "a") as archive:
        archive.writestr(MEMBER, json.dumps(prepared.to_config(), indent=2, allow_nan=False))


def preparation_of(model: Path) -> FittedPreparation:
    """How scans are prepared for a `.keras` file: `prepare_files` does it, with its `preparation` and `standard`.

    Raises:
        InputError: no such file, no `.keras` file, one that carries no preparation, or one that other steps made.
    """
    where = str(model)
    try:
        with zipfile.ZipFile(model) as archive:
            if MEMBER not in archive.namelist():
                advice = "Train it again with this version of tfmri"
                raise InputError(Problem(where, "the model carries no preparation", f"{MEMBER} in it", advice))
            prepared = FittedPreparation.from_config(json.loads(archive.read(MEMBER)))
    except FileNotFoundError as error:
        raise InputError(Problem(where, "there is no such file", "a .keras file", "Check the path")) from error
    except (OSError, zipfile.BadZipFile) as error:
        found = f"no .keras file, or a damaged one ({error})"
        raise InputError(Problem(where, found, advice="Copy it again")) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"its preparation cannot be read ({error})"
        raise InputError(Problem(where, found, advice="Use the version of tfmri that trained it")) from error
    check_version(prepared, where)
    return prepared


def check_version(prepared: FittedPreparation, where: str) -> None:
    """Refuses what the installed steps would prepare otherwise.

    Raises:
        InputError: other steps made it, `where` the model is.
    """
    if prepared.steps_version != prepare.STEPS_VERSION:
        found = f"its scans were prepared by version {prepared.steps_version} of the steps"
        advice = "Use the version of tfmri that trained it, or train it again"
        raise InputError(Problem(where, found, f"version {prepare.STEPS_VERSION}, which is installed", advice))
