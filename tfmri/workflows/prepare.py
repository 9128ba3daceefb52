"""`tfmri prepare`: fills the cache with an experiment's scans, says what it holds, takes out what nobody needs."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from tfmri.errors import InputError, Problem
from tfmri.experiment.load import all_experiments, load_experiment
from tfmri.experiment.schema import Experiment
from tfmri.images import prepare as steps
from tfmri.images.archive import unpack_archive, write_archive
from tfmri.images.cache import find_scans, scan_key
from tfmri.images.upkeep import Entry, Holdings, holdings, remove, unneeded
from tfmri.runs.cohort import SOURCE
from tfmri.runs.directory import all_runs, runs_root
from tfmri.training.deadline import Deadline, deadline_seconds
from tfmri.training.interruption import leaving_at_once
from tfmri.workflows.cohort import (
    cache_folder,
    labels_there,
    load_cohort,
    prepare,
    read_cohort_of,
    scan_files,
    warn_of_registrations,
)


def fill(experiment: Experiment, workers: int | None = None) -> str:
    """Prepares what the cache lacks of an experiment's scans.

    As a Grid Engine job, asked to stop or near the end of its time it leaves with `REQUEUE`: run again, it goes on.

    Raises:
        InputError: scans that cannot be used, or a time in which not one is prepared.
    """
    table = load_cohort(experiment)[0].table
    before = _missing(table, experiment)
    try:
        with leaving_at_once(Deadline(deadline_seconds(None)).end):
            cached = prepare(table, experiment, workers)
    except SystemExit:
        if _missing(table, experiment) < before:
            raise
        found = "not one scan was prepared in the time that the job has"
        raise InputError(Problem("tfmri prepare", found, advice="Ask for more (cluster.prepare.h_rt)")) from None
    warn_of_registrations(table, cached)
    return f"{len(table)} scans are prepared in {cache_folder()}/"


def status(experiment: Experiment | None, name: str, overrides: Sequence[str] = ()) -> str:
    """What the cache holds of an experiment's scans, and what else.

    Args:
        experiment: its settings; None: what the cache holds at all.
        name: its name or file, as a person gave it.
        overrides: settings that were changed, for the command that prepares the rest.
    """
    folder, lines = cache_folder(), []
    own: list[str | None] = []
    if experiment:
        table = load_cohort(experiment)[0].table
        own = _keys(table, experiment)
        lines = [f"{name}: {len(table) - own.count(None)} of {len(table)} scans are prepared"]
        if None in own:
            command = shlex.join(["tfmri", "prepare", name, *(word for each in overrides for word in ("--set", each))])
            lines[0] += f"; `{command}` makes the other {own.count(None)}, or says why it cannot"
    held = holdings(folder)
    lines.append(f"{folder}/ holds {_size(held.bytes)}:")
    for what, mine in [("of this experiment", True), ("of others", False)] if experiment else [("prepared", False)]:
        scans = [scan for scan in held.scans if (scan.key in own) == mine]
        lines.append(f"  {len(scans):6} scans {what}, {_size(sum(sum(scan.files.values()) for scan in scans))}")
    lines.append(f"  {len(held.leftovers):6} files begun and not ended, {_size(sum(held.leftovers.values()))}")
    return "\n".join(lines)


def prune(experiment: Experiment | None, really: bool) -> str:
    """Takes out of the cache what no experiment and no run needs; without `really`, only says what that is.

    Raises:
        InputError: an experiment file that cannot be read, so that nobody knows what it needs; no experiment and no run
            at all, which is more likely the wrong folder than a wish to lose everything.
    """
    folder, notes, settings = cache_folder(), [], []
    keys: set[str | None] = set()
    if not (experiment or all_experiments() or all_runs()):
        found = f"there are neither experiments nor runs here, in {Path.cwd()}, so that all of {folder}/ would go"
        raise InputError(Problem("tfmri prepare --prune", found, "", "Run it in the folder of your experiments."))
    for file in all_experiments():
        each = load_experiment(file)
        try:
            keys |= _needed(each)
        except InputError as error:
            settings.append(json.loads(json.dumps(asdict(each.image.preparation))))  # as records have it: no tuples
            notes.append(f"{file.name}: its scans are not known ({error.problems[0]}), so all with its settings stay")
    if experiment:
        keys |= _needed(experiment)
    for run in all_runs():
        try:
            each = load_experiment(run.experiment)
        except InputError:
            notes.append(f"{run.label}: written by another version of tfmri; nothing is kept for it")
            continue
        sources = pd.read_csv(run.scans, dtype=str)[SOURCE]
        keys |= {scan_key(source, each.image.preparation) for source in sources}

    def needed(entry: Entry) -> bool:
        same = entry.record.get("steps_version") == steps.STEPS_VERSION
        return entry.key in keys or (same and entry.record.get("preparation") in settings)

    going = unneeded(folder, needed)
    places = sorted({str(file.parent) for file in all_experiments()}) or ["experiments/"]
    what = f"that no experiment in {' or '.join(places)} and no run in {runs_root().absolute()} needs"
    if not (going.scans or going.leftovers):
        return "\n".join([*notes, f"There is nothing to remove: {folder}/ holds no scans {what}."])
    if really:
        remove(folder, going)
    lines = [*notes, f"{folder}/: {'removed' if really else 'there are'} {_told(going)} {what}."]
    return "\n".join(lines if really else [*lines, "Nothing was removed; --yes removes it."])


def to_archive(experiment: Experiment, target: Path, workers: int | None = None) -> str:
    """Writes an experiment's prepared scans into one file, after preparing those that are missing."""
    table = load_cohort(experiment)[0].table
    size = write_archive(prepare(table, experiment, workers), target)
    return f"{target}: {len(table)} prepared scans, {_size(size)}"


