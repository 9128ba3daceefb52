"""The run directory as an object.

runs/<experiment>/<run>/            `latest` beside it is a link to the one worked on last
    experiment.yaml                 every setting, defaults written out
    scans.csv                       the cohort: ids, paths, targets, hashes of each file and its prepared image
    splits.csv                      scan, subject, split, fold
    provenance.json, uncommitted.diff, requirements.txt, warnings.log
    fits/whole/                     or fold-1, fold-2, ...; with several seeds fold-1_seed-0, fold-1_seed-1, ...
        provenance.json             its seed, on what it began, when it began and ended, each restart
        task.json                   what the task learnt from the training subjects
        preparation.json            how scans are prepared for the model, for people: the model itself carries it
        checkpoints/                from which an interrupted fit goes on
        model.keras                 the best epoch, with its preparation
        history.csv, learning_curves.png, .pdf
        logs/train, logs/validation TensorBoard events
    adjustments.json                what evaluation learnt on validation: intervals, temperature, the bias with age
    evaluation/<split>/             predictions.csv, predictions_by_fit.csv (of several fits), metrics.json, figures/

Beside the runs of an experiment stand its classical models:

runs/<experiment>/baselines/<split>-<sides>/<features>/
        about.json                  what they were given
        predictions.csv, metrics.json   with a part for each model, and for the network
"""

import csv
import fcntl
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.files import write_json
from tfmri.project import in_project


@dataclass(frozen=True)
class Fit:
    """One trained model of a run: everything a fit writes stands below `path`."""

    path: Path

    @property
    def provenance(self) -> Path:
        """Where, when and on what it trained; holds `ended` once it is finished."""
        return self.path / "provenance.json"

    @property
    def task(self) -> Path:
        """What the task learnt from the training subjects."""
        return self.path / "task.json"

    @property
    def preparation(self) -> Path:
        """How scans are prepared for its model, to be read by people: programs read it from the model."""
        return self.path / "preparation.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of the states from which training continues."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The model of the best epoch, which carries the preparation of its scans."""
        return self.path / "model.keras"

    @property
    def history(self) -> Path:
        """One row an epoch."""
        return self.path / "history.csv"

    @property
    def learning_curves(self) -> Path:
        """The history as a figure; a PDF stands beside it."""
        return self.path / "learning_curves.png"

    @property
    def logs(self) -> Path:
        """TensorBoard's folder."""
        return self.path / "logs"

    @property
    def finished(self) -> bool:
        """Whether training came to its end, which is written last."""
        return self.provenance.exists() and "ended" in json.loads(self.provenance.read_text())

    def read_history(self) -> list[dict[str, float]]:
        """The rows of history.csv; none before the first epoch has ended."""
        if not self.history.exists():
            return []
        with self.history.open(newline="") as file:
            return [{name: float(cell or "nan") for name, cell in row.items()} for row in csv.DictReader(file)]

    def unfinish(self) -> None:
        """Takes back that training came to its end, for it is to go on."""
        if self.finished:
            known = json.loads(self.provenance.read_text())
            write_json(self.provenance, {name: value for name, value in known.items() if name != "ended"})

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from training this fit; the system lets go of it if this one dies.

        Raises:
            InputError: if another process is training it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as lock:
            for _ in range(10):  # whoever looks (`training`) has it for an instant
                if locked(lock, fcntl.LOCK_EX):
                    break
                time.sleep(0.05)
            else:
                advice = "Wait for it, or begin another run with another name"
                raise InputError(Problem(str(self.path), "another process is training this run", advice=advice))
            yield

    @property
    def training(self) -> bool:
        """Whether a process is training it, on this machine or on one that shares its locks."""
        try:
            with (self.path / ".lock").open() as lock:
                return not locked(lock, fcntl.LOCK_SH)
        except FileNotFoundError:
            return False


