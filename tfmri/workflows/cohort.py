"""From the `data`, `targets` and `image` of an experiment to scans that are known and prepared."""

import os
from collections.abc import Sequence
from pathlib import Path

from tfmri.cohort.table import Cohort, read_labels
from tfmri.errors import InputError, Problem
from tfmri.experiment.schema import Experiment
from tfmri.images.cache import CachedScan, prepare_scans
from tfmri.images.prepare import Preparation

DEMO = "demo"


def labels_file(labels: str) -> Path:
    """The labels file an experiment asks for; `demo` and `demo:VARIANT` write the phantom cohort."""
    if labels.split(":")[0] != DEMO:
        return Path(labels).expanduser().absolute()
    from tfmri.phantom.cohort import VARIANTS, ensure_cohort

    variant = labels.partition(":")[2] or DEMO
    if variant not in VARIANTS:
        raise InputError(
            Problem("data.labels", f"there is no phantom cohort '{variant}'", f"one of {', '.join(VARIANTS)}")
        )
    return ensure_cohort(demo_folder(variant), variant).absolute()


def demo_folder(variant: str) -> Path:
    """Where a variant of the phantom cohort lies: `data/demo`, `data/demo-null`."""
    return Path("data") / (DEMO if variant == DEMO else f"{DEMO}-{variant}")


def load_cohort(experiment: Experiment) -> tuple[Cohort, Path]:
    """The table of scans of an experiment, and the labels file it was read from."""
    path = labels_file(experiment.data.labels)
    targets = {name: target.classes for name, target in experiment.targets.items()}
    return read_labels(path, targets, experiment.data.columns, experiment.data.where), path


def preparation(experiment: Experiment) -> Preparation:
    """How an experiment wants its scans."""
    return Preparation(experiment.image.spacing, experiment.image.shape, experiment.image.normalise)


def cache_folder() -> Path:
    """`TFMRI_CACHE`, or `cache/` in the current folder."""
    return Path(os.environ.get("TFMRI_CACHE", "cache"))


def prepare(paths: Sequence[str], experiment: Experiment, workers: int | None = None) -> list[CachedScan]:
    """The prepared scans of `paths`, in their order, from the cache where they are in it."""
    return prepare_scans([Path(path) for path in paths], preparation(experiment), cache_folder(), workers)
