"""From an experiment to all that a run of it begins with. A mistake shows here, before anything of a run is written."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tfmri.cohort.shuffle import shuffled
from tfmri.cohort.splits import of_fold
from tfmri.cohort.table import Step
from tfmri.errors import InputError, Problem
from tfmri.experiment.schema import Experiment, FitPlan
from tfmri.images.cache import CachedScan
from tfmri.workflows.cohort import load_cohort, prepare, with_sides
from tfmri.workflows.learner import Learner, make_learner


@dataclass(frozen=True)
class Beginning:
    """What a run begins with, known to be sound.

    Args:
        labels: the file.
        table: the scans, with their sides.
        flow: how many were left out on the way to them.
        notes: what was assumed.
        learner: what learns in the first fit.
        cached: the prepared scans.
    """

    labels: Path
    table: pd.DataFrame
    flow: tuple[Step, ...]
    notes: list[str]
    learner: Learner
    cached: list[CachedScan]


def begin(experiment: Experiment, first: FitPlan) -> Beginning:
    """Reads the cohort, builds what learns in the fit `first`, and prepares the scans; writes no run.

    Raises:
        InputError: a mistake in any of them.
    """
    cohort, labels = load_cohort(experiment)
    table, notes = with_sides(cohort.table, experiment), list(cohort.notes)
    if experiment.data.shuffle_labels:
        table = shuffled(table, experiment.target, experiment.seed)
        notes.append(f"{experiment.target} was shuffled among the subjects of training, and of validation")
        print(f"note: {notes[-1]}")
    for each in experiment.folds:
        _check_sides(of_fold(table, each), experiment)
    print(_cohort_line(table), flush=True)
    learner = make_learner(experiment.of_fit(first), of_fold(table, first.fold))
    return Beginning(labels, table, cohort.flow, notes, learner, prepare(table, experiment))


def _check_sides(table: pd.DataFrame, experiment: Experiment) -> None:
    for side in ("train", "validation", "test"):
        if not (table["split"] == side).any():
            advice = "Take larger shares, more subjects, or fill the split column"
            raise InputError(Problem("the split", f"nobody is in {side}", "at least one subject", advice))
    target = experiment.targets[experiment.target]
    if target.classes:
        seen = set(table.loc[table["split"] == "train", experiment.target])
        for missing in [each for each in target.classes if each not in seen]:
            raise InputError(
                Problem("the split", f"no subject of class '{missing}' is in train", "one or more of each class")
            )
    count, size = int((table["split"] == "train").sum()), experiment.training.batch_size
    if count < size:
        advice = "Take a smaller batch, or more subjects for training"
        expected = f"at most {count}, the number of training scans"
        raise InputError(Problem("training.batch_size", str(size), expected, advice))


def _cohort_line(table: pd.DataFrame) -> str:
    counts = table["split"].value_counts()
    folds = table["fold"].nunique() - 1  # '' is that of the test scans
    sides = ", ".join(f"{counts[side]} {side}" for side in ("train", "validation", "test") if side in counts)
    sides = sides.replace(" train", f" in {folds} folds") if folds > 0 else sides
    return f"{len(table)} scans of {table['subject'].nunique()} subjects: {sides}"
