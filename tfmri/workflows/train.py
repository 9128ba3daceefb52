"""`tfmri train`: labels, splits, preparation, one fit or one a fold. Called again with the same run, it goes on."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from tfmri.cohort.splits import of_fold
from tfmri.errors import InputError, Problem
from tfmri.experiment.load import difference, dump, load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.files import write_json, write_text
from tfmri.images.fitted import fit_preparation
from tfmri.images.montage import montage
from tfmri.machine import processors
from tfmri.pipeline.samples import Samples, make_samples
from tfmri.runs.cohort import rows_of, write_cohort
from tfmri.runs.directory import Fit, Run, create_run, new_name, point_latest, run_at
from tfmri.runs.provenance import describe, installed_versions, now, resume_command, uncommitted_changes
from tfmri.workflows.cohort import load_cohort, prepare, run_scans, run_table, with_sides
from tfmri.workflows.learner import Learner, make_learner

log = logging.getLogger(__name__)


def train(experiment: Experiment, name: str, run_name: str | None, fold: int | None = None) -> tuple[Run, int]:
    """Trains one run of an experiment from its start or from where it was stopped.

    Nothing of a new run is written before its labels, its model and all its scans are known to be sound.

    Args:
        experiment: its settings.
        name: its name.
        run_name: of the run, made of the time when None.
        fold: the one to train, from 1; None for all that the experiment has, one after another.

    Returns:
        The run, and the exit code: 0 when finished, 99 or 130 when asked to stop.
    """
    folds = experiment.folds
    if fold is not None and fold not in folds:
        expected = (
            f"1 to {len(folds)}" if None not in folds else "an experiment with split.folds, which this one is not"
        )
        raise InputError(Problem("--fold", str(fold), expected))
    chosen = folds if fold is None else [fold]
    run = run_at(name, run_name or new_name(shared=fold is not None))
    learner = None if run.experiment.exists() else _begin(run, experiment, chosen[0])
    point_latest(run)
    changed = difference(load_experiment(run.experiment), experiment)
    if changed:
        found = f"this run has other settings ({'; '.join(changed)})"
        advice = "Go on with the settings it began with, or give the new run another name"
        raise InputError(Problem(f"--run {run.path.name}", found, advice=advice))
    if all(run.fit(each).finished for each in chosen):
        print(f"The run {run.label} is finished; nothing to do.")
        return run, 0
    with _warnings_kept(run):
        whole = run_table(run, experiment)
        for each in chosen:
            fit = run.fit(each)
            with fit.held():
                if fit.finished:
                    continue
                table = of_fold(whole, each)
                code = _fit(run, fit, experiment, table, learner or make_learner(experiment, table))
            learner = None
            if code:
                again = resume_command(run) + (f" --fold {fold}" if fold is not None else "")
                print(f"Stopped and saved. This goes on with it:\n  {again}")
                return run, code
    return run, 0


@contextmanager
def _warnings_kept(run: Run) -> Iterator[None]:
    """Sends the program's warnings to the terminal and to the run's own file."""
    handlers: list[logging.Handler] = [logging.FileHandler(run.warnings), logging.StreamHandler()]
    for handler in handlers:
        logging.getLogger("tfmri").addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            logging.getLogger("tfmri").removeHandler(handler)
            handler.close()


def _begin(run: Run, experiment: Experiment, fold: int | None) -> Learner | None:
    """Reads the cohort, builds what learns, prepares the scans, and only then writes the run.

    Returns:
        What learns on the training part of `fold`; None if another process wrote the same run first.
    """
    cohort, labels = load_cohort(experiment)
    table = with_sides(cohort.table, experiment)
    for each in experiment.folds:
        _check_sides(of_fold(table, each), experiment)
    print(_cohort_line(table), flush=True)
    learner = make_learner(experiment, of_fold(table, fold))
    cached = prepare(table, experiment)

    def write(new: Run) -> None:
        write_text(new.experiment, dump(experiment))
        write_cohort(new, table, cached)
        write_json(new.provenance, describe(labels, {"seed": experiment.seed, "split.seed": experiment.split.seed}))
        write_text(new.requirements, installed_versions())
        write_text(new.warnings, "".join(f"{note}\n" for note in cohort.notes))
        changes = uncommitted_changes()
        if changes:
            write_text(new.uncommitted, changes)

    return learner if create_run(run, write) else None


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


def _fit(run: Run, fit: Fit, experiment: Experiment, table: pd.DataFrame, learner: Learner) -> int:
    """Trains a fit of a run that stands on disk, and draws its curves when it has ended. Gives the exit code."""
    from tfmri.evaluation.figures import best_epoch, learning_curves
    from tfmri.training.callbacks.best_model import BestModel
    from tfmri.training.callbacks.collapse import Collapse
    from tfmri.training.callbacks.events import Events
    from tfmri.training.callbacks.history import History
    from tfmri.training.interruption import Interruption
    from tfmri.training.loop import Fitting, finished
    from tfmri.training.loop import train as run_loop

    settings = experiment.training
    cached = run_scans(table, experiment)
    train_rows = rows_of(table, "train")
    prepared = fit_preparation(experiment.image.preparation, [cached[row] for row in train_rows])
    samples = make_samples(table, cached, learner.task, experiment.target, experiment.image.shape, prepared.standard)
    collapse = Collapse(learner.task, table[experiment.target], samples.scans)
    fitting = Fitting(
        model=learner.model,
        optimizer=learner.optimizer,
        learning_rate=learner.learning_rate,
        schedule=learner.schedule,
        task=learner.task,
        augment=learner.augment,
        augment_on=learner.augment_on,
        samples=samples,
        truth=table[experiment.target],
        train_rows=train_rows,
        validation_rows=rows_of(table, "validation"),
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=experiment.seed,
        strategy=learner.strategy,
        checkpoints=fit.checkpoints,
        monitor=settings.monitor,
        patience=settings.patience,
        balanced=settings.sampling == "balanced",
        accumulation=settings.accumulation,
        clip_norm=settings.clip_norm,
        jit=learner.jit,
        checkpoint_seconds=60 * settings.checkpoint_minutes,
        callbacks=[
            collapse,
            BestModel(fit.model, settings.monitor, prepared),
            History(fit.history, settings.epochs, len(train_rows) // settings.batch_size),
            Events(fit.logs, _picture(samples, train_rows, learner.augment, experiment)),
        ],
    )
    write_json(fit.task, learner.task.to_config())
    write_json(fit.preparation, prepared.to_config())
    about = _begin_or_go_on(fit) | {"devices": learner.devices, "threads": settings.threads or processors()}
    write_json(fit.provenance, about)
    print(f"{experiment.model.name}, {learner.parameters:,} parameters, on {', '.join(learner.devices)}; {fit.path}")
    with Interruption() as interruption:
        history = run_loop(fitting, interruption)
    if not finished(fitting, history):
        return interruption.exit_code
    if (number := best_epoch(history, settings.monitor)) is None:
        log.warning("%s is not a number in any epoch: the model that is kept is that of the last", settings.monitor)
    else:
        best = history[history["epoch"] == number].iloc[0]
        shown = [str(name) for name in best.index if str(name).startswith("validation_")]
        print(f"best epoch {number:.0f}: " + "  ".join(f"{name} {best[name]:.3f}" for name in shown))
    if collapse.last:
        log.warning("in the last epoch %s", collapse.last)
    learning_curves(history, fit.learning_curves.with_suffix(""), settings.monitor)
    write_json(fit.provenance, about | {"ended": now()})
    return 0


def _begin_or_go_on(fit: Fit) -> dict[str, Any]:
    """When the fit was started, and how often again."""
    if not fit.provenance.exists():
        return {"started": now(), "restarts": 0}
    before = json.loads(fit.provenance.read_text())
    return {"started": before["started"], "restarts": before["restarts"] + 1}


def _picture(samples: Samples, rows: np.ndarray, augment: Callable, experiment: Experiment) -> Callable:
    """A function that draws the first batch of an epoch as the network sees it."""
    from tfmri.pipeline.dataset import batches
    from tfmri.pipeline.order import epoch_order, sample_seeds

    def picture(epoch: int) -> np.ndarray:
        size = experiment.training.batch_size
        shown = epoch_order(rows, experiment.seed, epoch)[0][:size]
        seeds = sample_seeds(samples.scans[shown], experiment.seed, epoch)
        batch = next(iter(batches(samples, shown, seeds, size)))
        return montage(augment(batch["image"], batch["seed"], batch["background"]).numpy())

    return picture
