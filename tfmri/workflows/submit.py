"""`tfmri submit`: Grid Engine jobs that prepare an experiment's scans, train its fits and evaluate, or search."""

import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfmri.cluster.grid_engine import LOGS, Job, delete, job_name, qsub, submit, verify
from tfmri.cluster.site import Needs, Site, load_site, words
from tfmri.errors import InputError, Problem
from tfmri.experiment.load import find_experiment, load_experiment
from tfmri.experiment.schema import Cluster, Experiment, ProcessorJob
from tfmri.experiment.search import check_search
from tfmri.files import write_json
from tfmri.project import in_project
from tfmri.runs.directory import Run, new_name, run_at
from tfmri.runs.provenance import merged, now, settings_of
from tfmri.runs.study import STUDY
from tfmri.workflows.changes import check_changes

PASSED_ON = ("TFMRI_RUNS", "TFMRI_CACHE")  # what of the person's environment the jobs get


@dataclass(frozen=True)
class Wanted:
    """What is to be submitted.

    Args:
        run: its name; one that exists goes on; None for a new one, named for the time.
        site: of `sge/sites/`; None for the person's.
        workers: of a search (`tfmri tune`), in place of a training; None for a training.
        dry: only show the commands, and ask Grid Engine whether such jobs could ever run.
    """

    run: str | None = None
    site: str | None = None
    workers: int | None = None
    dry: bool = False


def submit_experiment(name: str, overrides: Sequence[str] = (), wanted: Wanted = Wanted()) -> str:
    """Submits prepare -> train (an array over the fits) -> evaluate, or prepare -> tune (an array of workers).

    Nothing is submitted before experiment, run and what the jobs ask for are known to be sound; if one of the jobs is
    refused, those before it are taken back. Their numbers are written down beside their logs.

    Args:
        name: of the experiment.
        overrides: `key=value`.
        wanted: what is to be submitted.

    Returns:
        The commands and numbers, and what to type next.

    Raises:
        InputError: what cannot be, a run that is finished, or what Grid Engine refuses.
    """
    site, folder = load_site(wanted.site), in_project(".").absolute()
    steps = ("prepare", "train", "evaluate") if wanted.workers is None else ("prepare", "tune")
    for script in steps:
        if not (folder / "sge" / f"{script}.sh").is_file():
            found = f"there is no sge/{script}.sh"
            raise InputError(Problem(str(folder), found, advice="Submit from the folder of the code"))
    path = find_experiment(name)
    given = [word for each in overrides for word in ("--set", each)]
    if wanted.workers is not None:
        label, experiment = f"{path.stem}/{STUDY}", _searched(path, overrides, wanted)
        again = ["tfmri", "submit", name, "--tune", str(wanted.workers), *given]
    else:
        run = run_at(path.stem, wanted.run or new_name())
        again = ["tfmri", "submit", name, "--run", run.path.name, *given]
        overrides = merged(settings_of(run), overrides) if run.experiment.exists() else overrides
        label, experiment = run.label, _trained(path, overrides, run)
    jobs = {step: _job(step, _named(name, path), overrides, label, experiment, site, wanted.workers) for step in steps}
    if wanted.dry:
        print("\n".join(_shown(jobs, {})), flush=True)
        return "\n".join(_verified(jobs, folder))
    numbers = _submitted(jobs, folder)
    command = shlex.join([*again, *(["--site", wanted.site] if wanted.site else [])])
    record = {
        "experiment": path.stem,
        "run": label,
        "site": site.name,
        "submitted": now(),
        "again": command,
        "jobs": [
            {
                "step": step,
                "number": numbers[step],
                "log": job.log,
                "tasks": _tasks(step, experiment, wanted.workers),
                "memory": _asked(step, experiment.cluster).tmem,
                "time": _asked(step, experiment.cluster).h_rt,
            }
            for step, job in jobs.items()
        ],
    }
    write_json(folder / LOGS / f"{job_name(path.stem, Path(label).name, numbers['prepare'])}.json", record)
    commands = {
        "tfmri jobs": "how they are",
        f"tfmri cancel {label}": "end them",
        command: "go on with it, should it stop",
    }
    width = max(len(each) for each in commands if each != command or not given)
    said = [f"  {each:<{width}}  {does}" for each, does in commands.items()]
    return "\n".join([*_shown(jobs, numbers), *_doubts(jobs, folder), "", f"It is {label}. Next:", *said])


