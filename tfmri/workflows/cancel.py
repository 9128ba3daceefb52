"""`tfmri cancel`: ends what is left of the jobs of a run. A training that runs saves before it is killed."""

from tfmri.cluster.grid_engine import LOGS, delete
from tfmri.cluster.queue import queued
from tfmri.cluster.submission import Submission, mark_cancelled, submissions
from tfmri.errors import InputError, Problem
from tfmri.project import in_project
from tfmri.runs.provenance import now
from tfmri.workflows.jobs import submission_of

Tasks = set[tuple[str, int | None]]  # numbers of jobs and of their tasks


def cancel(name: str | None, everything: bool = False) -> str:
    """Ends the jobs of a run that wait or run, of all its submissions.

    Args:
        name: of the run; None with `everything`.
        everything: those of all runs that were submitted from here.

    Returns:
        What was ended, and how to go on.

    Raises:
        InputError: neither or both are given, no such run, or Grid Engine refuses.
    """
    if (name is None) != everything:
        raise InputError(Problem("tfmri cancel", "which jobs?", "a run, or --all for those of all runs"))
    found = submissions(in_project(LOGS))
    if name is not None:
        run = submission_of(name, found).run
        found = [each for each in found if each.run == run]
    held = queued()
    running = {(each.number, each.task) for each in held if each.began is not None}
    there = {each.number for each in held}
    left = [each for each in found if any(task.number in there for task in each.tasks)]
    if not left:
        return "There is nothing to end: none of these jobs waits or runs."
    numbers = sorted({task.number for each in left for task in each.tasks if task.number in there}, key=int)
    for each in left:  # first: who looks meanwhile (`tfmri jobs`) is not told of a failure
        mark_cancelled(each, now())
    delete(numbers)
    tasks = {(each.number, each.task) for each in held}
    return "\n".join(line for each in left for line in _said(each, tasks, running))


def _said(
    submission: Submission, there: set[tuple[str, int | None]], running: set[tuple[str, int | None]]
) -> list[str]:
    lines = [
        f"  {task.step} {task.name}".rstrip()
        + f" ({task.key}), which {'ran' if (task.number, task.index) in running else 'waited'}"
        for task in submission.tasks
        if (task.number, task.index) in there
    ]
    saves = any(task.step in ("train", "tune") and (task.number, task.index) in running for task in submission.tasks)
    return [
        f"Ended of {submission.run}:",
        *lines,
        *(["A training that ran saves before it leaves, within the queue's notice (tfmri jobs)."] if saves else []),
        f"This goes on with it:\n  {submission.again}",
    ]
