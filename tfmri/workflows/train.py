"""`tfmri train`: labels, splits, preparation, one fit or several. Called again with the same run, it goes on."""

import json
import logging
import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from tfmri.cohort.splits import of_fold
from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.experiment.load import dump, find_experiment, load_experiment
from tfmri.experiment.schema import Experiment, FitPlan, bytes_of
from tfmri.files import write_json, write_text
from tfmri.images.cache import CachedScan
from tfmri.images.fitted import fit_preparation
from tfmri.images.staging import scratch_folder, stage
from tfmri.inference.likeness import usual_of
from tfmri.inference.model_file import Carried
from tfmri.machine import processors
from tfmri.pipeline.samples import make_samples
from tfmri.runs.cohort import rows_of, write_cohort
from tfmri.runs.directory import Fit, Run, create_run, latest_run, new_name, point_latest, run_at
from tfmri.runs.provenance import (
    describe,
    installed_versions,
    job,
    merged,
    now,
    processor,
    resume_command,
    settings_of,
    uncommitted_changes,
)
from tfmri.training import checkpoint
from tfmri.training.deadline import Deadline, deadline_seconds
from tfmri.training.hosts import Team, find_team
from tfmri.training.interruption import REQUEUE, Interruption, leaving_at_once
from tfmri.workflows.beginning import begin
from tfmri.workflows.changes import check_changes, take_changes
from tfmri.workflows.cohort import run_scans, run_table
from tfmri.workflows.learner import Learner, make_learner
from tfmri.workflows.watching import events

FUTILE = 3  # restarts of one job at the same step, after which it is no use to try again
log = logging.getLogger(__name__)
Watch = Callable[[Fit, Interruption], Sequence[Any]]  # -> callbacks


@dataclass(frozen=True)
class Wanted:
    """What of an experiment is to be trained now.

    Args:
        run: the run's name; None for a new one, named for the time.
        resume: go on with the experiment's latest run.
        fold: only the fits of this fold, from 1.
        fit: only the fit of this name, or of this number among all, from 1.
        deadline: by when the program has to have left, `HH:MM:SS` from its start; None for what Grid Engine says.
        hosts, host_index: of several processes that train together, see `find_team`.
    """

    run: str | None = None
    resume: bool = False
    fold: int | None = None
    fit: str | None = None
    deadline: str | None = None
    hosts: Path | None = None
    host_index: int | None = None

    @property
    def options(self) -> list[str]:
        """Those that say which fits, as a person types them."""
        fold = [] if self.fold is None else ["--fold", str(self.fold)]
        return fold + ([] if self.fit is None else ["--fit", self.fit])


def train(experiment_name: str, overrides: Sequence[str] = (), wanted: Wanted = Wanted()) -> tuple[Run, int]:
    """Trains one run of an experiment from its start or from where it was stopped.

    Nothing of a new run is written before its labels, its model and all its scans are known to be sound. A run that
    exists has the settings of the experiment's file with the overrides that it began with and those given now.

    Args:
        experiment_name: a name in `experiments/`, or a path.
        overrides: `key=value`.
        wanted: which run, and which of its fits.

    Returns:
        The run, and the exit code: 0 when finished, 99 or 130 when asked to stop.
    """
    deadline = Deadline(deadline_seconds(wanted.deadline))
    team = _team(wanted)
    with ExitStack() as unheard:
        if team is not None and not team.leads:
            print(f"Process {team.index + 1} of {len(team.addresses)}: the first one, on {team.addresses[0]}, tells")
            unheard.enter_context(redirect_stdout(unheard.enter_context(Path(os.devnull).open("w"))))
        run, code = train_run(experiment_name, overrides, wanted, deadline, leads=team is None or team.leads)
        if code:
            again = " ".join([resume_command(run), *wanted.options])
            print(f"Stopped and saved. This goes on with it:\n  {again}")
        return run, code


