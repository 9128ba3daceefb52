"""`tfmri train`: labels, splits, preparation, one fit. Called again with the same run, it goes on."""

import json
import logging

import pandas as pd

from tfmri.cohort.splits import assign_splits
from tfmri.errors import InputError, Problem
from tfmri.experiment.load import difference, dump, load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.files import write_json, write_text
from tfmri.images.cache import CachedScan
from tfmri.pipeline.samples import make_samples
from tfmri.runs.cohort import read_cohort, rows_of, write_cohort
from tfmri.runs.directory import Run, create_run, new_name, run_at
from tfmri.runs.provenance import describe, installed_versions, now, uncommitted_changes
from tfmri.training.startup import load_tensorflow
from tfmri.workflows.cohort import load_cohort, prepare


def train(experiment: Experiment, name: str, run_name: str | None) -> tuple[Run, int]:
    """Trains one run of an experiment from its start or from where it was stopped.

    Args:
        experiment: its settings.
        name: its name.
        run_name: of the run, made of the time when None.

    Returns:
        The run, and the exit code: 0 when finished, 99 or 130 when asked to stop.
    """
    run = run_at(name, run_name or new_name())
    if not run.experiment.exists():
        _create(run, experiment)
    changed = difference(load_experiment(run.experiment), experiment)
    if changed:
        advice = "Go on with the settings it began with, or give the new run another name"
        raise InputError(
            Problem(f"--run {run.path.name}", f"this run has other settings ({'; '.join(changed)})", advice=advice)
        )
    if run.fit.finished:
        print(f"The run {run.label} is finished; nothing to do.")
        return run, 0
    log = logging.FileHandler(run.warnings)
    logging.getLogger("tfmri").addHandler(log)
    try:
        return run, _fit(run, experiment)
    finally:
        logging.getLogger("tfmri").removeHandler(log)
        log.close()


def _create(run: Run, experiment: Experiment) -> None:
    """Reads and prepares the cohort, and only then writes the run."""
    cohort, labels = load_cohort(experiment)
    for note in cohort.notes:
        print(f"note: {note}")
    stratify = experiment.split.stratify
    if stratify is None:
        stratify = [experiment.target, *(["site"] if cohort.table["site"].nunique() > 1 else [])]
    split = experiment.split
    table = cohort.table.assign(split=assign_splits(cohort.table, split.test, split.validation, stratify, split.seed))
    _check_sides(table, experiment)
    print(_cohort_line(table))
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


def _fit(run: Run, experiment: Experiment) -> int:
    """Trains the fit of a run that stands on disk; draws its curves when it has ended."""
    target = experiment.targets[experiment.target]
    table = read_cohort(run, experiment.target, target.classes is None)
    cached = checked_scans(table, experiment)

    load_tensorflow()
    from tfmri.augment.apply import make_augment
    from tfmri.augment.recipe import parse_recipe
    from tfmri.evaluation.figures import learning_curves
    from tfmri.images.montage import montage
    from tfmri.models.registry import build_model
    from tfmri.pipeline.dataset import batches
    from tfmri.pipeline.order import epoch_order, sample_seeds
    from tfmri.tasks.registry import make_task
    from tfmri.training.callbacks.best_model import BestModel, best_row
    from tfmri.training.callbacks.events import Events
    from tfmri.training.callbacks.history import History
    from tfmri.training.devices import set_up, usable_cores
    from tfmri.training.interruption import Interruption
    from tfmri.training.loop import Fitting, check_devices
    from tfmri.training.loop import train as run_loop
    from tfmri.training.schedules import learning_rate, make_optimizer

    settings = experiment.training
    train_rows, validation_rows = rows_of(table, "train"), rows_of(table, "validation")
    strategy = set_up(settings.devices, settings.threads, settings.deterministic, experiment.seed)
    check_devices(settings.batch_size, strategy.num_replicas_in_sync)
    task = make_task(target.task, table[experiment.target].iloc[train_rows], **target.settings)
    samples = make_samples(table, cached, task, experiment.target, experiment.image.shape)
    augment = make_augment(parse_recipe(experiment.augment), experiment.image.shape, experiment.image.spacing)
    steps = len(train_rows) // settings.batch_size

    with strategy.scope():
        model = build_model(
            experiment.model.name,
            samples.shape,
            task.outputs,
            initial_bias=task.initial_bias().tolist(),
            synchronized=strategy.num_replicas_in_sync > 1,
            **experiment.model.options,
        )
        rate = learning_rate(
            settings.schedule.name,
            settings.optimizer.learning_rate,
            steps * settings.epochs,
            round(steps * settings.schedule.warmup_epochs),
        )
        optimizer = make_optimizer(
            settings.optimizer.name,
            rate,
            settings.optimizer.weight_decay,
            settings.optimizer.momentum,
            model.trainable_variables,
        )

    def picture(epoch: int):
        """The first batch of an epoch as the network sees it."""
        rows = epoch_order(train_rows, experiment.seed, epoch)[: settings.batch_size]
        seeds = sample_seeds(samples.scans[rows], experiment.seed, epoch)
        batch = next(iter(batches(samples, rows, seeds, settings.batch_size)))
        return montage(augment(batch["image"], batch["seed"], batch["background"]).numpy())

    fit = run.fit
    write_json(fit.task, task.to_config())
    devices = _devices(strategy)
    about = {"started": now(), "devices": devices, "threads": settings.threads or usable_cores()}
    write_json(fit.provenance, about)
    print(f"{experiment.model.name}, {_trainable(model):,} parameters, on {', '.join(devices)}; {run.path}")
    fitting = Fitting(
        model=model,
        optimizer=optimizer,
        task=task,
        augment=augment,
        samples=samples,
        truth=table[experiment.target],
        train_rows=train_rows,
        validation_rows=validation_rows,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        seed=experiment.seed,
        strategy=strategy,
        checkpoints=fit.checkpoints,
        callbacks=[
            BestModel(fit.model, settings.monitor),
            History(fit.history, settings.epochs, steps),
            Events(fit.logs, picture),
        ],
    )
    with Interruption() as interruption:
        history = run_loop(fitting, interruption)
    if len(history) < settings.epochs:
        print(f"Stopped and saved. This goes on with it:\n  {_resume_command(run)}")
        return interruption.exit_code
    write_json(fit.provenance, about | {"ended": now()})
    best = history.iloc[best_row(history, settings.monitor)]
    numbers = "  ".join(f"{name} {value:.3f}" for name, value in best.items() if str(name).startswith("validation_"))
    print(f"best epoch {best['epoch']:.0f}: {numbers}")
    learning_curves(history, fit.learning_curves.with_suffix(""), settings.monitor)
    return 0


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


def _trainable(model) -> int:
    return sum(int(variable.shape.num_elements()) for variable in model.trainable_variables)


def _devices(strategy) -> list[str]:
    return [device.split("device:")[-1] for device in strategy.extended.worker_devices]
