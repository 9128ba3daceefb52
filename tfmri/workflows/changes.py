"""Settings of a run that exists: what may change is taken and recorded, all else is refused with the difference."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from tfmri.errors import InputError, Problem
from tfmri.experiment.load import Change, difference, dump, load_experiment
from tfmri.experiment.schema import Experiment, Training
from tfmri.files import write_json, write_text
from tfmri.runs.directory import Fit, Run
from tfmri.runs.provenance import merged, now
from tfmri.training.schedules import Course, at_end, make_schedule

log = logging.getLogger(__name__)


def take_changes(run: Run, experiment: Experiment, overrides: Sequence[str]) -> None:
    """Makes `experiment` the settings of a run that exists, and records in what they differ from those before.

    Fits that have come to their end go on, if by the new settings that was not yet the end.

    Args:
        run: whole, with experiment.yaml and provenance.json.
        experiment: what is wanted now.
        overrides: the `--set` of this command, which the run remembers.

    Raises:
        InputError: for what cannot change, for fewer epochs than a fit has done, or if another process is training a
            fit of this run. Nothing is changed then.
    """
    with run.held(), ExitStack() as fits_held:
        before = load_experiment(run.experiment)
        changes = difference(before, experiment)
        if not changes:
            return
        _refuse(run, [each for each in changes if not each.allowed])
        fits = {plan.name: run.fit(plan.name) for plan in before.fits if run.fit(plan.name).path.exists()}
        if any(each.key.startswith("training.") for each in changes):
            for fit in fits.values():
                fits_held.enter_context(fit.held())
        _check_epochs(fits, experiment.training)
        known = json.loads(run.provenance.read_text())
        known["set"] = merged(known["set"], overrides)
        taken = [{"when": now(), "key": each.key, "old": each.old, "new": each.new} for each in changes]
        write_json(run.provenance, known | {"changes": [*known.get("changes", []), *taken]})
        write_text(run.experiment, dump(experiment))
        print(f"Changed, and recorded in the run: {'; '.join(map(str, changes))}")
        for sentence in _rates(fits, before.training, experiment.training):
            log.warning(sentence)
        course = experiment.training
        for fit in fits.values():
            if not at_end(fit.read_history(), course.epochs, course.patience, course.monitor):
                fit.unfinish()


def check_changes(run: Run, experiment: Experiment) -> None:
    """Refuses settings that a run cannot take, and changes nothing: for those who train with the one that leads.

    Raises:
        InputError: for what cannot change.
    """
    _refuse(run, [each for each in difference(load_experiment(run.experiment), experiment) if not each.allowed])


def _refuse(run: Run, changes: Sequence[Change]) -> None:
    if changes:
        found = f"this run has other settings ({'; '.join(map(str, changes))})"
        advice = "Go on with the settings that it has, or give the new run another name"
        raise InputError(Problem(f"--run {run.path.name}", found, advice=advice))


def _check_epochs(fits: dict[str, Fit], training: Training) -> None:
    done = {name: len(fit.read_history()) for name, fit in fits.items()}
    longest = max(done, key=lambda name: done[name], default="")
    if longest and training.epochs < done[longest]:
        found = f"{training.epochs}, and {longest} has done {done[longest]}"
        advice = "The model of the best of them is kept in any case"
        raise InputError(Problem("training.epochs", found, f"{done[longest]} or more", advice))


def _rates(fits: dict[str, Fit], before: Training, after: Training) -> Iterator[str]:
    """What becomes of the learning rate where its course depends on the number of epochs."""
    for name, fit in fits.items():
        if not (history := fit.read_history()):
            continue
        steps = int(history[-1]["step"])
        old, new = (
            float(training.optimizer.options["learning_rate"])
            * make_schedule(
                training.schedule.name,
                training.schedule.options,
                Course(training.epochs, steps // len(history), training.monitor),
            )(steps, history)
            for training in (before, after)
        )
        if old != new:
            yield (
                f"{name}: from epoch {len(history) + 1} on the learning rate takes the course of {after.epochs} epochs "
                f"({after.schedule.name}): {new:.3g} at its first step, where that of {before.epochs} has {old:.3g}. "
                f"What it has done followed the course of {before.epochs}: a new run of {after.epochs} would differ"
            )