def train_run(
    experiment_name: str,
    overrides: Sequence[str],
    wanted: Wanted,
    deadline: Deadline,
    leads: bool = True,
    watch: Watch | None = None,
) -> tuple[Run, int]:
    """`train`, for those who know their deadline and say themselves how to go on.

    Args:
        leads: whether this process writes; False for one that trains together with the one that does.
        watch: gives further callbacks of a fit, which may ask it to stop; a run that is watched does not become the
            latest of its experiment, for it is one of many.
    """
    path = find_experiment(experiment_name)
    run = _run(path.stem, wanted)
    there = run.experiment.exists()
    experiment = load_experiment(path, merged(settings_of(run), overrides) if there else overrides)
    plans = _chosen(experiment, wanted)
    learner = None
    if not there:
        with leaving_at_once(deadline.end):  # what is prepared stays so
            learner = _begin(run, experiment, plans[0], experiment_name, overrides)
    with _warnings_kept(run) if leads else nullcontext():
        if leads:
            take_changes(run, experiment, overrides)
            if watch is None:
                point_latest(run)
        else:
            check_changes(run, experiment)
        if all(run.fit(plan.name).finished for plan in plans):
            which = f"The run {run.label}" if not wanted.options else f"{', '.join(_names(plans))} of {run.label}"
            print(f"{which} is finished; nothing to do.")
            return run, 0
        whole = run_table(run, experiment)
        for plan in plans:
            fit = run.fit(plan.name)
            with fit.held() if leads else nullcontext(), Interruption() as interruption:
                if fit.finished:
                    continue
                table, own = of_fold(whole, plan.fold), experiment.of_fit(plan)
                learner = learner or make_learner(own, table, has_weights=checkpoint.exists(fit.checkpoints))
                code = _fit(run, fit, own, table, learner, interruption, deadline, leads, watch)
            learner = None
            if not code and plan is not plans[-1] and deadline.near():
                code = REQUEUE
            if code:
                return run, code
    return run, 0


def _team(wanted: Wanted) -> Team | None:
    team = find_team(wanted.hosts, wanted.host_index)
    if team is None:
        return None
    if wanted.run is None and not wanted.resume and "JOB_ID" not in os.environ:
        advice = "Give it to all of them, the same to each"
        raise InputError(Problem("--run", f"{len(team.addresses)} processes train together", "the run's name", advice))
    team.join()
    return team


def _run(experiment: str, wanted: Wanted) -> Run:
    if not wanted.resume:
        return run_at(experiment, wanted.run or new_name(shared=bool(wanted.options)))
    if wanted.run is not None:
        advice = "--resume goes on with the latest run, --run NAME with that of the name"
        raise InputError(Problem("--resume", f"--run {wanted.run} is given too", "one of them", advice))
    return latest_run(experiment)


def _names(plans: Sequence[FitPlan]) -> list[str]:
    return [plan.name for plan in plans]


def _chosen(experiment: Experiment, wanted: Wanted) -> list[FitPlan]:
    """The fits that are to be trained."""
    plans, folds = experiment.fits, experiment.folds
    if wanted.fold is not None and wanted.fit is not None:
        raise InputError(Problem("--fit", f"--fold {wanted.fold} is given too", "one of them"))
    if wanted.fold is not None and wanted.fold not in folds:
        whole = "an experiment with split.folds, which this one is not"
        raise InputError(Problem("--fold", str(wanted.fold), whole if None in folds else f"1 to {len(folds)}"))
    if wanted.fit is None:
        return [each for each in plans if wanted.fold in (None, each.fold)]
    numbered = {str(number): each for number, each in enumerate(plans, start=1)}
    known = {each.name: each for each in plans} | numbered
    if wanted.fit not in known:
        expected = f"one of {', '.join(_names(plans))}, or a number from 1 to {len(plans)}"
        raise InputError(Problem("--fit", f"'{wanted.fit}'", expected, did_you_mean(wanted.fit, _names(plans))))
    return [known[wanted.fit]]


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


def _begin(run: Run, experiment: Experiment, first: FitPlan, experiment_name: str, overrides: Sequence[str]) -> Learner:
    """Makes sure that all is sound, and only then writes the run.

    Returns:
        What learns in the fit `first`. If another process wrote the same run first, its files stand.
    """
    sound = begin(experiment, first)

    def write(new: Run) -> None:
        write_text(new.experiment, dump(experiment))
        write_cohort(new, sound.table, sound.cached)
        seeds = {"seed": experiment.seed, "split.seed": experiment.split.seed}
        flow = {"flow": [asdict(step) for step in sound.flow]}
        write_json(new.provenance, describe(experiment_name, overrides, sound.labels, seeds) | flow)
        write_text(new.requirements, installed_versions())
        write_text(new.warnings, "".join(f"{note}\n" for note in sound.notes))
        changes = uncommitted_changes()
        if changes:
            write_text(new.uncommitted, changes)

    create_run(run, write)
    return sound.learner


