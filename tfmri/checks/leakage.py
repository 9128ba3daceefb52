"""One person under several ids: the same image twice, the same image stored or processed otherwise, repeat sessions.

Splits, folds and intervals count subjects. Somebody who is two subjects is learnt from and tested on, in this split or
in the next, so each of these findings spoils a result. (A subject that the labels file itself puts on two sides, and
ids that are spelled alike, are told by `labels`: no image is needed for them.)
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from tfmri.checks.finding import Finding, Harm
from tfmri.checks.likeness import FEWEST, likeness
from tfmri.checks.voxels import Voxels

SAME_PERSON = (
    0.65  # correlation of what is particular to two scans; measured: two people 0.49 at most, one 0.8 and more
)
SPREADS = 4.5  # robust standard deviations above what is usual, likewise
SAME_IMAGE = 0.98  # measured: one image at two resolutions 0.989 and more, one person on two days 0.96 at most
PLACED = 0.3  # correlation with the median head, below which a scan is too odd to be compared
NAMED = 4  # pairs named in a sentence

Pair = tuple[int, int]  # positions in the table


def leakage_findings(table: pd.DataFrame, voxels: Sequence[Voxels] | None, headers: pd.DataFrame) -> list[Finding]:
    """Who stands in the cohort under more than one id.

    Args:
        table: the cohort's, a row per scan, with subject, scan and, where it is known, split.
        voxels: of the same scans, from `voxels.examine`; None or none where only headers were read: nothing is found.
        headers: not needed so far.
    """
    if not voxels:
        return []
    digests = [each.digest for each in voxels]
    return [*same_images(table, digests), *_alike(table, voxels, set(_exact(table, digests)[0]))]


def same_images(table: pd.DataFrame, digests: Sequence[str]) -> list[Finding]:
    """The same image under two ids, or twice under one.

    Args:
        table: the cohort's, as for `leakage_findings`.
        digests: of each scan, alike where its voxels are alike; '' where they are not known.
    """
    across, within = _exact(table, digests)
    exact, own = [(*pair, 1.0) for pair in across], [(*pair, 1.0) for pair in within]
    findings = []
    if exact:
        findings.append(
            _finding(
                "same_image_under_two_ids",
                table,
                exact,
                f"the same image, voxel by voxel, stands under two ids: {_told(table, exact, measured=False)}",
                "a scan of its own for each subject",
                "Find out whose it is and leave the other row out; if it is one person, give both rows the same "
                "subject. Where their labels differ, one of them is wrong.",
            )
        )
    if own:
        found = f"the same image, voxel by voxel, stands twice under one subject: {_told(table, own, measured=False)}"
        advice = "A copy says nothing new, and a session has its label from another: leave one of the rows out."
        findings.append(_finding("same_image_twice", table, own, found, "another scan", advice, Harm.DOUBTFUL))
    return findings


def _exact(table: pd.DataFrame, digests: Sequence[str]) -> tuple[list[Pair], list[Pair]]:
    """Scans of the same digest: one pair of each two subjects, and all pairs of one subject."""
    subjects = table["subject"].to_numpy(str)
    same = _same_voxels(digests)
    own = [pair for pair in same if subjects[pair[0]] == subjects[pair[1]]]
    across = _one_each(subjects, [(*pair, 1.0) for pair in same if pair not in own])
    return [(first, second) for first, second, _ in across], own


def _alike(table: pd.DataFrame, voxels: Sequence[Voxels], told: set[Pair]) -> Iterator[Finding]:
    """Scans of different subjects that are more alike than two people's."""
    subjects = table["subject"].to_numpy(str)
    seen = [position for position, each in enumerate(voxels) if each.small is not None]
    if len(set(subjects[seen])) < FEWEST:
        return
    images = [image for each in voxels if (image := each.small) is not None]
    alike = likeness(images, subjects[seen].tolist())
    least = max(SAME_PERSON, alike.usual + SPREADS * alike.spread)
    found = [
        (seen[first], seen[second], value)
        for first, second, value in alike.pairs(least)
        if min(alike.placed[first], alike.placed[second]) > PLACED and subjects[seen[first]] != subjects[seen[second]]
    ]
    known = {frozenset((subjects[first], subjects[second])) for first, second in told}
    pairs = [pair for pair in _one_each(subjects, found) if frozenset(subjects[list(pair[:2])]) not in known]
    usual = f"two people's scans correlate here by {alike.usual:.2f} ± {alike.spread:.2f}, once all that heads share"
    usual += " is taken out"
    numbers = {"usual": alike.usual, "spread": alike.spread, "least": least}
    if images_again := [pair for pair in pairs if pair[2] >= SAME_IMAGE]:
        yield _finding(
            "near_duplicate",
            table,
            images_again,
            f"one image stands under two ids, stored or processed otherwise: {_told(table, images_again)}; {usual}",
            "a scan of its own for each subject",
            "Find out whose it is and leave the other row out; if it is one person, give both rows the same subject.",
            numbers=numbers,
        )
    if people_again := [pair for pair in pairs if pair[2] < SAME_IMAGE]:
        yield _finding(
            "same_person_under_two_ids",
            table,
            people_again,
            "scans under different ids are as alike as two sessions of one person: "
            f"{_told(table, people_again)}; {usual}",
            "one id for all scans of a person",
            "Compare the scans, and what else is known of them: birth, dates, the study's list of ids. If it is one "
            "person, give both the same subject. Identical twins may be told here too: keep them on one side.",
            numbers=numbers,
        )


