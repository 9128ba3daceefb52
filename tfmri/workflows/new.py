"""`tfmri new`: a first experiment file for given labels."""

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.cohort.columns import IMAGES, OPTIONAL, USUAL_NAMES, find_columns, nearest, plain
from tfmri.cohort.scans import find_images
from tfmri.cohort.sheet import Sheet, problems_of, read_sheet
from tfmri.errors import InputError, Problem
from tfmri.experiment.load import load_experiment
from tfmri.experiment.propose import FIRST, Extent, Proposal, experiment_text, propose_targets, usual_name
from tfmri.files import whole_path

LOOKED_AT = 12  # scans, spread over the file
TRIED = 60  # where some cannot be read


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
        InputError: the file is there already, no column could be learnt, no scan can be read.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else Path("experiments") / f"{name}.yaml"
    if path.exists():
        raise InputError(Problem(str(path), "the file is there already", "", "Choose another name, or delete it."))
    sheet = read_sheet(Path(labels).expanduser())
    given = _with_images(sheet, dict(_pair(each) for each in columns))
    found, _ = find_columns(sheet, ["subject", "path"], OPTIONAL, given)
    named = {found.pop(own): own for own in given if own not in ("subject", "path", *OPTIONAL)}
    proposals, refused = propose_targets(sheet, found, named, target)
    for column, reason in refused.items():
        if proposals and target is None and usual_name(column) in FIRST:
            print(f"note: column '{column}' cannot be learnt: {reason}")
    proposals = _chosen_first(proposals, refused, target, sheet)
    unusual = {own: column for own, column in found.items() if plain(column) not in map(plain, _usual(own))}
    extent = _extent(sheet, found, path.stem)
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


def _chosen_first(
    proposals: list[Proposal], refused: Mapping[str, str], target: str | None, sheet: Sheet
) -> list[Proposal]:
    asked = {column for column in refused if plain(target or "") in (plain(column), plain(usual_name(column)))}
    chosen = [each for each in proposals if plain(target or "") in (plain(each.column), plain(each.name))]
    if proposals and (chosen or target is None):
        return [*chosen, *(each for each in proposals if each not in chosen)]
    if target is not None and not chosen and not asked:
        known = [*(each.column for each in proposals), *refused]
        near = nearest(target, known)
        advice = f"Did you mean '{near}'?" if near else ""
        found = f"there is no column '{target}' that could be learnt"
        raise InputError(Problem("--target", found, f"one of {', '.join(known)}" if known else "", advice))
    told = {column: reason for column, reason in refused.items() if not asked or column in asked}
    expected = "numbers, or a few classes of two subjects or more each"
    advice = "Add a column of what is to be learnt, such as age, sex or diagnosis."
    raise InputError(
        *([] if asked else [Problem(sheet.place(), "no column could be learnt", expected, advice)]),
        *(Problem(sheet.place(column=column), f"cannot be learnt: {reason}") for column, reason in told.items()),
    )


def _extent(sheet: Sheet, found: Mapping[str, str], name: str) -> Extent:
    """Spacing and size of the heads of some scans, spread over the file; what cannot be read is left out, and told."""
    from tfmri.images.geometry import spacing_of
    from tfmri.images.head import find_head
    from tfmri.images.read import read_volume

    spread = [np.linspace(0, len(sheet.cells) - 1, number).round().astype(int) for number in (LOOKED_AT, TRIED)]
    spacings, heads = [], []
    problems: list[Problem] = []
    for row in dict.fromkeys(np.concatenate(spread).tolist()):
        images, faults = find_images(sheet.path.absolute().parent, sheet.cells[found["path"]].iloc[[row]])
        try:
            if faults:
                raise InputError(*problems_of(sheet, found["path"], faults))
            volume = read_volume(Path(images.iloc[0]))
            head = find_head(volume)
        except InputError as error:
            problems.append(error.problems[0])
            continue
        spacings.append(float(spacing_of(volume.affine).min()))
        heads.append(head.high - head.low)
        if len(heads) == LOOKED_AT:
            break
    if not heads:
        raise InputError(*problems[:LOOKED_AT])
    if problems:
        looked_at = len(heads) + len(problems)
        print(f"note: {len(problems)} of {looked_at} scans looked at cannot be read: {problems[0]}")
        print(f"      `tfmri check {shlex.quote(name)}` tells of all")
    x, y, z = (float(side) for side in pd.DataFrame(heads).max())
    return Extent(float(np.median(spacings)), (x, y, z), len(heads))
