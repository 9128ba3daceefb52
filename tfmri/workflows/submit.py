"""`tfmri submit`: Grid Engine jobs that prepare the scans of an experiment, train its fits, and evaluate the run."""

import os
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from tfmri.cluster.grid_engine import LOGS, Job, delete, job_name, qsub, submit, verify
from tfmri.cluster.site import Needs, Site, load_site, words
from tfmri.errors import InputError, Problem
from tfmri.experiment.load import find_experiment, load_experiment
from tfmri.experiment.schema import Cluster, Experiment, ProcessorJob
from tfmri.files import write_json
from tfmri.project import in_project
from tfmri.runs.directory import Run, new_name, run_at
from tfmri.runs.provenance import merged, now, settings_of
from tfmri.workflows.changes import check_changes

PASSED_ON = ("TFMRI_RUNS", "TFMRI_CACHE")  # what of the person's environment the jobs get


def submit_experiment(
    name: str, overrides: Sequence[str] = (), run_name: str | None = None, site: str | None = None, dry: bool = False
) -> str:
    """Submits prepare -> train (an array over the fits) -> evaluate, and writes down their numbers beside their logs.

    Nothing is submitted before experiment, run and what the jobs ask for are known to be sound; if one of the jobs is
    refused, those before it are taken back.

    Args:
        name: of the experiment.
        overrides: `key=value`.
        run_name: one that exists goes on; None for a new one, named for the time.
        site: of `sge/sites/`; None for the person's.
        dry: only show the commands, and ask Grid Engine whether such jobs could ever run.

    Returns:
        The commands and numbers, and what to type next.

    Raises:
        InputError: what cannot be, a run that is finished, or what Grid Engine refuses.
    """
    there, folder = load_site(site), in_project(".").absolute()
    for script in ("prepare", "train", "evaluate"):
        if not (folder / "sge" / f"{script}.sh").is_file():
            found = f"there is no sge/{script}.sh"
            raise InputError(Problem(str(folder), found, advice="Submit from the folder of the code"))
    path = find_experiment(name)
    run = run_at(path.stem, run_name or new_name())
    given = [word for each in overrides for word in ("--set", each)] + (["--site", site] if site else [])
    again = shlex.join(["tfmri", "submit", name, "--run", run.path.name, *given])
    if run.experiment.exists():
        overrides = merged(settings_of(run), overrides)
    experiment = load_experiment(path, overrides)
    if run.experiment.exists():
        check_changes(run, experiment)
        if all(run.fit(plan.name).finished for plan in experiment.fits):
            raise InputError(Problem(run.label, "it is finished", advice=f"tfmri evaluate {run.label}"))
    jobs = _jobs(_named(name, path), overrides, run, experiment, there)
    if dry:
        return "\n".join([*_shown(jobs, {}), *_verified(jobs, folder)])
    numbers = _submitted(jobs, folder)
    record = {
        "experiment": path.stem,
        "run": run.label,
        "site": there.name,
        "submitted": now(),
        "again": again,
        "jobs": [
            {
                "step": step,
                "number": numbers[step],
                "log": job.log,
                "tasks": _tasks(step, experiment),
                "memory": _asked(step, experiment.cluster).tmem,
                "time": _asked(step, experiment.cluster).h_rt,
            }
            for step, job in jobs.items()
        ],
    }
    write_json(folder / LOGS / f"{job_name(path.stem, run.path.name, numbers['prepare'])}.json", record)
    commands = {
        "tfmri jobs": "how they are",
        f"tfmri cancel {run.label}": "end them",
        again: "go on with it, should it stop",
    }
    width = max(len(command) for command in commands if command != again or not given)
    said = [f"  {command:<{width}}  {does}" for command, does in commands.items()]
    return "\n".join([*_shown(jobs, numbers), "", f"The run is {run.label}. Next:", *said])


def _jobs(name: str, overrides: Sequence[str], run: Run, experiment: Experiment, site: Site) -> dict[str, Job]:
    """Step -> its job, in the order in which they run."""
    cluster = experiment.cluster
    settings = [word for each in overrides for word in ("--set", each)]
    passed_on = {each: str(Path(os.environ[each]).absolute()) for each in PASSED_ON if os.environ.get(each)}
    environment = {"TFMRI_SITE": site.name, **passed_on}

    def named(step: str) -> str:
        return job_name(step, run.path.parent.name, run.path.name)

    def of(needs: ProcessorJob) -> list[str]:
        return words(site, Needs(needs.tmem, needs.h_rt, slots=needs.slots))

    needs = Needs(cluster.tmem, cluster.h_rt, cluster.gpus, cluster.slots, cluster.gpu_type, cluster.scratch or "")
    deadline = ["--deadline", cluster.h_rt]
    train = [name, "--run", run.path.name, *settings, *deadline]
    return {
        "prepare": Job(named("prepare"), "sge/prepare.sh", [name, *settings], of(cluster.prepare),
                       environment=environment),
        "train": Job(named("train"), "sge/train.sh", train, words(site, needs), len(experiment.fits), "prepare",
                     environment),
        "evaluate": Job(named("evaluate"), "sge/evaluate.sh", [run.label], of(cluster.evaluate), None, "train",
                        environment),
    }  # fmt: skip


def _named(name: str, path: Path) -> str:
    """The experiment as its jobs name it, who run in the folder of the code."""
    return name if path.parent == in_project("experiments") else str(path.absolute())


def _tasks(step: str, experiment: Experiment) -> list[str] | None:
    return [plan.name for plan in experiment.fits] if step == "train" else None


def _asked(step: str, cluster: Cluster) -> Cluster | ProcessorJob:
    return cluster if step == "train" else cluster.prepare if step == "prepare" else cluster.evaluate


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
