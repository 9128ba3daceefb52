"""`tfmri check`: labels, headers, voxels, and what they tell together, as findings ordered by harm."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tfmri.checks.balance import balance_findings
from tfmri.checks.finding import Finding, Harm, from_problem
from tfmri.checks.labels import label_findings
from tfmri.checks.page import page
from tfmri.checks.report import Report, as_json, counted
from tfmri.cohort.table import FIRST, Inspection, inspect_labels
from tfmri.errors import InputError
from tfmri.experiment.schema import Experiment
from tfmri.files import write_json, write_text
from tfmri.project import in_project
from tfmri.runs.cohort import sides_of
from tfmri.workflows.cohort import image_columns, labels_file, with_sides

SIDES = "sides"  # key of check.json: who stood on which side when it was written


def check(
    experiment: Experiment, name: str, headers_only: bool = False, workers: int | None = None, shown: bool = True
) -> Report:
    """Looks at all that an experiment would learn from.

    Args:
        experiment: its settings.
        name: its name.
        headers_only: whether to look at labels and headers only, which takes seconds.
        workers: processes that read voxels; None for as many as there are processors.
        shown: whether to say on standard error how far it is.

    Raises:
        InputError: the labels file cannot be read as a table, or the settings are wrong.
    """
    labels = labels_file(experiment.data.labels)
    targets = {each: target.classes for each, target in experiment.targets.items()}
    columns, images = image_columns(experiment)
    inspection = inspect_labels(labels, targets, columns, experiment.data.where, images)
    target, classes = experiment.target, tuple(targets[experiment.target] or ())
    findings = label_findings(inspection, targets)
    if inspection.cohort is None:
        nothing = pd.DataFrame(columns=[*FIRST, target])
        empty = np.zeros(0, np.int64)
        return Report(name, labels, target, classes, _sorted(findings), nothing, empty, empty, [])

    table, problems = _with_split(inspection, experiment)
    findings += problems
    findings += balance_findings(table, target, not classes, labels.name)
    found, strangeness, planes = _look(table, target, not classes, headers_only, workers, shown)
    findings += found
    for channel in experiment.image.channels[1:]:
        findings += _look_at_channel(table, channel, headers_only, workers, shown)
    order = np.lexsort((-strangeness, _worst(table, findings)))
    return Report(name, labels, target, classes, _sorted(findings), table, inspection.cohort.rows, order, planes)


def write(report: Report, folder: Path) -> Path:
    """Writes `check.json` and the page, `index.html`, into `folder`; gives the path of the page."""
    sides = {} if report.table.empty else {SIDES: sides_of(report.table.assign(fold=""), report.target)}
    write_json(folder / "check.json", as_json(report) | sides)
    write_text(folder / "index.html", page(report))
    return folder / "index.html"


def checked_at(experiment: str) -> Path:
    """Where the page of an experiment goes: `check/EXP` (`in_project`)."""
    return in_project(Path("check") / experiment)


def _look(
    table: pd.DataFrame, target: str, numeric: bool, headers_only: bool, workers: int | None, shown: bool
) -> tuple[list[Finding], np.ndarray, list[np.ndarray | None]]:
    """Findings of headers and voxels, how strange each scan is (n,), and its slices."""
    from tfmri.checks.confounds import confound_findings
    from tfmri.checks.files import file_findings
    from tfmri.checks.headers import read_headers
    from tfmri.checks.leakage import leakage_findings
    from tfmri.checks.outliers import outlier_findings, strangeness
    from tfmri.checks.voxels import examine

    paths = [Path(path) for path in table["path"]]
    began = time.monotonic()
    headers = read_headers(paths)
    if shown:
        seconds = time.monotonic() - began
        wrong = sum(finding.harm < Harm.NOTE for finding in file_findings(table, headers, None))
        told = f"headers of {counted(len(paths), 'scan')} read in {seconds:.1f} s: {counted(wrong, 'finding')}"
        print(told, file=sys.stderr, flush=True)
    voxels: list[Any] | None = None if headers_only else examine(paths, workers, shown)
    findings = [
        *file_findings(table, headers, voxels),
        *outlier_findings(table, headers, voxels),
        *leakage_findings(table, voxels, headers),
        *confound_findings(table, target, numeric, headers, voxels),
    ]
    pictures = [each.planes if each.planes.size else None for each in voxels or ()]
    return findings, strangeness(table, headers, voxels), pictures or [None] * len(table)


def _look_at_channel(
    table: pd.DataFrame, channel: str, headers_only: bool, workers: int | None, shown: bool
) -> list[Finding]:
    """What is wrong with the images in a further column; what the cohort tells is told by the first channel."""
    from tfmri.checks.files import file_findings
    from tfmri.checks.headers import read_headers
    from tfmri.checks.voxels import examine

    table = table.assign(path=table[channel])
    paths = [Path(path) for path in table["path"]]
    voxels = None if headers_only else examine(paths, workers, shown)
    found = file_findings(table, read_headers(paths), voxels)
    return [replace(finding, found=f"column '{channel}': {finding.found}") for finding in found]


def _with_split(inspection: Inspection, experiment: Experiment) -> tuple[pd.DataFrame, list[Finding]]:
    """The cohort's table with the split that training would make, and why it would make none."""
    assert inspection.cohort is not None
    table = inspection.cohort.table
    if inspection.problems.keys() & {"unknown_split", "split_in_part", "subject_on_two_sides"}:
        return table, []  # told already; what is filled in stays
    try:
        return with_sides(table, experiment).drop(columns="fold"), []
    except InputError as error:
        return table, [from_problem(problem, "no_split", Harm.SPOILS) for problem in error.problems]


def _sorted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda finding: finding.harm))


def _worst(table: pd.DataFrame, findings: Sequence[Finding]) -> np.ndarray:
    """(n,) the worst harm told of each scan, notes left out, and what is told of more than half of all scans."""
    worst = np.full(len(table), Harm.NOTE)
    for finding in findings:
        if 2 * len(finding.scans) <= len(table):
            concerned = table["scan"].isin(finding.scans).to_numpy()
            worst[concerned] = np.minimum(worst[concerned], finding.harm)
    return worst