def locked(lock: IO, kind: int) -> bool:
    """Takes a lock (`fcntl.LOCK_EX` or `LOCK_SH`) where nobody else has it; closing the file gives it back."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@dataclass(frozen=True)
class Run:
    """A run directory."""

    path: Path

    @property
    def experiment(self) -> Path:
        """The resolved experiment file."""
        return self.path / "experiment.yaml"

    @property
    def scans(self) -> Path:
        """The cohort as it was trained on."""
        return self.path / "scans.csv"

    @property
    def splits(self) -> Path:
        """Who stands on which side."""
        return self.path / "splits.csv"

    @property
    def provenance(self) -> Path:
        """Command, versions, git commit, host, seeds, hash of the labels."""
        return self.path / "provenance.json"

    @property
    def uncommitted(self) -> Path:
        """What the working tree had that its commit had not."""
        return self.path / "uncommitted.diff"

    @property
    def requirements(self) -> Path:
        """The versions of all that was installed."""
        return self.path / "requirements.txt"

    @property
    def warnings(self) -> Path:
        """What was assumed, left out, or looked odd."""
        return self.path / "warnings.log"

    @property
    def adjustments(self) -> Path:
        """What was learnt on validation about the predictions: intervals, temperature, the bias with age."""
        return self.path / "adjustments.json"

    def fit(self, name: str = "whole") -> Fit:
        """The fit of that name (`Experiment.fits`)."""
        return Fit(self.path / "fits" / name)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other processes from changing the run's settings meanwhile; waits for one that does."""
        with (self.path / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def evaluation(self, split: str) -> Path:
        """The folder of the results on `split`."""
        return self.path / "evaluation" / split

    @property
    def label(self) -> str:
        """What a person types for this run: `sex_clf/2026-11-23_14-52-10`, or its path where it lies elsewhere."""
        inside = self.path.parent.parent.resolve() == runs_root().resolve()
        return f"{self.path.parent.name}/{self.path.name}" if inside else str(self.path)


def runs_root() -> Path:
    """`TFMRI_RUNS`, or `runs/` (`in_project`)."""
    return Path(given) if (given := os.environ.get("TFMRI_RUNS")) else in_project("runs")


def new_name(shared: bool = False) -> str:
    """A run's name when nobody gives one.

    A Grid Engine job gets the same name each time it is run again, and so goes on with its run; other runs are named
    for the time they were begun.

    Args:
        shared: whether the tasks of an array job work on one run, a part of its fits each.
    """
    if "JOB_ID" in os.environ:
        task = "undefined" if shared else os.environ.get("SGE_TASK_ID", "undefined")
        return f"job-{os.environ['JOB_ID']}" + ("" if task == "undefined" else f".{task}")
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")[:-3]


def run_at(experiment: str, name: str) -> Run:
    """The run of that name, whether it exists or not.

    Raises:
        InputError: if the name cannot be a folder's, or is that of a folder which is no run.
    """
    check_name(name, "--run")
    run = Run(runs_root() / experiment / name)
    if run.path.is_dir() and not run.experiment.exists() and any(run.path.iterdir()):
        raise InputError(Problem("--run", f"{run.path} is there, and no run", "another name"))
    return run


def check_name(name: str, where: str) -> None:
    """Refuses what cannot be the name of a folder in that of an experiment.

    Raises:
        InputError: other letters than those that are safe everywhere.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or name == "latest":
        expected = "letters, digits, '.', '_' and '-', beginning with a letter or digit; not 'latest'"
        raise InputError(Problem(where, f"'{name}' cannot be a name", expected))


def create_run(run: Run, write: Callable[[Run], None]) -> bool:
    """Makes a run directory whole: `write` fills one beside it, which is then renamed into place.

    Returns:
        False if another job made the same run first; its files then stand.
    """
    run.path.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(dir=run.path.parent, prefix=".creating-"))
    try:
        write(Run(beside))
        beside.chmod(0o755)
        try:
            beside.rename(run.path)
        except OSError:
            if not run.path.is_dir():
                raise
            return False
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return True


def find_run(name: str) -> Run:
    """The run a person means: a path, `EXP/latest`, `EXP/NAME`, or `EXP` for its latest.

    Raises:
        InputError: if there is none; names the nearest.
    """
    for path in (Path(name).expanduser(), runs_root() / name, runs_root() / name / "latest"):
        if Run(path).experiment.is_file():
            return Run(path.resolve() if path.name == "latest" else path)
    known = [found.label for found in all_runs()]
    raise InputError(
        Problem(
            f"run '{name}'",
            f"no run of that name in {runs_root()}/",
            f"a path, EXPERIMENT/latest, or one of {', '.join(known[-5:])}" if known else "a run: train one first",
            did_you_mean(name, known),
        )
    )


def latest_run(experiment: str) -> Run:
    """The run of an experiment that was worked on last.

    Raises:
        InputError: if there is none.
    """
    folder = runs_root() / experiment
    runs = [run for run in all_runs() if run.path.parent == folder]
    pointed = Run((folder / "latest").resolve())
    if pointed.experiment.is_file():
        return Run(folder / pointed.path.name)
    if not runs:
        raise InputError(
            Problem("--resume", f"there is no run of {experiment} in {runs_root()}/ yet", "a run to go on")
        )
    return runs[-1]


def all_runs() -> list[Run]:
    """Every run below the runs folder, oldest first."""
    folders = [path for path in runs_root().glob("*/*") if not path.is_symlink() and not path.name.startswith(".")]
    runs = [Run(path) for path in folders if Run(path).experiment.is_file()]
    return sorted(runs, key=lambda run: run.experiment.stat().st_mtime)


def baselines_at(experiment: str, split: str, sides: str, features: str) -> Path:
    """The folder of the classical models of an experiment: another for other people, sides, truths or features.

    Args:
        experiment: its name.
        split: on which they are measured.
        sides: who is on which side, and what is true of them (`runs.cohort.sides_of`).
        features: what they see, in letters, digits and '-'.
    """
    return runs_root() / experiment / "baselines" / f"{split}-{sides}" / features


def baselines_of(run: Run, split: str, sides: str) -> list[Path]:
    """The folders of classical models that learnt from, and were measured on, the very scans of a run, by name.

    A run with the same experiment's name but other people, another split or other truths has none of them. Each folder
    holds about.json, and metrics.json: {model: {target: {metric: ...}}} as of an evaluation.

    Args:
        run: whose.
        split: test or validation.
        sides: of the run, `runs.cohort.sides_of(table, target)`.
    """
    return sorted(path.parent for path in (run.path.parent / "baselines" / f"{split}-{sides}").glob("*/metrics.json"))


def point_latest(run: Run) -> None:
    """Makes `latest` mean this run of its experiment."""
    beside = run.path.parent / f".latest-{run.path.name}"
    with run.held():
        beside.unlink(missing_ok=True)
        beside.symlink_to(run.path.name)
        beside.replace(run.path.parent / "latest")
