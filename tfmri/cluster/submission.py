"""What was submitted: a JSON file for each `tfmri submit`, beside the logs of its jobs.

sge/logs/<experiment>_<run>_<number>.json
    experiment, run, site, submitted    when, in UTC
    again       the command that goes on with it
    jobs        step -> job: its number, log, the fits or workers that its tasks are, memory and time that it asked for
    cancelled   when its person ended what was left of it
    accounts    `number.task` -> how it ended: Grid Engine is asked once for each
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from tfmri.cluster.accounting import Account
from tfmri.cluster.outcome import Asked
from tfmri.experiment.schema import bytes_of, seconds_of
from tfmri.files import write_json


@dataclass(frozen=True)
class Task:
    """One thing that runs: a job, or a task of its array.

    Args:
        step: prepare, train, evaluate, tune.
        name: of the fit that it trains, or of the worker; '' of a job that is no array.
        number: of the job.
        index: of the task, from 1; None of a job that is no array.
        log: where it writes.
        asked: memory and time.
    """

    step: str
    name: str
    number: str
    index: int | None
    log: Path
    asked: Asked

    @property
    def key(self) -> str:
        """As Grid Engine writes it: `17`, or `17.3` of an array."""
        return self.number if self.index is None else f"{self.number}.{self.index}"


@dataclass(frozen=True)
class Submission:
    """The jobs of one `tfmri submit`.

    Args:
        path: of its file.
        run: its label.
        site: where.
        submitted: when.
        again: the command that goes on with it.
        tasks: all that runs, in order.
        cancelled: whether its person ended what was left.
        accounts: `Task.key` -> how it ended, as far as it is known.
    """

    path: Path
    run: str
    site: str
    submitted: datetime
    again: str
    tasks: tuple[Task, ...]
    cancelled: bool = False
    accounts: dict[str, Account] = field(default_factory=dict)


def submissions(folder: Path) -> list[Submission]:
    """All that was submitted whose file lies in a folder, oldest first. Files that are none are left aside."""
    found = []
    for path in folder.glob("*.json"):
        try:
            found.append(_read(path, json.loads(path.read_text())))
        except (OSError, ValueError, KeyError, TypeError):  # no such file, damaged, or of another version
            continue
    return sorted(found, key=lambda each: (each.submitted, each.path.name))


def latest(found: Iterable[Submission]) -> list[Submission]:
    """The last submission of each run: it goes on with what those before it left."""
    return list({each.run: each for each in found}.values())


def remember(submission: Submission, accounts: dict[str, Account]) -> None:
    """Keeps how tasks ended, so that nobody asks for it again."""
    _change(submission.path, accounts={key: account.as_json() for key, account in accounts.items()})


def mark_cancelled(submission: Submission, when: str) -> None:
    """Keeps that its person ended what was left of it."""
    _change(submission.path, cancelled=when)


def _change(path: Path, **changes: Any) -> None:
    write_json(path, json.loads(path.read_text()) | changes)


def _read(path: Path, facts: dict[str, Any]) -> Submission:
    return Submission(
        path,
        facts["run"],
        facts["site"],
        datetime.fromisoformat(facts["submitted"]),
        facts["again"],
        tuple(task for job in facts["jobs"] for task in _tasks(job, path.parents[2])),
        bool(facts.get("cancelled")),
        {key: Account(**account) for key, account in facts.get("accounts", {}).items()},
    )


def _tasks(job: dict[str, Any], folder: Path) -> Iterator[Task]:
    step, number = job["step"], job["number"]
    keys = "cluster" if step in ("train", "tune") else f"cluster.{step}"
    asked = Asked(bytes_of(job["memory"]), seconds_of(job["time"]), keys)
    log = job["log"].replace("$JOB_ID", number)
    if job["tasks"] is None:
        yield Task(step, "", number, None, folder / log, asked)
        return
    for index, name in enumerate(job["tasks"], start=1):
        yield Task(step, name, number, index, folder / log.replace("$TASK_ID", str(index)), asked)
