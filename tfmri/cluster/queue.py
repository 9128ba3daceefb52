"""The jobs that Grid Engine still holds: what `qstat` says of them, by job and task.

It forgets a job the moment it ends (`accounting`), and lists tasks of an array that wait together as one.
"""

import getpass
import re
import subprocess
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree

from tfmri.errors import InputError, Problem

LONGEST = 60  # s to wait for an answer


@dataclass(frozen=True)
class Queued:
    """A job, or a task of one, that waits or runs.

    Args:
        number: of the job.
        task: of an array; None of a job that is none.
        state: in Grid Engine's letters: `qw` waits, `hqw` is held, `r` runs, `Rq` waits to be run again, `Eqw` failed
            to begin, `dr` is being ended.
        began: when it was last started; None while it waits.
        node: where it runs; '' while it waits.
    """

    number: str
    task: int | None
    state: str
    began: datetime | None
    node: str


def queued(owner: str | None = None) -> list[Queued]:
    """Whatever of a person's jobs waits or runs, this person's without an `owner`.

    Raises:
        InputError: there is no Grid Engine here, or it does not answer.
    """
    return parse_queue(ask(["qstat", "-u", owner or getpass.getuser(), "-xml"]))


def parse_queue(xml: str) -> list[Queued]:
    """What `qstat -xml` says; a task each of an array."""
    try:
        jobs = list(ElementTree.fromstring(xml).iter("job_list"))
    except ElementTree.ParseError as error:
        raise InputError(Problem("qstat -xml", f"its answer cannot be read ({error})")) from None
    return [
        Queued(
            job.findtext("JB_job_number", ""),
            task,
            job.findtext("state", ""),
            _time(job.findtext("JAT_start_time")),
            job.findtext("queue_name", "").rpartition("@")[2].partition(".")[0],
        )
        for job in jobs
        for task in _tasks(job.findtext("tasks"))
    ]


def why(numbers: Collection[str]) -> dict[str, str]:
    """Why jobs wait, or failed to begin, in a sentence each; those of which Grid Engine says nothing are left out."""
    if not numbers:
        return {}
    try:
        return parse_reasons(ask(["qstat", "-j", ",".join(sorted(numbers, key=int))]))
    except InputError:
        return {}  # a job that ended meanwhile; or the cluster keeps no reasons


def parse_reasons(text: str) -> dict[str, str]:
    """Number of a job -> why it waits or failed to begin, from `qstat -j`."""
    found = {}
    for part in re.split(r"^=+$", text, flags=re.MULTILINE):
        number = re.search(r"^job_number:\s+(\d+)", part, re.MULTILINE)
        errors = re.findall(r"^error reason\s+\d+:\s+(?:\S+ \S+ \[\S+\]: )?(.*)$", part, re.MULTILINE)
        said = part.partition("scheduling info:")[2].splitlines()
        reason = errors[0].removeprefix("error: ") if errors else _in_short([line.strip() for line in said])
        if number and reason:
            found[number[1]] = reason
    return found


def ask(command: list[str]) -> str:
    """What a program of Grid Engine answers.

    Raises:
        InputError: it is not here, does not answer, or refuses.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=LONGEST)
    except FileNotFoundError:
        raise InputError(none_here(command[0])) from None
    except subprocess.TimeoutExpired:
        found = f"Grid Engine did not answer in {LONGEST} s"
        raise InputError(Problem(command[0], found, advice="It may be busy: try again later")) from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise InputError(Problem(command[0], said or f"it ended with {done.returncode}"))
    return done.stdout


def none_here(program: str) -> Problem:
    """That a program of Grid Engine is missing."""
    advice = "This is for the cluster's login node; docs/cluster.md tells how to get there"
    return Problem(program, "there is no Grid Engine on this machine", advice=advice)


def _in_short(lines: list[str]) -> str:
    """The reason among all that the scheduler says of a job, a line for every queue that did not take it."""
    for telling in ("exceeds limit", "user limitation", "max_u_jobs"):  # these hold for all queues
        if found := [line for line in lines if telling in line]:
            return found[0]
    full = sum("it is full" in line for line in lines)
    parts = [f"{full} queues are full" if full > 1 else "the queue is full"] if full else []
    short = [re.search(r"(?:\((-l .*?)\) )?cannot run .* because it (offers only .*)", line) for line in lines]
    if offers := sorted({f"{line[2]}{f' ({line[1]} is asked for)' if line[1] else ''}" for line in short if line}):
        parts.append(f"{'one node' if len(offers) == 1 else 'nodes'} {', or '.join(offers[:2])}")
    if not parts and (slots := [line for line in lines if "cannot run in PE" in line]):
        return slots[0]
    return "; ".join(parts)


def _tasks(text: str | None) -> Iterator[int | None]:
    """The numbers in `1-7:2,9`; None for a job that is no array."""
    if not text:
        yield None
        return
    for part in text.split(","):
        tasks, _, stride = part.strip().partition(":")
        first, _, last = tasks.partition("-")
        yield from range(int(first), int(last or first) + 1, int(stride or 1))


def _time(text: str | None) -> datetime | None:
    """Of Grid Engine's clock, which has no zone: this machine's."""
    return datetime.fromisoformat(text).astimezone() if text else None