def _same_voxels(digests: Sequence[str]) -> list[Pair]:
    """Each scan with the next one of the same digest."""
    groups: dict[str, list[int]] = {}
    for position, digest in enumerate(digests):
        if digest:
            groups.setdefault(digest, []).append(position)
    return [pair for group in groups.values() for pair in pairwise(group)]


def _one_each(subjects: np.ndarray, pairs: Sequence[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Of all pairs of scans of the same two subjects, the one that is most alike; in the order of the table."""
    best: dict[frozenset[str], tuple[int, int, float]] = {}
    for pair in sorted(pairs, key=lambda pair: -pair[2]):
        best.setdefault(frozenset(subjects[list(pair[:2])]), pair)
    return sorted(best.values())


def _parted(table: pd.DataFrame, pair: tuple[int, int, float]) -> tuple[str, str] | None:
    """The two splits that a pair stands in, if it is parted."""
    if "split" not in table:
        return None
    first, second = (str(table["split"].iloc[position]) for position in pair[:2])
    return (first, second) if first != second else None


def _told(table: pd.DataFrame, pairs: Sequence[tuple[int, int, float]], measured: bool = True) -> str:
    """The first pairs in words, those first that the split parts, and how many there are of each."""
    scans = table["scan"].to_numpy(str)
    words = []
    for pair in sorted(pairs, key=lambda pair: _parted(table, pair) is None)[:NAMED]:
        notes = [f"correlation {pair[2]:.2f}"] if measured else []
        notes += [f"{sides[0]} and {sides[1]}"] if (sides := _parted(table, pair)) else []
        words.append(f"{scans[pair[0]]} and {scans[pair[1]]}" + (f" ({', '.join(notes)})" if notes else ""))
    more = f" and {len(pairs) - NAMED} more pairs" if len(pairs) > NAMED else ""
    parted = sum(_parted(table, pair) is not None for pair in pairs)
    sides_known = "split" in table and (table["split"] != "").all()
    split = f"; this split parts {parted} of {len(pairs)}" if sides_known and parted else ""
    return "; ".join(words) + more + split


def _finding(
    check: str,
    table: pd.DataFrame,
    pairs: Sequence[tuple[int, int, float]],
    found: str,
    expected: str,
    advice: str,
    harm: Harm = Harm.SPOILS,
    numbers: Mapping[str, float] = {},
) -> Finding:
    scans = tuple(dict.fromkeys(table["scan"].iloc[position] for pair in pairs for position in pair[:2]))
    values = [pair[2] for pair in pairs]
    parted = sum(_parted(table, pair) is not None for pair in pairs)
    numbers = {"pairs": len(pairs), "parted": parted, "lowest": min(values), "highest": max(values), **numbers}
    where = f"{len(pairs)} pair{'s' * (len(pairs) > 1)} of scans"
    return Finding(check, harm, where, found, expected, advice, scans, numbers)
