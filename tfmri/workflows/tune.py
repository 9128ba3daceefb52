"""`tfmri tune`: runs of an experiment with other settings, chosen by what validation said of those before.

Any number of workers share a study on one disk, each calling `tune`: by hand, or as the tasks of an array job. The test
split is never looked at.
"""

import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmri.errors import InputError, Problem
from tfmri.evaluation.metrics import LOWER_IS_BETTER
from tfmri.experiment.load import Change, difference, dump, find_experiment, load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.experiment.search import check_search
from tfmri.files import write_csv, write_json, write_text
from tfmri.runs.directory import Fit, Run
from tfmri.runs.provenance import merged, now, program
from tfmri.runs.study import STUDY, StudyFolder, study_at
from tfmri.training.checkpoint import newest_step
from tfmri.training.deadline import Deadline, deadline_seconds
from tfmri.training.hosts import find_team
from tfmri.training.interruption import REQUEUE, Interruption, leaving_at_once
from tfmri.tuning.pruning import PRUNED, Pruning, best_value
from tfmri.tuning.space import tried
from tfmri.tuning.study import Search, Taken, best_of, end_trial, open_study, take_trial
from tfmri.tuning.summary import draw_history, in_lines, result, trial_table
from tfmri.workflows.beginning import begin
from tfmri.workflows.train import Wanted, train_run

FREE = ("trials", "sampler", "pruner", "warmup_trials", "warmup_epochs")  # of `tune`: a study may change them
COURSE = ("training.epochs", "training.patience")  # a run may change them; a study's trials would not be alike
OFTEN = 3  # times that a trial is begun at the same place before it is given up


@dataclass(frozen=True)
class Work:
    """What a worker is to do.

    Args:
        study: its name.
        trials: at most so many by this worker; None to go on until the study has all of its own.
        deadline: by when the program has to have left, `HH:MM:SS` from its start; None for what Grid Engine says.
    """

    study: str = STUDY
    trials: int | None = None
    deadline: str | None = None


def tune(experiment_name: str, overrides: Sequence[str] = (), work: Work = Work()) -> int:
    """Trains trials until the study has as many as its experiment says, or this worker was asked to stop.

    The first worker writes the study, once the settings of the space, the labels, the model and all scans are known to
    be sound. Later ones have the settings that it began with and those given now.

    Args:
        experiment_name: a name in `experiments/`, or a path.
        overrides: `key=value`, for all trials.
        work: what this worker does.

    Returns:
        The exit code: 0 when nothing is left to do for this worker, 99 or 130 when asked to stop.

    Raises:
        InputError: a space that is empty or has a value that cannot be; settings that the study did not begin with.
    """
    deadline = Deadline(deadline_seconds(work.deadline))
    if find_team(None, None) is not None:
        raise InputError(Problem("TF_CONFIG", "it names several processes", advice="A trial is trained by one alone"))
    path = find_experiment(experiment_name)
    folder = study_at(path.stem, work.study)
    overrides = merged(folder.read_about().get("set", ()), overrides)
    experiment = load_experiment(path, overrides)
    if experiment.tune.metric is not None:
        overrides = merged(overrides, [f"training.monitor={experiment.tune.metric}"])
        experiment = load_experiment(path, overrides)
    check_search(path, experiment, overrides)
    with leaving_at_once():
        begun = folder.settings.exists()
        if not begun:
            _begin(experiment, deadline)
        _write_study(folder, experiment_name, experiment, overrides)
        search = _search(experiment)
        shared = _Shared(experiment_name, experiment, overrides, folder, search, open_study(folder, search), deadline)
        code = _work(shared, work.trials, sound=not begun)
    _write_results(shared)
    print(_summary(shared))
    if code:
        other = ["--study", work.study] if work.study != STUDY else []
        print(f"Stopped and saved. This goes on with it:\n  {shlex.join([program(), 'tune', experiment_name, *other])}")
    return code


