"""`tfmri train`: labels, splits, preparation, one fit. Called again with the same run, it goes on."""

import json
import logging
from collections.abc import Callable

import numpy as np
import pandas as pd

from tfmri.augment.recipe import parse_recipe
from tfmri.cohort.splits import assign_splits
from tfmri.errors import InputError, Problem
from tfmri.experiment.load import difference, dump, load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.files import write_json, write_text
from tfmri.images.cache import CachedScan
from tfmri.images.montage import montage
from tfmri.machine import processors
from tfmri.pipeline.samples import Samples, make_samples
from tfmri.runs.cohort import read_cohort, rows_of, write_cohort
from tfmri.runs.directory import Run, create_run, new_name, run_at
from tfmri.runs.provenance import describe, installed_versions, now, uncommitted_changes
from tfmri.workflows.cohort import load_cohort, prepare
from tfmri.workflows.learner import Learner, make_learner


def train(experiment: Experiment, name: str, run_name: str | None) -> tuple[Run, int]:
    """Trains one run of an experiment from its start or from where it was stopped.

    Nothing of a new run is written before its labels, its model and all its scans are known to be sound.

    Args:
        experiment: its settings.
        name: its name.
        run_name: of the run, made of the time when None.

    Returns:
        The run, and the exit code: 0 when finished, 99 or 130 when asked to stop.
    """
    run = run_at(name, run_name or new_name())
    if run.experiment.exists():
        changed = difference(load_experiment(run.experiment), experiment)
        if changed:
            found = f"this run has other settings ({'; '.join(changed)})"
            advice = "Go on with the settings it began with, or give the new run another name"
            raise InputError(Problem(f"--run {run.path.name}", found, advice=advice))
        if run.fit.finished:
            print(f"The run {run.label} is finished; nothing to do.")
            return run, 0
        learner = make_learner(experiment, run_table(run, experiment))
    else:
        learner = _begin(run, experiment)
    log = logging.FileHandler(run.warnings)
    logging.getLogger("tfmri").addHandler(log)
    try:
        return run, _fit(run, experiment, learner)
    finally:
        logging.getLogger("tfmri").removeHandler(log)
        log.close()


def _begin(run: Run, experiment: Experiment) -> Learner:
    """Reads the cohort, builds what learns, prepares the scans, and only then writes the run."""
    cohort, labels = load_cohort(experiment)
    for note in cohort.notes:
        print(f"note: {note}")
    split, stratify = experiment.split, experiment.split.stratify
    if stratify is None:
        stratify = [experiment.target, *(["site"] if cohort.table["site"].nunique() > 1 else [])]
    table = cohort.table.assign(split=assign_splits(cohort.table, split.test, split.validation, stratify, split.seed))
    _check_sides(table, experiment)
    print(_cohort_line(table), flush=True)
    learner = make_learner(experiment, table)
    cached = prepare(table["path"].tolist(), experiment)

    def write(new: Run) -> None:
        write_text(new.experiment, dump(experiment))
        write_cohort(new, table, [each.sha256 for each in cached])
        write_json(new.provenance, describe(labels, {"seed": experiment.seed, "split.seed": split.seed}))
        write_text(new.requirements, installed_versions())
        write_text(new.warnings, "".join(f"{note}\n" for note in cohort.notes))
        changes = uncommitted_changes()
        if changes:
            write_text(new.uncommitted, changes)

    create_run(run, write)
    return learner


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
    sides = ", ".join(f"{(table['split'] == side).sum()} {side}" for side in ("train", "validation", "test"))
    return f"{len(table)} scans of {table['subject'].nunique()} subjects: {sides}"


