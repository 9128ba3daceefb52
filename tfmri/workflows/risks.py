"""What about a run's cohort could make its results untrue: confounds, leaks, and how the target is spread.

Labels, headers and what the run knows of its scans are looked at here, as `tfmri check` does. What takes all voxels
(whether one person stands under two ids, whether there is a skull) is taken from the last `tfmri check` of this cohort.
"""

import json
from pathlib import Path

import pandas as pd

from tfmri.checks.balance import balance_findings
from tfmri.checks.confounds import confound_findings
from tfmri.checks.finding import Finding
from tfmri.checks.headers import read_headers
from tfmri.checks.leakage import same_images
from tfmri.checks.report import findings_of
from tfmri.experiment.schema import Experiment
from tfmri.runs.cohort import PREPARED, sides_of
from tfmri.runs.directory import Run
from tfmri.workflows.check import SIDES, checked_at

OF_VOXELS = frozenset(
    {
        "same_image_under_two_ids",
        "same_image_twice",
        "near_duplicate",
        "same_person_under_two_ids",
        "skull_tells_target",
        "skull_tells_site",
    }
)


def risks(run: Run, experiment: Experiment, table: pd.DataFrame) -> tuple[list[Finding], bool]:
    """The findings, the most harmful first, and whether `tfmri check` has read the voxels of this very cohort.

    Args:
        run: whose.
        experiment: its settings.
        table: its scans with `split`, `fold` and the target.
    """
    target, labels = experiment.target, Path(json.loads(run.provenance.read_text())["labels"]["path"]).name
    numeric = experiment.targets[target].classes is None
    headers = read_headers([Path(path) for path in table["path"]])
    found = [
        *balance_findings(table, target, numeric, labels),
        *confound_findings(table, target, numeric, headers, None),
        *same_images(table, table[PREPARED].tolist()),
    ]
    path = checked_at(run.path.parent.name) / "check.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    examined = bool(known.get("voxels")) and known.get(SIDES) == sides_of(table.assign(fold=""), target)
    if examined:
        of_check = [finding for finding in findings_of(known) if finding.check in OF_VOXELS]
        found = of_check + [finding for finding in found if finding.check not in OF_VOXELS]
    return sorted(found, key=lambda finding: finding.harm), examined