def _begin(experiment: Experiment, deadline: Deadline) -> None:
    """Makes sure that labels, model and scans are sound, and prepares the scans."""
    with leaving_at_once(deadline.end):  # what is prepared stays so
        begin(experiment, experiment.fits[0])


def _write_study(folder: StudyFolder, name: str, experiment: Experiment, overrides: Sequence[str]) -> None:
    """Writes a new study, or takes into one that exists what it may change.

    Raises:
        InputError: for settings with which new trials could not be compared to those that the study has.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    with folder.held():
        if folder.settings.exists():
            changes = difference(load_experiment(folder.settings), experiment)
            if refused := [each for each in changes if not _allowed(each)]:
                found = f"this study has other settings ({'; '.join(map(str, refused))})"
                advice = f"Go on with those that it has ({folder.settings}), or begin another one with --study NAME"
                raise InputError(Problem(f"--study {folder.path.name}", found, advice=advice))
            if changes:
                print(f"Changed in the study: {'; '.join(map(str, changes))}")
        write_json(folder.about, {"began": now()} | folder.read_about() | {"experiment": name, "set": list(overrides)})
        write_text(folder.settings, dump(experiment))


def _allowed(change: Change) -> bool:
    """Whether a study may change a setting: what a run may change, but for its course."""
    if change.key.startswith("tune."):
        return change.key.removeprefix("tune.") in FREE
    return change.allowed and change.key not in COURSE


def _search(experiment: Experiment) -> Search:
    settings, metric = experiment.tune, experiment.training.monitor
    longest = [int(value) for key, value in tried(settings.space) if key == "training.epochs"]
    return Search(
        space=settings.space,
        lower_is_better=metric.removeprefix("validation_") in LOWER_IS_BETTER,
        sampler=settings.sampler,
        pruner=settings.pruner,
        warmup_trials=settings.warmup_trials,
        warmup_epochs=settings.warmup_epochs,
        epochs=max(longest or [experiment.training.epochs]),
        seed=experiment.seed,
    )


@dataclass(frozen=True)
class _Shared:
    """A study as a worker has it.

    Args:
        name: of the experiment, as it was given.
        experiment: with the settings that all trials share.
        overrides: those of them that its file does not have.
        folder, search, study: what the workers share.
        deadline: of this one.
    """

    name: str
    experiment: Experiment
    overrides: Sequence[str]
    folder: StudyFolder
    search: Search
    study: Any
    deadline: Deadline

    @property
    def metric(self) -> str:
        """The column of the history that trials are compared by."""
        return self.experiment.training.monitor


def _work(shared: _Shared, most: int | None, sound: bool) -> int:
    """Trains trials, at most so many, until none is left, and gives the exit code.

    Args:
        sound: whether labels, model and scans are known to be.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of functions traced anew, one a trial
    done = 0
    while most is None or done < most:
        with take_trial(shared.study, shared.folder, shared.search, shared.experiment.tune.trials) as taken:
            if taken is None:
                break
            if done and shared.deadline.near():
                return REQUEUE
            if not sound:
                _begin(shared.experiment, shared.deadline)
                sound = True
            if code := _train(shared, taken):
                return code
        done += 1
        _write_results(shared)  # for those who look, and for want of a worker that comes to its end
    return 0