def _fit(run: Run, experiment: Experiment, learner: Learner) -> int:
    """Trains the fit of a run that stands on disk, and draws its curves when it has ended. Gives the exit code."""
    from tfmri.augment.apply import make_augment
    from tfmri.evaluation.figures import learning_curves
    from tfmri.training.callbacks.best_model import BestModel, best_row
    from tfmri.training.callbacks.events import Events
    from tfmri.training.callbacks.history import History
    from tfmri.training.interruption import Interruption
    from tfmri.training.loop import Fitting
    from tfmri.training.loop import train as run_loop

    table, settings, fit = run_table(run, experiment), experiment.training, run.fit
    cached = checked_scans(table, experiment)
    samples = make_samples(table, cached, learner.task, experiment.target, experiment.image.shape)
    augment = make_augment(parse_recipe(experiment.augment), experiment.image.shape, experiment.image.spacing)
    train_rows = rows_of(table, "train")
    fitting = Fitting(
        model=learner.model,
        optimizer=learner.optimizer,
        task=learner.task,
        augment=augment,
        samples=samples,
        truth=table[experiment.target],
        train_rows=train_rows,
        validation_rows=rows_of(table, "validation"),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=experiment.seed,
        strategy=learner.strategy,
        checkpoints=fit.checkpoints,
        callbacks=[
            BestModel(fit.model, settings.monitor),
            History(fit.history, settings.epochs, len(train_rows) // settings.batch_size),
            Events(fit.logs, _picture(samples, train_rows, augment, experiment)),
        ],
    )
    write_json(fit.task, learner.task.to_config())
    about = {"started": now(), "devices": learner.devices, "threads": settings.threads or processors()}
    write_json(fit.provenance, about)
    print(f"{experiment.model.name}, {learner.parameters:,} parameters, on {', '.join(learner.devices)}; {run.path}")
    with Interruption() as interruption:
        history = run_loop(fitting, interruption)
    if len(history) < settings.epochs:
        print(f"Stopped and saved. This goes on with it:\n  {_resume_command(run)}")
        return interruption.exit_code
    write_json(fit.provenance, about | {"ended": now()})
    best = best_row(history, settings.monitor)
    numbers = "  ".join(f"{name} {value:.3f}" for name, value in best.items() if str(name).startswith("validation_"))
    print(f"best epoch {best['epoch']:.0f}: {numbers}")
    learning_curves(history, fit.learning_curves.with_suffix(""), settings.monitor)
    return 0


def _picture(samples: Samples, rows: np.ndarray, augment: Callable, experiment: Experiment) -> Callable:
    """A function that draws the first batch of an epoch as the network sees it."""
    from tfmri.pipeline.dataset import batches
    from tfmri.pipeline.order import epoch_order, sample_seeds

    def picture(epoch: int) -> np.ndarray:
        size = experiment.training.batch_size
        shown = epoch_order(rows, experiment.seed, epoch)[:size]
        seeds = sample_seeds(samples.scans[shown], experiment.seed, epoch)
        batch = next(iter(batches(samples, shown, seeds, size)))
        return montage(augment(batch["image"], batch["seed"], batch["background"]).numpy())

    return picture


def run_table(run: Run, experiment: Experiment) -> pd.DataFrame:
    """The scans of a run with their splits."""
    return read_cohort(run, experiment.target, experiment.targets[experiment.target].classes is None)


def _resume_command(run: Run) -> str:
    """The command that began the run, naming the run."""
    command = json.loads(run.provenance.read_text())["command"]
    return command if "--run" in command else f"{command} --run {run.path.name}"


def checked_scans(table: pd.DataFrame, experiment: Experiment) -> list[CachedScan]:
    """The prepared scans of a run's table, which must be those that the run began with.

    Raises:
        InputError: if a scan was changed since.
    """
    cached = prepare(table["path"].tolist(), experiment)
    changed = [
        Problem(path, "this scan has changed since the run began", "the same voxels", "Put it back, or begin a new run")
        for path, known, each in zip(table["path"], table["prepared_sha256"], cached, strict=True)
        if each.sha256 != known
    ]
    if changed:
        raise InputError(*changed)
    return cached
