"""Jobs of Grid Engine: the words of qsub for one, and what qsub answers.

Grid Engine is driven by its own programs; no library for it is maintained. What they do was measured on 8.1.9.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfmri.errors import InputError, Problem

LOGS = Path("sge/logs")  # below the folder of the code


@dataclass(frozen=True)
class Job:
    """A job script with what it is given and what it needs.

    Args:
        name: what qstat shows, without blanks.
        script: below the folder of the code.
        arguments: of the script.
        needs: words of qsub that ask for memory, time, GPUs.
        tasks: of an array, numbered from 1; None for a job that is none.
        after: the step after whose job it begins; '' for none.
        environment: variables that it gets.
    """

    name: str
    script: str
    arguments: Sequence[str]
    needs: Sequence[str]
    tasks: int | None = None
    after: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def log(self) -> str:
        """Its log, in which $JOB_ID and $TASK_ID stand for its numbers."""
        return f"{LOGS}/{self.name}.$JOB_ID{'' if self.tasks is None else '.$TASK_ID'}.log"


def qsub(job: Job, waits_for: str = "") -> list[str]:
    """The command that submits a job; it answers with its number.

    Args:
        job: what to submit.
        waits_for: the number of the job whose end it waits for.

    Raises:
        InputError: a variable that qsub cannot pass on.
    """
    for name, value in job.environment.items():
        if "," in value or "\n" in value:
            raise InputError(Problem(name, f"'{value}'", "no comma and no line break: qsub -v cannot pass it on"))
    variables = ",".join(f"{name}={value}" for name, value in job.environment.items())
    return [
        *("qsub", "-terse", "-N", job.name, "-o", job.log),
        *(("-v", variables) if variables else ()),
        *(("-t", f"1-{job.tasks}") if job.tasks is not None else ()),
        *(("-hold_jid", waits_for) if waits_for else ()),
        *job.needs,
        job.script,
        *job.arguments,
    ]


def submit(command: Sequence[str], folder: Path) -> str:
    """Submits a job from the folder of the code.

    Returns:
        Its number.

    Raises:
        InputError: qsub is not here, or refuses, with what it says.
    """
    said = _run(command, folder)
    found = re.search(r"^(\d+)", said, re.MULTILINE)
    if found is None:
        raise InputError(Problem("qsub", f"it answers '{said.strip()}'", "the number of a job"))
    return found[1]


def verify(command: Sequence[str], folder: Path) -> str:
    """Asks Grid Engine whether a job could ever run, without submitting it.

    Returns:
        What it says.

    Raises:
        InputError: it could not.
    """
    return _run([command[0], "-w", "v", *command[1:]], folder).strip()


def delete(numbers: Sequence[str]) -> str:
    """Ends jobs; gives what qdel says."""
    return _run(["qdel", *numbers], Path.cwd()).strip()


def job_name(*parts: str) -> str:
    """A name that Grid Engine takes: no blanks, none of its own signs, and not beginning with a digit."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", "_".join(parts))


def _run(command: Sequence[str], folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except FileNotFoundError:
        found = "there is no Grid Engine on this machine"
        advice = "This is for the cluster's login node; `tfmri push` tells how to get there"
        raise InputError(Problem(command[0], found, advice=advice)) from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        said = said.removeprefix("Unable to run job: ").removesuffix(" Exiting.")
        raise InputError(Problem(command[0], said or f"it ended with {done.returncode}"))
    return done.stdout