def _fit(
    run: Run,
    fit: Fit,
    experiment: Experiment,
    table: pd.DataFrame,
    learner: Learner,
    interruption: Interruption,
    deadline: Deadline,
    leads: bool,
    watch: Watch | None,
) -> int:
    """Trains a fit of a run that stands on disk; the process that leads writes. Gives the exit code."""
    from tfmri.evaluation.learning_curves import best_epoch
    from tfmri.training.callbacks.best_model import BestModel
    from tfmri.training.callbacks.collapse import Collapse
    from tfmri.training.callbacks.history import History
    from tfmri.training.callbacks.shuffled_labels import ShuffledLabels
    from tfmri.training.loop import Fitting, finished
    from tfmri.training.loop import train as run_loop

    settings = experiment.training
    cached = run_scans(table, experiment)
    train_rows, validation_rows = rows_of(table, "train"), rows_of(table, "validation")
    prepared = fit_preparation(experiment.image.preparation, [cached[row] for row in train_rows])
    near = _staged(cached, [*train_rows, *validation_rows], experiment.cluster.scratch)
    samples = make_samples(table, near, learner.task, experiment.target, experiment.image.shape, prepared.standard)

    @cache
    def carried() -> Carried:
        usual = usual_of([cached[row] for row in train_rows], experiment.seed)
        image, config = experiment.image, learner.task.to_config()
        return Carried(prepared, experiment.target, config, image.channels, image.mask_column, usual)

    curves = fit.learning_curves.with_suffix("")
    collapse = Collapse(learner.task, table[experiment.target], samples.scans)
    chance = ShuffledLabels(learner.task, table[experiment.target], table["subject"])
    watchers = [
        *([chance] if experiment.data.shuffle_labels else [collapse]),
        BestModel(fit.model, settings.monitor, carried),
        History(fit.history, curves, settings.monitor, settings.epochs, len(train_rows) // settings.batch_size),
        events(run, fit, experiment, table, learner, samples, train_rows),
        *(watch(fit, interruption) if watch is not None else ()),
    ]
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
        validation_rows=validation_rows,
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
        deadline=deadline,
        callbacks=watchers if leads else [],
    )
    if not leads:
        return 0 if finished(fitting, run_loop(fitting, interruption)) else interruption.exit_code
    write_json(fit.task, learner.task.to_config())
    write_json(fit.preparation, prepared.to_config())
    about = _begin_or_go_on(fit, experiment, learner)
    _check_progress(fit, about["restarts"])
    write_json(fit.provenance, about)
    print(f"{experiment.model.name}, {learner.parameters:,} parameters, on {', '.join(learner.devices)}; {fit.path}")
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
    if chance.last:
        print(chance.last)
    write_json(fit.provenance, about | {"ended": now()})
    return 0


def _staged(cached: Sequence[CachedScan], rows: Sequence[int], scratch: str | None) -> Sequence[CachedScan]:
    """The prepared scans, those of `rows` on the node's disk if the job asked for some of it (`cluster.scratch`)."""
    folder = scratch_folder()
    if folder is None or scratch is None:
        return cached
    return stage(cached, rows, folder / "scans", bytes_of(scratch))


def _begin_or_go_on(fit: Fit, experiment: Experiment, learner: Learner) -> dict[str, Any]:
    """The fit's provenance: when and on what it began, and each time it went on, with what was different then."""
    import keras
    import tensorflow as tf

    machine: dict[str, Any] = {
        "devices": learner.devices,
        "threads": experiment.training.threads or processors(),
        "xla": "on" if learner.jit else "off",
        "reduction": experiment.training.reduction,
        "processor": processor(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    if learner.begun_with is not None:
        machine["warm_start"] = learner.begun_with
    if not fit.provenance.exists():
        return {"seed": experiment.seed, "started": now(), "host": platform.node(), **machine, "restarts": []}
    known = json.loads(fit.provenance.read_text())
    other = {name: value for name, value in machine.items() if known[name] != value}
    if other:
        said = "; ".join(f"{name} {_words(value)}, not {_words(known[name])}" for name, value in other.items())
        log.warning("%s goes on with %s: its bits may differ from those of a fit never stopped", fit.path.name, said)
    restart = {
        "when": now(),
        "host": platform.node(),
        "step": checkpoint.newest_step(fit.checkpoints),
        **job(),
        **other,
    }
    return known | {"restarts": [*known["restarts"], restart]}


def _check_progress(fit: Fit, restarts: Sequence[Mapping[str, Any]]) -> None:
    """Refuses to begin again where a job that Grid Engine runs again and again gets no further."""
    last = [(each.get("JOB_ID"), each["step"]) for each in restarts[-FUTILE:] if "step" in each]
    if len(last) == FUTILE and len(set(last)) == 1 and last[0][0] is not None:
        found = f"this job was run again {FUTILE} times and got no further than step {last[0][1]}"
        advice = "Ask for more time (cluster.h_rt), so that a start and some steps fit into it"
        raise InputError(Problem(str(fit.path), found, advice=advice))


def _words(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)
