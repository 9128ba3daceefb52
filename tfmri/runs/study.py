"""The folder of a search as an object; its trials are runs beside it.

runs/<experiment>/<study>/          `tune` unless it is given another name
    study.yaml                      the experiment that is searched around, defaults written out, with its space
    study.json                      the command's settings, when it began
    journal.log                     every trial, its values and how it ended: Optuna's file, that all workers share
    tuning.csv, tuning.json         the table of trials; the best, and what mattered
    history.png, .pdf               the figure of it
runs/<experiment>/<study>-0001/     the first trial, a run as any other
"""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tfmri.errors import InputError, Problem
from tfmri.runs.directory import Run, check_name, locked, runs_root

STUDY = "tune"  # the name of a search that nobody gives one


@dataclass(frozen=True)
class StudyFolder:
    """A search's folder."""

    path: Path

    @property
    def settings(self) -> Path:
        """The resolved experiment that it searches around."""
        return self.path / "study.yaml"

    @property
    def about(self) -> Path:
        """The experiment as it was named, its `--set`, the moment it began."""
        return self.path / "study.json"

    @property
    def journal(self) -> Path:
        """Optuna's journal."""
        return self.path / "journal.log"

    @property
    def table(self) -> Path:
        """A row a trial."""
        return self.path / "tuning.csv"

    @property
    def result(self) -> Path:
        """The best trial, for programs."""
        return self.path / "tuning.json"

    @property
    def figure(self) -> Path:
        """The figure, without suffix."""
        return self.path / "history"

    def read_about(self) -> dict[str, Any]:
        """What study.json holds; nothing before the study has begun."""
        return json.loads(self.about.read_text()) if self.about.exists() else {}

    def trial(self, number: int) -> Run:
        """The run of a trial; Optuna counts from 0, people and names from 1."""
        return Run(self.path.parent / f"{self.path.name}-{number + 1:04}")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other workers from choosing or ending a trial meanwhile; waits for one that does."""
        with (self.path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def take(self, number: int) -> IO | None:
        """The right to train a trial, which a worker keeps as long as the file is open and no longer than it lives.

        Returns:
            None if another worker has it.
        """
        lock = self._lock(number).open("w")
        if locked(lock, fcntl.LOCK_EX):
            return lock
        lock.close()
        return None

    def leave(self, number: int) -> None:
        """Takes away what is left of the right to a trial that has ended; while `held`."""
        self._lock(number).unlink(missing_ok=True)

    def _lock(self, number: int) -> Path:
        return self.path / f".trial-{number + 1:04}.lock"


def study_at(experiment: str, name: str) -> StudyFolder:
    """The study of that name, whether it exists or not.

    Raises:
        InputError: if the name cannot be a folder's, or is that of a run.
    """
    check_name(name, "--study")
    folder = StudyFolder(runs_root() / experiment / name)
    if Run(folder.path).experiment.exists():
        raise InputError(Problem("--study", f"{folder.path} is a run", "another name"))
    return folder


def study_of(run: Run) -> str | None:
    """The study that a run is a trial of, as `EXP/NAME`; None for a run of its own."""
    name, dash, number = run.path.name.rpartition("-")
    if not dash or not number.isdecimal() or not StudyFolder(run.path.parent / name).settings.exists():
        return None
    return f"{run.path.parent.name}/{name}"
