"""From the `data`, `targets` and `image` of an experiment, or from a run, to scans that are known and prepared."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tfmri.cohort.splits import assign_folds, assign_splits
from tfmri.cohort.table import Cohort, read_labels
from tfmri.errors import InputError, Problem
from tfmri.experiment.schema import Experiment
from tfmri.images.cache import CachedScan, ScanFiles, prepare_scans
from tfmri.project import in_project
from tfmri.runs.cohort import PREPARED, SOURCE, read_cohort
from tfmri.runs.directory import Run

DEMO = "demo"
CUT, MANY = 5.0, 0.25  # mm of a head beyond the grid, and the share of heads, that are worth a warning
log = logging.getLogger(__name__)


def labels_file(labels: str) -> Path:
    """The labels file an experiment asks for; `demo` and `demo:VARIANT` write the phantom cohort."""
    if labels.split(":")[0] != DEMO:
        return in_project(labels).absolute()
    from tfmri.phantom.cohort import VARIANTS, ensure_cohort

    variant = labels.partition(":")[2] or DEMO
    if variant not in VARIANTS:
        found = f"there is no phantom cohort '{variant}'"
        raise InputError(Problem("data.labels", found, f"one of {', '.join(VARIANTS)}"))
    return ensure_cohort(demo_folder(variant), variant).absolute()


def demo_folder(variant: str) -> Path:
    """Where a variant of the phantom cohort lies: `data/demo`, `data/demo-null` (`in_project`)."""
    return in_project("data") / (DEMO if variant == DEMO else f"{DEMO}-{variant}")


def labels_there(labels: str) -> Path | None:
    """As `labels_file`, but None for a phantom cohort that was not written yet, or was only begun."""
    if labels.split(":")[0] != DEMO:
        return labels_file(labels)
    path = demo_folder(labels.partition(":")[2] or DEMO) / "labels.csv"
    return path.absolute() if path.is_file() else None


def read_cohort_of(experiment: Experiment, labels: Path, to_learn: bool = True) -> Cohort:
    """The table of scans of an experiment, in its labels file; `to_learn` as of `read_labels`."""
    targets = {name: target.classes for name, target in experiment.targets.items()}
    columns, images = image_columns(experiment)
    return read_labels(labels, targets, columns, experiment.data.where, images, to_learn)


def load_cohort(experiment: Experiment) -> tuple[Cohort, Path]:
    """The table of scans of an experiment, and the labels file it was read from. Prints what was assumed."""
    path = labels_file(experiment.data.labels)
    cohort = read_cohort_of(experiment, path)
    for note in cohort.notes:
        print(f"note: {note}")
    return cohort, path


def with_sides(table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """A cohort's table with `split` (train, validation or test) and `fold` as training takes them.

    With folds, each of them is validated on once: `split` says train or test, and `fold` is '1', '2', ... of what is
    not test; without, `fold` is ''.
    """
    split, stratify = experiment.split, experiment.split.stratify
    if stratify is None:
        stratify = [experiment.target, *(["site"] if table["site"].nunique() > 1 else [])]
    if split.folds is None:
        return table.assign(split=assign_splits(table, split.test, split.validation, stratify, split.seed), fold="")
    parts = assign_folds(table, split.test, split.folds, stratify, split.seed)
    testing = parts == "test"
    return table.assign(split=testing.map({True: "test", False: "train"}), fold=parts.mask(testing, ""))


def image_columns(experiment: Experiment) -> tuple[dict[str, str], dict[str, str]]:
    """`data.columns` with the first channel as `path`, and the further columns that name images: channels and masks.

    Of each of these, what to say where the labels file has none.
    """
    columns, (first, *others) = dict(experiment.data.columns), experiment.image.channels
    if first != "path":
        columns["path"] = columns.pop(first, first)
    mask = experiment.image.mask_column
    images = dict.fromkeys(others, "It is one of image.channels.")
    if mask:
        images[mask] = "Without one, image.mask may be none, head, a command."
    return columns, images


def scan_files(table: pd.DataFrame, experiment: Experiment) -> list[ScanFiles]:
    """The files of every scan in a table that was read with `image_columns`."""
    channels = ["path", *experiment.image.channels[1:]]
    images = [tuple(Path(path) for path in row) for row in table[channels].itertuples(index=False)]
    column = experiment.image.mask_column
    masks = [Path(path) for path in table[column]] if column else [None] * len(images)
    return [ScanFiles(*each) for each in zip(images, masks, strict=True)]


def cache_folder() -> Path:
    """`TFMRI_CACHE`, or `cache/` (`in_project`)."""
    return Path(given) if (given := os.environ.get("TFMRI_CACHE")) else in_project("cache")


def prepare(table: pd.DataFrame, experiment: Experiment, workers: int | None = None) -> list[CachedScan]:
    """The prepared scans of a table, in its order, from the cache where they are in it."""
    return prepare_scans(scan_files(table, experiment), experiment.image.preparation, cache_folder(), workers)


def warn_of_registrations(table: pd.DataFrame, cached: Sequence[CachedScan]) -> None:
    """Names the scans that most likely do not lie on the template, and says if the grid cuts many of the others."""
    found = [each.record["done"].get("registration") for each in cached]
    failed = [
        f"{scan} ({each['quality']:.2f})"
        for scan, each in zip(table["scan"], found, strict=True)
        if each and not each["good"]
    ]
    if failed:
        threshold = next(each["threshold"] for each in found if each)
        log.warning(
            "registration to MNI152 most likely failed for %s: quality below %.2f. Look at them (tfmri preview), "
            "and leave them out with data.where",
            ", ".join(failed),
            threshold,
        )
    if registered := [each.record for each, quality in zip(cached, found, strict=True) if quality and quality["good"]]:
        from tfmri.images.cut import cut_off, shape_that_holds

        beyond = cut_off(registered).max(axis=1)
        if (beyond > CUT).mean() >= MANY:
            log.warning(
                "%d of %d heads are larger in MNI152 than the grid, by up to %.0f mm, and were cut; "
                "image.shape=%s would hold them",
                (beyond > CUT).sum(),
                len(beyond),
                beyond.max(),
                list(shape_that_holds(registered, CUT)),
            )


def run_table(run: Run, experiment: Experiment) -> pd.DataFrame:
    """The scans of a run with their splits."""
    return read_cohort(run, experiment.target, experiment.targets[experiment.target].classes is None)


def run_scans(table: pd.DataFrame, experiment: Experiment) -> list[CachedScan]:
    """The prepared scans of a run's table, whose files must be those that the run began with.

    Raises:
        InputError: if a file was changed since.
    """
    cached = prepare(table, experiment)
    warn_of_registrations(table, cached)
    advice = "Put it back, or begin a new run"
    changed = [
        Problem(path, "this scan has changed since the run began", "the same file", advice)
        for path, known, each in zip(table["path"], table[SOURCE], cached, strict=True)
        if each.source_sha256 != known
    ]
    if changed:
        raise InputError(*changed)
    others = sum(each.sha256 != known for known, each in zip(table[PREPARED], cached, strict=True))
    if others:
        log.warning(
            "%d of %d scans came out of the preparation with other voxels than when the run began", others, len(table)
        )
    return cached
