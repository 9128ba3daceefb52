"""From the columns of a labels file to a first experiment file: what could be learnt, and how it would be written.

A column of numbers is proposed for regression, one of few different values for classification; the usual spellings of
sexes and diagnoses are put together. A person reads the result and corrects it: it says what it assumed, and of each
column that cannot be learnt, why.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import yaml

from tfmri.cohort.columns import IMAGES, USUAL_NAMES, plain
from tfmri.cohort.known import CODES, WORDS
from tfmri.cohort.sheet import Fault, Sheet
from tfmri.cohort.values import is_missing, read_numbers, spelled

MOST_CLASSES = 10  # a column with more different values holds numbers, or text that is no class
FEWEST_NUMBERS = 3  # different ones, for a regression of an age or of what was asked for: of two, it is classes
FIRST = ("diagnosis", "sex", "age")  # what people want to learn, where it is there


@dataclass(frozen=True)
class Proposal:
    """One target that a column could be.

    Args:
        name: of the target.
        column: of the file.
        settings: what stands under `targets.NAME`.
        rows: how many have a value.
        remarks: what was assumed, a sentence each.
        rare: values that are left out, since only one subject has each.
    """

    name: str
    column: str
    settings: Mapping[str, Any]
    rows: int
    remarks: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()


def propose_targets(
    sheet: Sheet, found: Mapping[str, str], named: Mapping[str, str], asked: str | None = None
) -> tuple[list[Proposal], dict[str, str]]:
    """What could be learnt from the columns of a file, the likeliest first; and of each other column, why it could not.

    Args:
        sheet: the file.
        found: name in tfmri -> column, of the columns that say who, where and when; they are no targets.
        named: column -> name of a target, for those that have none of its usual names.
        asked: the column or target that a person asks for: few different numbers will do there.
    """
    subjects = sheet.cells[found["subject"]]
    free = [str(column) for column in sheet.cells if column not in found.values()]
    names = {column: named.get(column) or usual_name(column) for column in free}
    wanted = {column for column in free if plain(asked or "") in (plain(column), plain(names[column]))}
    tried = {column: _propose(sheet, column, names[column], subjects, column in wanted) for column in free}
    proposals = [each for each in tried.values() if isinstance(each, Proposal)]
    order = {name: place for place, name in enumerate(FIRST)}
    proposals.sort(key=lambda each: order.get(each.name, len(order)))
    return proposals, {column: each for column, each in tried.items() if isinstance(each, str)}


def usual_name(column: str) -> str:
    """The target whose usual names a column's is one of, or else the column's own name."""
    return next((own for own in FIRST if plain(column) in map(plain, USUAL_NAMES[own])), column)


def _propose(sheet: Sheet, column: str, name: str, subjects: pd.Series, asked: bool) -> Proposal | str:
    """What a column could be, or why it can be nothing."""
    cells = sheet.cells[column]
    cells = cells[~is_missing(cells)]
    different = cells.nunique()
    if cells.str.lower().str.endswith(IMAGES).any():
        return "it names images"
    if different < 2:
        return f"there is one value only, '{cells.iloc[0]}'" if different else "it is empty"
    numbers, faults = read_numbers(cells, decimal_comma=sheet.separator != ",")
    regression = Proposal(name, column, {"task": "regression"}, len(cells))
    if not faults and numbers.nunique() >= (FEWEST_NUMBERS if name == "age" else MOST_CLASSES + 1):
        return regression
    classes, remarks = _classes(name, cells)
    of_cell = {spelled(word): label for label, words in classes.items() for word in words}
    labels = cells.map(lambda cell: of_cell[spelled(cell)])
    people = subjects[cells.index].groupby(labels).nunique()
    kept = {label: words for label, words in classes.items() if people[label] >= 2}
    if not 2 <= len(kept) <= MOST_CLASSES or len(kept) < len(classes) / 2:
        if not faults and numbers.nunique() >= FEWEST_NUMBERS and asked:
            return regression
        return _why_not(numbers, faults, len(kept), len(classes))
    rare = tuple(dict.fromkeys(cell for cell in cells if of_cell[spelled(cell)] not in kept))
    return Proposal(name, column, {"task": "classification", "classes": kept}, len(cells), remarks, rare)


def _why_not(numbers: pd.Series, faults: Sequence[Fault], kept: int, different: int) -> str:
    """Why a column is neither: its numbers, what is none, and how many values have two subjects, of how many."""
    if not faults:
        return f"too few different numbers ({numbers.nunique()}) to be taken for regression by itself"
    if numbers.isna().mean() < 0.5:
        return faults[0].found
    if kept > MOST_CLASSES:
        return f"{kept} different words, more than {MOST_CLASSES} classes"
    return f"only {kept} of its {different} different values have two subjects or more"


def _classes(name: str, cells: pd.Series) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Class -> the spellings that stand in the file; known classes in their usual order, others as they are named."""
    present: dict[str, str] = {}
    for cell in cells:
        present.setdefault(spelled(cell), cell)
    for codes, (meaning, remark) in CODES.get(name, {}).items():
        if set(present) == codes:
            return {label: [code for code, means in meaning.items() if means == label] for label in WORDS[name]}, (
                remark,
            )
    known = {word: label for label, words in WORDS.get(name, {}).items() for word in words}
    classes: dict[str, list[str]] = {label: [] for label in WORDS.get(name, {})}
    for word, cell in sorted(present.items()):
        classes.setdefault(known.get(word, cell), []).append(cell)
    return {label: words for label, words in classes.items() if words}, ()