def _train(shared: _Shared, taken: Taken) -> int:
    """Trains a trial and ends it in the study, unless it was asked to stop; gives the exit code."""
    from tensorflow.errors import ResourceExhaustedError

    run = shared.folder.trial(taken.number)
    overrides = merged(shared.overrides, [f"{key}={value}" for key, value in taken.words.items()])
    experiment = load_experiment(find_experiment(shared.name), overrides)
    fits = [run.fit(plan.name) for plan in experiment.fits]
    said = "  ".join(f"{key}={value}" for key, value in taken.words.items())
    again = "" if taken.anew else ", taken up where it was left"
    print(f"\ntrial {taken.number + 1} of {shared.experiment.tune.trials}, {run.label}{again}: {said}", flush=True)

    def watch(fit: Fit, interruption: Interruption) -> list[Pruning]:
        epochs = experiment.training.epochs
        first = fit.path == fits[0].path
        return [Pruning(fit.read_history, shared.metric, epochs, taken.report, interruption)] * first

    reason, values = "", list[float]()
    if taken.begin_at(_place(fits)) > OFTEN:
        reason = f"it was begun {OFTEN} times at the same place, and each time its worker died: of memory?"
    else:
        try:
            _, code = train_run(shared.name, overrides, Wanted(run=run.path.name), shared.deadline, watch=watch)
            if code not in (0, PRUNED):
                return code
            if not code:
                best = [best_value(fit.read_history(), shared.metric) for fit in fits]
                values = [each for each in best if each is not None]
                if len(values) < len(fits):
                    reason = f"{shared.metric} was a number in no epoch"
        except InputError as error:
            if any(fit.training for fit in fits):  # by somebody who knows nothing of the study
                raise
            reason = str(error)
        except ResourceExhaustedError:
            reason = "the memory of the device does not suffice for it"
    value = float(np.mean(values)) if values and not reason else None
    end_trial(shared.study, shared.folder, taken, value, reason)
    print(f"trial {taken.number + 1}: {_outcome(shared, value, reason)}", flush=True)
    return 0


def _place(fits: Sequence[Fit]) -> str:
    """How far the fits of a trial are, in steps."""
    return " ".join(str(newest_step(fit.checkpoints)) for fit in fits)


def _outcome(shared: _Shared, value: float | None, reason: str) -> str:
    if reason:
        return f"failed: {reason}"
    best = best_of(shared.study.get_trials(deepcopy=False), shared.search.lower_is_better)
    name = shared.metric.replace("_", " ")
    so_far = f"best so far {best.value:.4g}, trial {best.number + 1}" if best is not None else "none has finished yet"
    return f"{f'{name} {value:.4g}' if value is not None else 'stopped early, behind the others'} ({so_far})"


def _write_results(shared: _Shared) -> None:
    """Writes the table of trials, the best, and the figure into the study's folder."""
    folder, metric, lower = shared.folder, shared.metric, shared.search.lower_is_better
    with folder.held():
        table = trial_table(shared.study, folder, shared.search, metric)
        write_csv(folder.table, table)
        write_json(folder.result, result(shared.study, folder, shared.search, metric))
        draw_history(table, metric, lower, folder.figure)


def _summary(shared: _Shared) -> str:
    """What has come of the study so far, and what to do with it."""
    folder, metric, search = shared.folder, shared.metric, shared.search
    table, found = trial_table(shared.study, folder, search, metric), result(shared.study, folder, search, metric)
    counts = ", ".join(f"{count} {state}" for state, count in found["trials"].items() if count)
    lines = [
        f"\n{shared.experiment.tune.trials} trials of {shared.name}: {counts or 'none begun'}",
        *in_lines(table, metric, search.lower_is_better),
    ]
    if (best := found["best"]) is None:
        return "\n".join(lines)
    run = Run(folder.path.parent / best["run"])
    lines.append(f"best: {run.label}, {metric.replace('_', ' ')} {best['value']:.4g}. With its settings:")
    given = [each for each in merged(shared.overrides, best["set"]) if not each.startswith("tune.")]
    options = [part for each in given for part in ("--set", each)]
    lines.append(f"  {shlex.join([program(), 'train', shared.name, *options])}")
    if found["importance"]:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in found["importance"].items())
        lines.append(f"what made trials differ: {shares}")
    lines += [
        "The test split was not looked at. Being the best of many, this value flatters on validation; test tells:",
        f"  {shlex.join([program(), 'evaluate', run.label])}",
        f"written to {folder.path}",
    ]
    return "\n".join(lines)
