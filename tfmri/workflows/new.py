"""`tfmri new`: a first experiment file for given labels."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.cohort.columns import IMAGES, OPTIONAL, USUAL_NAMES, find_columns, nearest, plain
from tfmri.cohort.scans import find_images
from tfmri.cohort.sheet import Sheet, problems_of, read_sheet
from tfmri.errors import InputError, Problem
from tfmri.experiment.load import load_experiment
from tfmri.experiment.propose import Extent, Proposal, experiment_text, propose_targets
from tfmri.files import whole_path

LOOKED_AT = 12  # scans, spread over the file


def new(name: str, labels: Path, target: str | None, columns: Iterable[str]) -> tuple[Path, Proposal]:
    """Writes `experiments/NAME.yaml` (or the path NAME, if it ends in .yaml) for a labels file.

    Args:
        name: of the experiment.
        labels: the file.
        target: the column to learn, None for the likeliest.
        columns: `NAME=COLUMN`, where the file's names are no usual ones.

    Returns:
        The file, and the target that was chosen.

    Raises:
        InputError: the file is there already, no column could be learnt, a scan cannot be read.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else Path("experiments") / f"{name}.yaml"
    if path.exists():
        raise InputError(Problem(str(path), "the file is there already", "", "Choose another name, or delete it."))
    sheet = read_sheet(Path(labels).expanduser())
    given = _with_images(sheet, dict(_pair(each) for each in columns))
    found, _ = find_columns(sheet, ["subject", "path"], OPTIONAL, given)
    named = {found.pop(own): own for own in given if own not in ("subject", "path", *OPTIONAL)}
    proposals = _chosen_first(propose_targets(sheet, found, named), target, sheet)
    unusual = {own: column for own, column in found.items() if plain(column) not in map(plain, _usual(own))}
    extent = _extent(sheet, found)
    text = experiment_text(path.stem, str(labels), unusual, proposals, extent, len(sheet.cells))
    with whole_path(path) as beside:
        beside.write_text(text, encoding="utf-8")
        load_experiment(beside)  # what was proposed must be sound
    return path, proposals[0]


def _usual(name: str) -> tuple[str, ...]:
    return name, *USUAL_NAMES.get(name, ())


def _pair(setting: str) -> tuple[str, str]:
    own, separator, column = setting.removeprefix("data.columns.").partition("=")
    if not separator:
        raise InputError(Problem("--set", f"'{setting}'", "data.columns.NAME=COLUMN, such as data.columns.path=scan"))
    return own, column


def _with_images(sheet: Sheet, given: Mapping[str, str]) -> dict[str, str]:
    """The column of images shows in its cells, whatever its name."""
    usual = [column for column in sheet.cells if plain(str(column)) in map(plain, _usual("path"))]
    holding = [column for column in sheet.cells if sheet.cells[column].str.lower().str.endswith(IMAGES).any()]
    return dict(given) if "path" in given or usual or not holding else {**given, "path": str(holding[0])}


def _chosen_first(proposals: list[Proposal], target: str | None, sheet: Sheet) -> list[Proposal]:
    if not proposals:
        expected = "numbers, or a few classes of two subjects or more each"
        advice = "Add a column of what is to be learnt, such as age, sex or diagnosis."
        raise InputError(Problem(sheet.place(), "no column could be learnt", expected, advice))
    if target is None:
        return proposals
    chosen = [each for each in proposals if plain(target) in (plain(each.column), plain(each.name))]
    if not chosen:
        known = [each.column for each in proposals]
        near = nearest(target, known)
        advice = f"Did you mean '{near}'?" if near else ""
        raise InputError(Problem("--target", f"'{target}' could not be learnt", f"one of {', '.join(known)}", advice))
    return [*chosen, *(each for each in proposals if each not in chosen)]


def _extent(sheet: Sheet, found: Mapping[str, str]) -> Extent:
    """Spacing and size of the heads of some scans, spread over the file."""
    from tfmri.images.geometry import spacing_of
    from tfmri.images.head import find_head
    from tfmri.images.read import read_volume

    rows = np.unique(np.linspace(0, len(sheet.cells) - 1, LOOKED_AT).round().astype(int))
    images, faults = find_images(sheet.path.absolute().parent, sheet.cells[found["path"]].iloc[rows])
    if faults:
        raise InputError(*problems_of(sheet, found["path"], faults))
    spacings, heads = [], []
    for image in images:
        volume = read_volume(Path(image))
        head = find_head(volume)
        spacings.append(float(spacing_of(volume.affine).min()))
        heads.append(head.high - head.low)
    x, y, z = (float(side) for side in pd.DataFrame(heads).max())
    return Extent(float(np.median(spacings)), (x, y, z), len(heads))
