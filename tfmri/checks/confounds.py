"""What tells the target without any anatomy: site, skull, spacing, the scanner's grid, the order of the file.

So may age and sex, which a brain shows: a network that tells them tells the target too, and nothing of the disease.

Subjects are counted, each with its first scan. A variable is told of where it goes together with the target beyond
chance, corrected for all such tests that were made for the target (Bonferroni). What that does to a result depends on
how well the variable alone tells the target, and on whether a network can see it in the images.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tfmri.checks.association import Test, Thing, accuracy, association, classes, explained, serial
from tfmri.checks.finding import Finding, Harm
from tfmri.checks.voxels import Voxels
from tfmri.cohort import known

LEVEL = 0.001  # of all tests for a target together, since a sound cohort is to pass;
SMALL_LEVEL = 0.01  # but with few subjects, chance is never so far off, even where
WITHOUT_FAIL = 0.8  # of the way from chance to certainty, or of the variance, is told
WELL = {True: 0.2, False: 0.4}  # of the variance of a number; of the way to certainty: 0.7 correct in two classes
LITTLE = {True: 0.02, False: 0.1}
FEWEST = 6  # subjects
SKULL = 0.5  # skull score from which on there is one
STEP = 0.05  # mm, to which spacings are rounded
PER_KIND = 4  # subjects of each kind of grid, on average, where it is the scanner's and not cut to each head
SHOWN = 4  # classes of a variable that a sentence spells out
SEED = 0

SITE_ADVICE = (
    "Contrast, noise and blur show a network the site, and with it {target}, whatever the anatomy. Leave subjects out "
    "(data.where) until {target} is alike at all sites, or test on a site that was not trained on; and look at the "
    "metrics of each site by itself."
)
SKULL_ADVICE = "A network sees at once whether there is a skull. Extract the brain in all scans or in none."
SPACING_ADVICE = (
    "Resampling makes the grids alike but not the sharpness, which a network sees. Use scans of one protocol, or leave "
    "subjects out (data.where) until {target} is alike in all."
)
GRID_ADVICE = (
    "It stands for a protocol, or a program that the scans went through. Find out which: the field of view, and what "
    "was done to the voxels, may show in the image."
)
PERSON_ADVICE = (
    "A brain shows age and sex, so a network may answer by them. Match the groups (data.where), read the results by "
    "sex and age band, and see what {name} alone reaches on the same split (tfmri baseline EXP --features COLUMN)."
)
ORDER_ADVICE = (
    "An image does not show its place in a list, and tfmri does not split by it. But the place may stand for time, "
    "scanner or ward, which can show: find out how the list came about, and never split it by position."
)


@dataclass(frozen=True)
class Variable:
    """Something known of subjects that is not the target.

    Args:
        check: the name of the finding.
        name: in a sentence.
        thing: what it is for each of `subjects`.
        subjects: (n,) positions of the subjects it is known of; in that order, if it is an order.
        visible: whether a prepared image shows it without any anatomy.
        advice: what it means and what to do about it.
        ordered: whether it is an order, in which neighbours may be alike as well.
        unit: of a number.
        anatomy: whether anatomy shows it; such are corrected among themselves.
    """

    check: str
    name: str
    thing: Thing
    subjects: np.ndarray
    visible: bool
    advice: str
    ordered: bool = False
    unit: str = ""
    anatomy: bool = False


def confound_findings(
    table: pd.DataFrame, target: str, numeric: bool, headers: pd.DataFrame, voxels: Sequence[Voxels] | None
) -> list[Finding]:
    """What tells the target though it is no anatomy, and whether the site tells if there is a skull.

    Args:
        table: the cohort's, a row per scan in the order of the file, with subject, scan, path, site and the target.
        target: a column of classes or, if `numeric`, of numbers.
        numeric: whether the target is a number.
        headers: of the same scans, from `headers.read_headers`.
        voxels: of the same scans, from `voxels.examine`; None or none where only headers were read.
    """
    first = np.flatnonzero(~table["subject"].duplicated())
    people, headers = table.iloc[first].reset_index(drop=True), headers.iloc[first].reset_index(drop=True)
    if len(people) < FEWEST:
        return []
    skull = np.full(len(people), np.nan)
    if voxels:
        skull = np.array([voxels[position].measures.get("skull", np.nan) for position in first.tolist()])
    values = people[target].to_numpy()
    goal = Thing(values.astype(np.float64)) if numeric else classes(values)
    tried = [
        (variable, test, effect)
        for number, variable in enumerate(_variables(people, headers, skull, target))
        for test, effect in _tests(goal.of(variable.subjects), variable, number)
    ]
    findings: dict[str, Finding] = {}
    for variable, test, effect in sorted(tried, key=lambda each: each[1].p):  # of an order, the clearer of its tests
        tests = sum(other.anatomy == variable.anatomy for other, _, _ in tried)
        finding = _judge(target, goal.of(variable.subjects), variable, test, effect, tests)
        if finding is not None and variable.check not in findings:
            findings[variable.check] = finding
    return [*findings.values(), *_skull_tells_site(people, skull, target)]


def _variables(people: pd.DataFrame, headers: pd.DataFrame, skull: np.ndarray, target: str) -> Iterator[Variable]:
    """All that is known, constant or not."""
    sites = people["site"].to_numpy(str)
    there = np.flatnonzero(sites != "")
    if target != "site":
        yield Variable("site_tells_target", "the site", classes(sites[there]), there, True, SITE_ADVICE)
    there = np.flatnonzero(~np.isnan(skull))
    skulls = _skulls(skull[there])
    yield Variable("skull_tells_target", "whether there is a skull", skulls, there, True, SKULL_ADVICE)

    there = np.flatnonzero(headers["problem"] == "")
    headers = headers.iloc[there]
    mm = np.round(headers[["spacing_x", "spacing_y", "spacing_z"]].to_numpy(np.float64) / STEP) * STEP
    spacing = _kinds([" × ".join(f"{length:g}" for length in row.round(2)) + " mm" for row in mm])
    if spacing is None:
        spacing = Thing(mm.prod(axis=1))
    yield Variable("spacing_tells_target", "the spacing", spacing, there, True, SPACING_ADVICE, unit=" mm³")
    voxels = headers[["size_x", "size_y", "size_z"]].to_numpy(np.float64)
    sizes = [" × ".join(f"{length:.0f}" for length in row) for row in voxels]
    grid = _kinds([f"{size} {axes}" for size, axes in zip(sizes, headers["axes"], strict=True)])
    if grid is not None and not _same(grid, spacing):  # else it is told with the spacing
        name = "the scanner's grid (its size, the order of its axes)"
        yield Variable("grid_tells_target", name, grid, there, False, GRID_ADVICE)

    rows = np.arange(len(people))
    position = Thing(rows)
    yield Variable("order_tells_target", "the order of the rows", position, rows, False, ORDER_ADVICE, True)
    ids = np.array(sorted(rows, key=lambda row: _natural(people["subject"].iloc[row])))
    if (ids != rows).any():
        name = "the order of the subjects' ids"
        yield Variable("order_of_ids_tells_target", name, position, ids, False, ORDER_ADVICE, True)

    if known.column(people, "age") != target and (ages := known.ages(people)) is not None:
        there = np.flatnonzero(ages.notna())
        age = Thing(ages.to_numpy(np.float64)[there])
        yield Variable("age_tells_target", "age", age, there, False, PERSON_ADVICE, unit=" years", anatomy=True)
    if known.column(people, "sex") != target and (sexes := known.sexes(people)) is not None:
        there = np.flatnonzero(sexes != "")
        sex = classes(sexes.to_numpy(str)[there])
        yield Variable("sex_tells_target", "sex", sex, there, False, PERSON_ADVICE, anatomy=True)


def _tests(goal: Thing, variable: Variable, number: int) -> Iterator[tuple[Test, float]]:
    """The tests of a variable, each with how well it tells `goal`; none where one of them is constant."""
    if len(goal.values) < FEWEST or goal.constant or variable.thing.constant:
        return
    tells = accuracy if goal.names else explained
    yield association(goal, variable.thing, (SEED, number, 0)), tells(goal, variable.thing)
    if variable.ordered:
        yield serial(goal, (SEED, number, 1)), tells(goal)


def _judge(target: str, goal: Thing, variable: Variable, test: Test, effect: float, tests: int) -> Finding | None:
    """The finding that a test makes, if it makes one."""
    number = not goal.names
    chance = 0.0 if number else 1 / len(goal.names)
    told = (effect - chance) / (1 - chance)
    p = min(1.0, test.p * tests)
    if p > (SMALL_LEVEL if told >= WITHOUT_FAIL else LEVEL):
        return None
    harm = Harm.NOTE if told < LITTLE[number] else Harm.DOUBTFUL
    if variable.visible and told >= WELL[number]:
        harm = Harm.SPOILS
    score = "an R²" if number else "a balanced accuracy"
    verb = "and neighbours in it go" if test.name.startswith("serial") else "goes"
    found = (
        f"{variable.name} {verb} with {target}, and alone tells it with {score} of {effect:.2f} (chance {chance:.2g}). "
    )
    found += _spelled_out(goal, variable)
    found += f"{test.name} = {test.value:.3g}, p = {p:.1g} (corrected for {tests} tests), {len(goal.values)} subjects"
    numbers = {
        "statistic": test.value,
        "p": test.p,
        "p_corrected": p,
        "tests": tests,
        "n": len(goal.values),
        "effect": effect,
        "chance": chance,
    }
    expected = f"{target} alike throughout"
    return Finding(
        variable.check,
        harm,
        f"{target} of all subjects",
        found,
        expected,
        variable.advice.format(target=target, name=variable.name),
        numbers=numbers,
    )


def _spelled_out(goal: Thing, variable: Variable) -> str:
    """What the association looks like: `north: 49 f, 6 m; ...`, or where in the order each class lies."""
    by = variable.thing
    parts = []
    if by.names:
        for level in np.argsort(-np.bincount(by.values), kind="stable")[:SHOWN]:
            parts.append(f"{by.names[level]}: {_summary(goal.of(np.flatnonzero(by.values == level)))}")
        more = [f"{len(by.names) - SHOWN} more"] if len(by.names) > SHOWN else []
        return "; ".join([*parts, *more]) + ". "
    if goal.names:
        unit = f" of {len(goal.values)}" if variable.ordered else variable.unit
        for index, name in enumerate(goal.names[:SHOWN]):
            middle = np.median(by.values[goal.values == index]) + variable.ordered
            parts.append(f"median of {name}: {middle:.3g}{unit}")
        return "; ".join(parts) + ". "
    return ""


def _summary(thing: Thing) -> str:
    if not thing.names:
        return f"mean {thing.values.mean():.3g} ({len(thing.values)})"
    return ", ".join(f"{count} {name}" for count, name in zip(np.bincount(thing.values), thing.names, strict=True))


def _skull_tells_site(people: pd.DataFrame, skull: np.ndarray, target: str) -> Iterator[Finding]:
    """Cohorts put together, some with extracted brains and some with whole heads."""
    read = np.flatnonzero(~np.isnan(skull))
    sites, name = people["site"].to_numpy(str), "site"
    if not (sites != "").any():
        sites, name = _folders(people["path"]), "folder"
    by, there = classes(sites).of(read), _skulls(skull[read])
    if len(read) < FEWEST or by.constant or there.constant:
        return
    test = association(there, by, (SEED, 100, 0))
    effect = accuracy(there, by)
    told = 2 * effect - 1
    if test.p > (SMALL_LEVEL if told >= WITHOUT_FAIL else LEVEL):
        return
    harm = Harm.SPOILS if told >= WELL[False] else Harm.DOUBTFUL
    variable = Variable("skull_tells_site", f"the {name}", by, read, True, "")
    found = f"the skull is there or not by {name}: a network that sees it knows the {name}, and all that goes with it. "
    found += f"{_spelled_out(there, variable)}{test.name} = {test.value:.3g}, p = {test.p:.1g}, {len(read)} subjects"
    advice = "Extract the brain in all scans or in none, with one program, before scans are put together."
    numbers = {"statistic": test.value, "p": test.p, "n": len(read), "effect": effect, "chance": 0.5}
    yield Finding("skull_tells_site", harm, f"scans by {name}", found, "one or the other", advice, numbers=numbers)


def _skulls(scores: np.ndarray) -> Thing:
    return classes(np.where(scores > SKULL, "with skull", "without skull"))


def _kinds(words: Sequence[str]) -> Thing | None:
    """The words as classes, unless they differ from subject to subject."""
    kinds = classes(np.array(words, str))
    return kinds if len(kinds.names) * PER_KIND <= len(words) else None


def _same(first: Thing, second: Thing) -> bool:
    """Whether two things part the subjects alike."""
    return len(set(zip(first.values, second.values, strict=True))) == len(set(first.values)) == len(set(second.values))


def _folders(paths: pd.Series) -> np.ndarray:
    """The first folder that is not the same for all scans; '' where each has one of its own."""
    parts = [Path(path).parts for path in paths]
    depth = next((depth for depth, names in enumerate(zip(*parts, strict=False)) if len(set(names)) > 1), None)
    if depth is None:
        return np.full(len(paths), "")
    folders = np.array([part[depth] for part in parts])
    return folders if len(set(folders)) * PER_KIND <= len(folders) else np.full(len(paths), "")


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which sub-2 comes before sub-10."""
    return [(int(piece), "") if piece.isdecimal() else (-1, piece) for piece in re.split(r"(\d+)", name)]
