"""`tfmri jobs`: how the jobs of submitted runs are, from qstat, qacct, their logs and the runs themselves."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from tfmri.cluster.accounting import Account, accounts
from tfmri.cluster.grid_engine import LOGS
from tfmri.cluster.outcome import Outcome, of_error, outcome
from tfmri.cluster.queue import Queued, queued, why
from tfmri.cluster.submission import Submission, Task, latest, remember, submissions
from tfmri.errors import InputError, Problem, did_you_mean
from tfmri.experiment.load import load_experiment
from tfmri.project import in_project
from tfmri.runs.directory import Fit, Run, find_run, runs_root

SHOWN = timedelta(days=14)  # for so long jobs that have ended are listed without being asked for
HEADS = ("run", "step", "job", "state", "for", "epoch", "time left", "again", "node")
OPEN = ("waiting", "held", "running", "again")  # states of jobs that are still to do something
OFTEN = 3  # times that a job is run again, from which on it is looked at what for
AGAIN = "Grid Engine runs this job again"  # as sge/environment.sh writes it


@dataclass(frozen=True)
class Line:
    """How one job is, or one task of an array.

    Args:
        run: its label.
        step: prepare, train, evaluate, tune.
        fit: that a task trains; ''.
        job: its number, `17.3` of a task.
        state: waiting, held, running, suspended, ending, again (waits to be run again), done, ended, failed, unknown.
        kind: of a failure: memory, time, node, disk, settings, code, killed; ''.
        seconds: that it has run or, where it has not begun, waited for; None where nobody knows.
        epoch, epochs: done, and asked for, of a fit; None before they are known.
        seconds_left: of the time that it asked for; None if it does not run.
        seconds_to_go: to the last epoch, by the latest ones; None if that cannot be said.
        again: how many times Grid Engine has run it again.
        node: where it runs or ran.
        reason, advice: why it waits, or what happened, and what to do; ''.
        log: its path.
    """

    run: str
    step: str
    fit: str
    job: str
    state: str
    kind: str = ""
    seconds: float | None = None
    epoch: int | None = None
    epochs: int | None = None
    seconds_left: float | None = None
    seconds_to_go: float | None = None
    again: int = 0
    node: str = ""
    reason: str = ""
    advice: str = ""
    log: str = ""


def list_jobs(name: str | None = None, as_json: bool = False) -> str:
    """A line for each job, and task of an array, of what was submitted; then what happened to those that failed.

    Args:
        name: of a run; None for those of the last days, and all that still wait or run.
        as_json: `Line`s as JSON, for programs.

    Raises:
        InputError: no such run, or no Grid Engine here.
    """
    found = submissions(in_project(LOGS))
    if not found:
        return "[]" if as_json else "Nothing was submitted from here yet: tfmri submit EXP"
    held = queued()
    chosen = [submission_of(name, found)] if name else _of_interest(latest(found), held)
    lines, notes = _lines(chosen, held)
    others = {each.number for each in held} - {task.number for each in found for task in each.tasks}
    if others and not name:
        notes.append(f"{len(others)} more of your jobs wait or run, submitted otherwise: qstat tells of them.")
    if as_json:
        return json.dumps([asdict(line) for line in lines], indent=2)
    if not lines:
        none = (
            f"No job of tfmri waits or runs, and none was submitted in {SHOWN.days} days. Of older ones: tfmri jobs RUN"
        )
        return "\n".join([none, *notes])
    return "\n".join([_table(lines), *_explained(lines, {each.run: each.again for each in chosen}), *notes])


def submission_of(name: str, found: Sequence[Submission]) -> Submission:
    """The last submission of a run, by its label, or whatever else names a run.

    Raises:
        InputError: nothing was submitted under that name.
    """
    known = {each.run: each for each in found}
    if name in known:
        return known[name]
    if name in {label.partition("/")[0] for label in known} or name.endswith("/latest"):
        experiment = name.removesuffix("/latest")
        if of_it := [each for each in known.values() if each.run.partition("/")[0] == experiment]:
            return max(of_it, key=lambda each: each.submitted)
    try:
        label = find_run(name).label
    except InputError:
        label = ""
    if label in known:
        return known[label]
    advice = did_you_mean(name, known) or "tfmri submit EXP --run NAME submits one"
    raise InputError(Problem(f"run '{name}'", "no jobs of it were submitted from here", advice=advice))


def _of_interest(found: Iterable[Submission], held: Sequence[Queued]) -> list[Submission]:
    there, recent = {each.number for each in held}, datetime.now(UTC) - SHOWN
    return [each for each in found if each.submitted > recent or any(task.number in there for task in each.tasks)]


def _lines(chosen: Sequence[Submission], held: Sequence[Queued]) -> tuple[list[Line], list[str]]:
    """The lines of submissions, and what has to be said besides."""
    there = {(each.number, each.task): each for each in held}
    asked = {each.number for each in held if "h" not in each.state and ("qw" in each.state or "E" in each.state)}
    ours = {task.number for submission in chosen for task in submission.tasks}
    reasons = why(asked & ours)
    chosen, notes = _accounted(chosen, there)
    return [line for submission in chosen for line in _of_submission(submission, there, reasons)], notes


def _accounted(
    chosen: Sequence[Submission], there: Mapping[tuple[str, int | None], Queued]
) -> tuple[list[Submission], list[str]]:
    """Submissions with the accounts of all their tasks that have ended: Grid Engine is asked once for those of all."""
    unknown = {
        each.path: {
            task.key
            for task in each.tasks
            if (task.number, task.index) not in there and not (each.cancelled and not task.log.exists())  # never began
        }
        - each.accounts.keys()
        for each in chosen
    }
    begun = [each.submitted for each in chosen if unknown[each.path]]
    if not begun:
        return list(chosen), []
    try:
        found = _last(accounts(min(begun)))
    except InputError as error:
        return list(chosen), [f"How jobs ended is told from their logs alone: {error}."]
    with_accounts = []
    for each in chosen:
        new = {key: found[key] for key in unknown[each.path] & found.keys()}
        last = {key: account for key, account in new.items() if each.cancelled or not account.again}
        if last:
            remember(each, each.accounts | last)
        with_accounts.append(replace(each, accounts=each.accounts | new))
    return with_accounts, []


def _last(found: Iterable[Account]) -> dict[str, Account]:
    return {each.number if each.task is None else f"{each.number}.{each.task}": each for each in found}


def _of_submission(
    submission: Submission, there: Mapping[tuple[str, int | None], Queued], reasons: Mapping[str, str]
) -> list[Line]:
    run = Run(runs_root() / submission.run)
    lines: list[Line] = []
    for task in submission.tasks:
        line = Line(submission.run, task.step, task.name, task.key, "", again=_times_again(task.log), log=str(task.log))
        if task.step == "train":
            line = _with_epochs(line, run, run.fit(task.name))
        before = [each for each in lines if each.step == _step_before(task, submission.tasks)]
        state = there.get((task.number, task.index))
        if state is None:
            lines.append(_ended(line, task, submission))
        else:
            lines.append(_there(line, task, submission, state, before, reasons.get(task.number, "")))
    return lines


def _there(line: Line, task: Task, submission: Submission, state: Queued, before: Sequence[Line], reason: str) -> Line:
    """Of a job that Grid Engine still holds."""
    letters = state.state
    if "E" in letters:
        found = of_error(reason, task.log)
        return replace(line, state="failed", kind=found.kind, reason=found.reason, advice=found.advice)
    if state.began is not None:
        seconds = (datetime.now(UTC) - state.began).total_seconds()
        left = task.asked.seconds - seconds if task.asked.seconds else None
        name = "ending" if "d" in letters else "suspended" if set(letters) & set("sST") else "running"
        to_go = line.seconds_to_go if name == "running" else None
        line = replace(line, state=name, seconds=seconds, seconds_left=left, seconds_to_go=to_go, node=state.node)
        if task.name and line.again >= OFTEN and line.again > (line.epoch or 0):
            reason = f"it was run again {line.again} times for {line.epoch or 0} epochs: a start takes most of its time"
            return replace(line, reason=reason, advice=f"tfmri cancel it, and submit with more {task.asked.keys}.h_rt")
        return line
    line = replace(line, seconds=(datetime.now(UTC) - submission.submitted).total_seconds(), seconds_to_go=None)
    if "h" in letters:
        reason, advice = _held(task, before)
        return replace(line, state="held", reason=reason, advice=advice)
    if "R" in letters:
        return replace(line, state="again", reason=reason)
    return replace(line, state="waiting", reason=reason)


def _held(task: Task, before: Sequence[Line]) -> tuple[str, str]:
    """Why a job is held, and what to do."""
    if not before:
        return "it is held", f"qrls {task.number} lets it go"
    stuck = [line for line in before if line.state == "failed" or (line.state == "held" and line.reason)]
    if stuck and not any(line.state in OPEN and line not in stuck for line in before):
        failed = stuck[0].step if stuck[0].state == "failed" else stuck[0].reason.partition(" ")[0]
        return f"{failed} failed, and what waits for it never starts", f"tfmri cancel {before[0].run} takes it back"
    return "", ""


def _step_before(task: Task, tasks: Sequence[Task]) -> str:
    steps = list(dict.fromkeys(each.step for each in tasks))
    place = steps.index(task.step)
    return steps[place - 1] if place else ""


def _ended(line: Line, task: Task, submission: Submission) -> Line:
    """Of a job that Grid Engine no longer holds."""
    account = submission.accounts.get(task.key)
    found: Outcome = outcome(account, task.asked, task.log, submission.cancelled)
    if found.state == "again":
        found = replace(found, state="ended", reason="it saved and was deleted before it was run again",
                        advice="Submit again to go on with it")  # fmt: skip
    return replace(
        line,
        state=found.state,
        kind=found.kind,
        seconds=account.seconds if account else None,
        seconds_to_go=None,
        node=account.node if account else "",
        reason=found.reason,
        advice=found.advice,
    )


def _with_epochs(line: Line, run: Run, fit: Fit) -> Line:
    """With how far the fit is, and how long it may still take by the median of its last five epochs."""
    try:
        epochs = load_experiment(run.experiment).training.epochs
        history = fit.read_history()
        since = datetime.now().timestamp() - fit.history.stat().st_mtime if history else 0.0
    except Exception:  # not made yet, or damaged: `tfmri runs` tells
        return line
    done = len(history)
    pace = [row["seconds"] for row in history[-5:] if row.get("seconds", 0) > 0]
    to_go = max(0.0, median(pace) * (epochs - done) - min(since, median(pace))) if pace else None
    return replace(line, epoch=done, epochs=epochs, seconds_to_go=to_go)


def _times_again(log: Path) -> int:
    try:
        return log.read_text(errors="replace").count(AGAIN)
    except OSError:
        return 0


def _table(lines: Sequence[Line]) -> str:
    rows = [HEADS, *(_cells(line) for line in lines)]
    used = [place for place in range(len(HEADS)) if any(row[place] for row in rows[1:])]
    widths = [max(len(row[place]) for row in rows) for place in used]
    shown = ["  ".join(row[place].ljust(width) for place, width in zip(used, widths, strict=True)) for row in rows]
    return "\n".join(row.rstrip() for row in shown)


def _cells(line: Line) -> tuple[str, ...]:
    state = f"failed: {line.kind}" if line.kind else {"again": "waiting, again"}.get(line.state, line.state)
    epoch = "" if line.epoch is None else f"{line.epoch} of {line.epochs}"
    left = _time(line.seconds_left)
    if line.seconds_to_go is not None and line.seconds_left is not None and line.epoch != line.epochs:
        left += f", needs {_time(line.seconds_to_go)}"
    step = f"{line.step} {line.fit}".rstrip()
    return (line.run, step, line.job, state, _time(line.seconds), epoch, left, str(line.again or ""), line.node)


def _explained(lines: Sequence[Line], again: Mapping[str, str]) -> list[str]:
    """Why jobs wait, what happened to those that failed, each thing said once, and what to type to go on."""
    said = dict.fromkeys((line.run, line.reason, line.advice) for line in lines if line.reason)
    blocks = []
    for alike in said:
        of = [line for line in lines if (line.run, line.reason, line.advice) == alike]
        run, reason, advice = alike
        which = ", ".join(f"{line.step} {line.fit}".rstrip() for line in of)
        log = f"\n    its log: {_near(of[0].log)}" if of[0].state == "failed" else ""
        blocks.append(f"  {run}, {which}: {_sentences(reason, advice)}{log}")
    for run, command in again.items():
        of = [line for line in lines if line.run == run]
        if any(line.state in ("failed", "ended") for line in of):
            trained = all(line.state == "done" for line in of if line.step == "train")
            blocks.append(f"  To go on with {run}:  {f'tfmri evaluate {run}' if trained else command}")
    return ["", *blocks] if blocks else []


def _sentences(*parts: str) -> str:
    """Without stops that were there already."""
    return ". ".join(part.rstrip(".") for part in parts if part)


def _near(path: str) -> str:
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path


def _time(seconds: float | None) -> str:
    """`2 d 3 h`, `3 h 05`, `12 min`, `40 s`: what a glance needs."""
    if seconds is None:
        return ""
    whole = max(0, round(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02}"
    return f"{minutes} min" if minutes else f"{whole} s"
