"""A study that several workers share: each chooses a trial, or takes up one whose worker is gone, trains it, ends it.

Optuna's journal on a shared disk is its memory. A trial that is begun belongs to the worker that holds its lock
(`StudyFolder.take`), which the system takes back when that worker dies, wherever it ran: a trial that is under way in
the journal and held by nobody was left, and is taken up. All choosing and ending happens while the study is held.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock
from optuna.trial import FrozenTrial, TrialState

from tfmri.runs.study import StudyFolder
from tfmri.tuning.space import distributions, words

REASON = "reason"  # under which a trial keeps why it failed
STARTS = "starts"  # where it was begun last, and how often in a row


class _JournalLock(BaseJournalFileLock):
    """A lock of the journal itself, which the system takes back when a worker dies, as that of a fit.

    Optuna's own are files that a worker killed in that moment leaves behind: the others wait half a minute, and then
    guess. Whoever has it cuts off a line that a full disk left unfinished, behind which nothing could be read any more.
    """

    def __init__(self, journal: Path):
        self.journal = journal
        self.file: IO[bytes] | None = None

    def acquire(self) -> bool:
        self.file = self.journal.open("r+b")
        fcntl.flock(self.file, fcntl.LOCK_EX)
        end = place = self.file.seek(0, os.SEEK_END)
        while place and _byte_before(self.file, place) != b"\n":
            place -= 1
        if place < end:
            self.file.truncate(place)
        return True

    def release(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def _byte_before(file: IO[bytes], place: int) -> bytes:
    file.seek(place - 1)
    return file.read(1)


@dataclass(frozen=True)
class Search:
    """How trials are chosen and stopped.

    Args:
        space: see `tfmri.tuning.space`.
        lower_is_better: of two values of the metric.
        sampler: `tpe` (Bergstra et al. 2011) or `random`.
        pruner: `median`, `hyperband` (Li et al. 2018) or `none`.
        warmup_trials: that the median pruner lets end before it stops one.
        warmup_epochs: of a trial, in which it is not stopped.
        epochs: of a trial, at most.
        seed: of the sampler.
    """

    space: Mapping[str, list[Any] | dict[str, Any]]
    lower_is_better: bool
    sampler: str
    pruner: str
    warmup_trials: int
    warmup_epochs: int
    epochs: int
    seed: int

    def sampler_of(self, number: int) -> BaseSampler:
        """What chooses the trial of that number: a function of the seed, the number and the trials before.

        One sampler for a whole worker would depend on what that worker did before, and begin alike in all of them.
        """
        seed = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        return RandomSampler(seed) if self.sampler == "random" else TPESampler(seed=seed)

    def make_pruner(self) -> optuna.pruners.BasePruner:
        """The pruner; epochs count from 1."""
        if self.pruner == "median":
            return optuna.pruners.MedianPruner(self.warmup_trials, self.warmup_epochs + 1)
        if self.pruner == "hyperband":
            least = min(self.warmup_epochs + 1, self.epochs)
            return optuna.pruners.HyperbandPruner(min_resource=least, max_resource=self.epochs)
        return optuna.pruners.NopPruner()


def open_study(folder: StudyFolder, search: Search) -> optuna.Study:
    """The study in a folder that exists; begins its journal if it has none."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folder.journal.absolute()
    storage = JournalStorage(JournalFileBackend(str(journal), _JournalLock(journal)))
    with folder.held():
        return optuna.create_study(
            storage=storage,
            study_name=folder.path.name,
            direction="minimize" if search.lower_is_better else "maximize",
            sampler=search.sampler_of(0),
            pruner=search.make_pruner(),
            load_if_exists=True,
        )


@dataclass(frozen=True)
class Taken:
    """A trial that this worker trains.

    Args:
        number: from 0.
        words: its settings, as `--set` takes them.
        anew: whether it has just been chosen; False for one that another worker left.
    """

    number: int
    words: dict[str, str]
    anew: bool
    _trial: optuna.Trial

    def report(self, epoch: int, value: float) -> bool:
        """Notes the best value after so many epochs, from 1, once; says whether the trial is to be stopped."""
        known = self._trial.study.get_trials(deepcopy=False)[self.number]
        if epoch not in known.intermediate_values:
            self._trial.report(value, epoch)
        return self._trial.should_prune()

    def begin_at(self, place: str) -> int:
        """Notes that it is begun, or goes on, at some place; gives how often in a row it has been at this one."""
        known = self._trial.user_attrs.get(STARTS, {})
        times = known["times"] + 1 if known.get("place") == place else 1
        self._trial.set_user_attr(STARTS, {"place": place, "times": times})
        return times


@contextmanager
def take_trial(study: optuna.Study, folder: StudyFolder, search: Search, trials: int) -> Iterator[Taken | None]:
    """Inside, this worker has a trial that no other has: one that was left, else a new one.

    Args:
        trials: so many are begun in all.

    Yields:
        None if all have been begun, and none was left.
    """
    lock: IO | None = None
    taken = None
    with folder.held():
        known = study.get_trials(deepcopy=False)
        for each in known:
            if each.state != TrialState.RUNNING or (lock := folder.take(each.number)) is None:
                continue
            if whole(each, search):
                trial = optuna.Trial(study, each._trial_id)  # as `ask` does it; nothing else goes on with a trial
                taken = Taken(each.number, words(each.params, search.space), False, trial)
                break
            study.tell(each.number, state=TrialState.FAIL)  # its worker died while it was being chosen
            folder.leave(each.number)
            lock.close()
        if taken is None and sum(whole(each, search) for each in known) < trials:
            study.sampler = search.sampler_of(len(known))
            lock = folder.take(len(known))
            trial = study.ask(distributions(search.space))
            taken = Taken(trial.number, words(trial.params, search.space), True, trial)
    try:
        yield taken
    finally:
        if lock is not None:
            lock.close()


def whole(trial: FrozenTrial, search: Search) -> bool:
    """Whether a trial has been chosen to the end; others stand in the journal, and count for nothing."""
    return trial.params.keys() == search.space.keys()


def end_trial(
    study: optuna.Study, folder: StudyFolder, taken: Taken, value: float | None = None, reason: str = ""
) -> None:
    """Ends a trial: with its value; without one as stopped early; or, for a reason that is kept, as failed."""
    with folder.held():
        if reason:
            taken._trial.set_user_attr(REASON, reason)
        state = TrialState.FAIL if reason else TrialState.PRUNED if value is None else TrialState.COMPLETE
        study.tell(taken.number, value, state)
        folder.leave(taken.number)


def best_of(trials: list[FrozenTrial], lower_is_better: bool) -> FrozenTrial | None:
    """The finished trial with the best value, the first of several."""
    done = [each for each in trials if each.state == TrialState.COMPLETE]
    sign = 1 if lower_is_better else -1
    return min(done, key=lambda each: sign * (each.value or 0.0), default=None)