def from_archive(experiment: Experiment | None, archive: Path, workers: int | None = None) -> str:
    """Unpacks an archive into the cache. Of an experiment: unless all is there; and prepares what was not in it."""
    if experiment is None:
        return f"{unpack_archive(archive, cache_folder())} scans of {archive} are unpacked into {cache_folder()}/"
    table = load_cohort(experiment)[0].table
    files, preparation = scan_files(table, experiment), experiment.image.preparation
    if all(find_scans(files, preparation, cache_folder(), hashing=False)):
        return f"All {len(table)} scans are in {cache_folder()}/ already"
    count = unpack_archive(archive, cache_folder())
    there = sum(scan is not None for scan in find_scans(files, preparation, cache_folder()))
    said = f"{count} scans of {archive} are unpacked into {cache_folder()}/: {there} of this experiment's {len(table)}"
    if there < len(table):
        print(f"{said}; the others follow", flush=True)
    warn_of_registrations(table, prepare(table, experiment, workers))
    return f"{len(table)} scans are prepared in {cache_folder()}/" if there < len(table) else said


def _keys(table: pd.DataFrame, experiment: Experiment) -> list[str | None]:
    """The name in the cache of each scan of an experiment; None for those that are not there."""
    cached = find_scans(scan_files(table, experiment), experiment.image.preparation, cache_folder())
    return [scan.path.stem if scan else None for scan in cached]


def _missing(table: pd.DataFrame, experiment: Experiment) -> int:
    """How many scans of an experiment the cache lacks; files that it never saw count as such."""
    files = scan_files(table, experiment)
    return find_scans(files, experiment.image.preparation, cache_folder(), hashing=False).count(None)


def _needed(experiment: Experiment) -> set[str | None]:
    """What is there of an experiment; nothing where its phantom cohort is not."""
    labels = labels_there(experiment.data.labels)
    return set() if labels is None else set(_keys(read_cohort_of(experiment, labels).table, experiment))


def _told(what: Holdings) -> str:
    scans = f"{len(what.scans)} prepared scans"
    return f"{scans} and {len(what.leftovers)} files begun and not ended, {_size(what.bytes)},"


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