def _trained(path: Path, overrides: Sequence[str], run: Run) -> Experiment:
    """The experiment of a run that is to be trained."""
    experiment = load_experiment(path, overrides)
    if run.experiment.exists():
        check_changes(run, experiment)
        if all(run.fit(plan.name).finished for plan in experiment.fits):
            raise InputError(Problem(run.label, "it is finished", advice=f"tfmri evaluate {run.label}"))
    return experiment


def _searched(path: Path, overrides: Sequence[str], wanted: Wanted) -> Experiment:
    """The experiment that a search is around."""
    if wanted.run is not None:
        raise InputError(Problem("--run", f"{wanted.run}, beside --tune", "one of them", "A search names its own runs"))
    experiment = load_experiment(path, overrides)
    check_search(path, experiment, overrides)
    return experiment


def _job(
    step: str,
    name: str,
    overrides: Sequence[str],
    label: str,
    experiment: Experiment,
    site: Site,
    workers: int | None,
) -> Job:
    """The job of a step of the run, or study, `label`; `name` is what its experiment is called there."""
    cluster, settings = experiment.cluster, [word for each in overrides for word in ("--set", each)]
    asked = _asked(step, cluster)
    if isinstance(asked, Cluster):
        needs = Needs(asked.tmem, asked.h_rt, asked.gpus, asked.slots, asked.gpu_type, asked.scratch or "")
    else:
        needs = Needs(asked.tmem, asked.h_rt, slots=asked.slots)
    passed_on = {each: str(Path(os.environ[each]).absolute()) for each in PASSED_ON if os.environ.get(each)}
    arguments = {
        "prepare": [name, *settings],
        "train": [name, "--run", Path(label).name, *settings, "--deadline", asked.h_rt],
        "tune": [name, *settings, "--deadline", asked.h_rt],
        "evaluate": [label],
    }
    tasks = _tasks(step, experiment, workers)
    return Job(
        name=job_name(step, *Path(label).parts[-2:]),
        script=f"sge/{step}.sh",
        arguments=arguments[step],
        needs=words(site, needs),
        tasks=None if tasks is None else len(tasks),
        after={"train": "prepare", "tune": "prepare", "evaluate": "train"}.get(step, ""),
        environment={"TFMRI_SITE": site.name, **passed_on},
    )


def _named(name: str, path: Path) -> str:
    """The experiment as its jobs name it, who run in the folder of the code."""
    return name if path.parent == in_project("experiments") else str(path.absolute())


def _tasks(step: str, experiment: Experiment, workers: int | None) -> list[str] | None:
    """What the tasks of a step are called; None where it is no array."""
    if step == "tune":
        return [f"worker-{number}" for number in range(1, (workers or 1) + 1)]
    return [plan.name for plan in experiment.fits] if step == "train" else None


def _asked(step: str, cluster: Cluster) -> Cluster | ProcessorJob:
    return {"prepare": cluster.prepare, "evaluate": cluster.evaluate}.get(step, cluster)


def _shown(jobs: dict[str, Job], numbers: dict[str, str]) -> list[str]:
    """Each command, and the number it got."""
    lines = []
    for step, job in jobs.items():
        line = shlex.join(qsub(job, numbers.get(job.after, f"NUMBER_OF_{job.after.upper()}" if job.after else "")))
        lines.append(f"{step:<9} {numbers[step]:<8} {line}" if numbers else line)
    return lines


def _submitted(jobs: dict[str, Job], folder: Path) -> dict[str, str]:
    """Step -> the number of its job."""
    (folder / LOGS).mkdir(parents=True, exist_ok=True)
    numbers: dict[str, str] = {}
    try:
        for step, job in jobs.items():
            numbers[step] = submit(qsub(job, numbers.get(job.after, "")), folder)
    except InputError:
        if numbers:
            delete(list(numbers.values()))
        raise
    return numbers


def _verified(jobs: dict[str, Job], folder: Path) -> list[str]:
    if shutil.which("qsub") is None:
        return ["", "There is no Grid Engine on this machine to ask whether such jobs could run."]
    return ["", *(f"{step}: {verify(qsub(job), folder)}" for step, job in jobs.items())]


def _doubts(jobs: dict[str, Job], folder: Path) -> list[str]:
    """What Grid Engine says of jobs that it took, and that nothing it has now could run."""
    found = []
    for step, job in jobs.items():
        try:
            verify(qsub(job), folder)
        except InputError as error:
            found.append(f"note: {step} may wait for ever: {error}")
    return found