@dataclass(frozen=True)
class Extent:
    """How large the scans are.

    Args:
        spacing: mm, the median over scans of their finest axis.
        head: (x, y, z) mm, that holds nearly every head.
        scans: how many were looked at.
    """

    spacing: float
    head: tuple[float, float, float]
    scans: int


FINEST = 2.0  # mm: what is proposed for finer scans; each halving takes eight times the memory and time
MARGIN = 6.0  # mm around the head, for what augmentation moves
MULTIPLE = 8  # the shape's axes, so that three halvings come out even


def propose_grid(extent: Extent) -> tuple[float, tuple[int, ...]]:
    """Spacing in mm, and a shape in voxels that holds nearly every head."""
    spacing = max(FINEST, math.ceil(extent.spacing * 2 - 1e-3) / 2)
    return spacing, tuple(MULTIPLE * math.ceil((side + 2 * MARGIN) / spacing / MULTIPLE) for side in extent.head)


def experiment_text(
    name: str, labels: str, columns: Mapping[str, str], proposals: Sequence[Proposal], extent: Extent, scans: int
) -> str:
    """The experiment file, with comments.

    Args:
        name: of the experiment.
        labels: the labels file, as the experiment names it.
        columns: name in tfmri -> column, where they differ and the column's name is not a usual one.
        proposals: the first is the target; the others are shown as comments.
        extent: of the scans.
        scans: how many rows the labels file has.
    """
    chosen, *others = proposals
    spacing, shape = propose_grid(extent)
    taken = dict(columns)
    if chosen.name != chosen.column and plain(chosen.column) not in map(plain, USUAL_NAMES.get(chosen.name, ())):
        taken[chosen.name] = chosen.column
    where = _yaml(f"`{chosen.column}` not in {list(chosen.rare)}") if chosen.rare else ""
    batch = next((size for size in (8, 4) if 4 * size <= 0.6 * chosen.rows), 2)  # four steps an epoch at least
    lines = [
        f"# {chosen.name} from the scans of {labels}.        make train EXP={name}",
        "#",
        "# Written from the labels file: read it through before you train. experiments/template.yaml shows every key.",
        "",
        "data:",
        f"  labels: {_yaml(labels)}",
        *([f"  columns: {_yaml(taken)}"] if taken else []),
        *([f"  where: {where}    # leaves out values that one subject has"] if where else []),
        "",
        f"targets:                      # {chosen.rows} of {scans} rows have it",
        *(f"  # {remark}: check it" for remark in chosen.remarks),
        f"  {_yaml({chosen.name: chosen.settings})}",
        *(f"  # {_yaml({each.name: each.settings})}" for each in others),
        "",
        "image:",
        f"  spacing: {spacing:<19g}# mm; the scans have {extent.spacing:.2g} (finer takes more memory and time)",
        f"  shape: {_yaml(list(shape)):<21}# holds the heads of the {extent.scans} scans looked at, "
        f"{' x '.join(f'{side:.0f}' for side in extent.head)} mm",
        "  # registration: mni152     # makes heads larger: a warning tells if the shape cuts them and what holds them",
        "  normalise: zscore",
        "",
        "split: {test: 0.2, validation: 0.2}    # by subject",
        "augment: standard",
        "model: {name: small_cnn}               # or sfcn",
        "",
        "training:",
        "  epochs: 40",
        f"  batch_size: {batch}",
        "  optimizer: {name: adamw, learning_rate: 1.0e-3}",
        "  schedule: {name: cosine, warmup_epochs: 1}",
    ]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """YAML on one line; of a mapping its items, without braces around them."""
    if isinstance(value, Mapping) and len(value) == 1 and isinstance(next(iter(value.values())), Mapping):
        ((key, inner),) = value.items()
        return f"{_yaml(key)}: {_yaml(dict(inner))}"
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False, allow_unicode=True)
    return text.strip().removesuffix("...").strip()
