"""Scans unlike the rest of their cohort: in intensity, size, geometry, in how they lie, with or without a skull.

A scan is compared with those of its own site, where that has `FEWEST` or more, else with all others of such small
sites; and only with scans that show a skull if it shows one, or none if it shows none.

Source of the scores: median and median absolute deviation, as in Iglewicz & Hoaglin 1993, How to detect and handle
outliers, section 3. Deviations that would not matter do not count, however alike the others are (`Compared.least`), and
a few scans say less of what is usual than many do: the limit is 5 (1 + 4 / n) standard deviations.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from tfmri.checks.files import SKULL, about
from tfmri.checks.finding import Finding, Harm
from tfmri.checks.turns import GAIN, cube, find_turns
from tfmri.checks.voxels import SMALL, Voxels

FEWEST = 10  # scans of a site or of a kind, to compare a scan with
LIMIT = 5.0  # standard deviations
USUAL = 0.8  # share of a site's scans with one spacing, to call that usual
ALIKE = 0.05  # spacings that differ by a smaller fraction are one
CERTAIN = (0.35, 0.65)  # skull scores below and above which a scan counts for a mixture
UNLIKE = 0.8  # correlation with the median head, below which a scan may be unlike the rest
FOREIGN = 0.08  # gain by a turn onto heads of another kind, which a turned head may be taken for, to believe it
TEMPLATE = 0.04  # gain by a turn of brains onto MNI152


@dataclass(frozen=True)
class Compared:
    """A measure that scans are compared by.

    Args:
        kind: of outlier.
        words: what it is.
        least: natural logarithm of the ratio that counts as one standard deviation at least.
        offset: added before the logarithm is taken, where the measure may be 0.
    """

    kind: str
    words: str
    least: float
    offset: float = 0.0


COMPARED = {
    "head_volume_ml": Compared("size", "volume in ml", 0.06),
    "head_width_mm": Compared("size", "width in mm", 0.04),
    "head_length_mm": Compared("size", "length in mm", 0.04),
    "intensity_median": Compared("intensity", "brightness", 0.10),
    "intensity_spread": Compared("intensity", "spread of intensities", 0.08),
    "contrast": Compared("intensity", "contrast", 0.10),
    "snr": Compared("noise", "signal to noise", 0.15),
    "air": Compared("noise", "brightness beside the head", 0.25, 0.02),
}
ADVICE = {
    "size": "Look at it: is it cut, is something else taken for the head, are its spacings right?",
    "intensity": "Look at it: another sequence, contrast agent, another scaling, or a spot that outshines the rest?",
    "noise": "Look at it: motion, ghosts, metal, or another coil?",
}


def outlier_findings(table: pd.DataFrame, headers: pd.DataFrame, voxels: Sequence[Voxels] | None) -> list[Finding]:
    """Scans that are unlike the rest.

    Args:
        table: the cohort's, a row per scan, with scan, path and site.
        headers: of the same scans, from `headers.read_headers`.
        voxels: of the same scans, from `voxels.examine`; None or none where only headers were read.
    """
    findings = list(_spacings(table, headers))
    if voxels:
        turned, lying = _turned(table, voxels)
        findings += [*lying, *_skulls(table, voxels, turned), *_measures(table, voxels), *_unlike(table, voxels)]
    return findings


def strangeness(table: pd.DataFrame, headers: pd.DataFrame, voxels: Sequence[Voxels] | None) -> np.ndarray:
    """(n,) how unlike the rest each scan is, in standard deviations of what is most unlike; what cannot be read first.

    Arguments as for `outlier_findings`.
    """
    strange = np.where(headers["problem"] != "", 1000.0, 0.0)
    if voxels:
        groups = _groups(table, voxels)
        scores = pd.concat([_scores(voxels, groups), -_likeness_scores(voxels, groups)[1]], axis=1).abs()
        strange = np.fmax(strange, scores.max(axis=1).fillna(0).to_numpy())
        strange[[each.small is None for each in voxels]] = 1000.0
    return strange


def _groups(table: pd.DataFrame, voxels: Sequence[Voxels]) -> pd.Series:
    """The name of what each scan is compared within, as the module says."""
    sites = table["site"].reset_index(drop=True)
    small = sites.map(sites.value_counts()) < FEWEST
    skull = _measure(voxels, "skull")
    kinds = np.where(np.isnan(skull), "", np.where(skull > SKULL, "head", "brain"))
    return sites.mask(small, "").str.cat(kinds, sep="/")


def _measure(voxels: Sequence[Voxels], name: str) -> np.ndarray:
    return np.array([each.measures.get(name, np.nan) for each in voxels], np.float64)


def _scores(voxels: Sequence[Voxels], groups: pd.Series) -> pd.DataFrame:
    """Of each scan and each of `COMPARED`: robust standard deviations from the median of the group; NaN if unknown."""
    scores = pd.DataFrame(index=groups.index, dtype=np.float64)
    for name, compared in COMPARED.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            values = pd.Series(np.log(_measure(voxels, name) + compared.offset)).where(lambda found: np.isfinite(found))
        scores[name] = values.groupby(groups).transform(_robust, least=compared.least)
    return scores


def _robust(values: pd.Series, least: float) -> pd.Series:
    away = values - values.median()
    return away / max(1.4826 * away.abs().median(), least)


def _limits(groups: pd.Series) -> pd.Series:
    """Of each scan, the score from which on it is an outlier; infinite where there are too few to compare with."""
    counts = groups.map(groups.value_counts())
    return (LIMIT * (1 + 4 / counts)).where(counts >= FEWEST, np.inf)


def _measures(table: pd.DataFrame, voxels: Sequence[Voxels]) -> Iterator[Finding]:
    groups = _groups(table, voxels)
    scores = _scores(voxels, groups)
    far = scores.abs().gt(_limits(groups), axis=0)
    for kind, advice in ADVICE.items():
        names = [name for name in COMPARED if COMPARED[name].kind == kind]
        for i in map(int, np.flatnonzero(far[names].any(axis=1))):
            told = []
            for name in [name for name in names if far[name][i]]:
                others = _measure(voxels, name)[(groups == groups[i]).to_numpy()]
                low, high = np.nanpercentile(others, (5, 95))
                own = voxels[i].measures[name]
                shown = [f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}" for value in (own, low, high)]
                told.append(f"{COMPARED[name].words} {shown[0]}, where others have {shown[1]} to {shown[2]}")
            worst = str(scores[names].loc[i].abs().idxmax())
            numbers = {"score": float(scores[worst][i]), "own": voxels[i].measures[worst]}
            concerned = np.arange(len(table)) == i
            yield about(f"odd_{kind}", Harm.DOUBTFUL, table, concerned, "; ".join(told), "", advice, **numbers)


def _spacings(table: pd.DataFrame, headers: pd.DataFrame) -> Iterator[Finding]:
    """Scans whose voxels have another size than is usual at their site."""
    logs = np.log(headers[["spacing_x", "spacing_y", "spacing_z"]].to_numpy(float))
    known = np.isfinite(logs).all(axis=1)
    sites = table["site"].to_numpy()
    for site in pd.unique(sites):
        at = known & (sites == site)
        if at.sum() < FEWEST:
            continue
        usual = np.median(logs[at], axis=0)
        odd = at & (np.abs(logs - usual).max(axis=1) > ALIKE)
        if 0 < odd.sum() <= (1 - USUAL) * at.sum():
            sizes = sorted({" x ".join(f"{length:.3g}" for length in np.exp(row)) for row in logs[odd]})
            found = f"voxels of {' and '.join(sizes[:3])}{' and others' if len(sizes) > 3 else ''} mm"
            expected = f"{' x '.join(f'{length:.3g}' for length in np.exp(usual))} mm, as the rest{_at(site)}"
            advice = "Another protocol? See that it does not go with the target; or leave these scans out."
            yield about("odd_spacing", Harm.DOUBTFUL, table, odd, found, expected, advice)


def _at(site: str) -> str:
    return f" at {site}" if site else ""


def _skulls(table: pd.DataFrame, voxels: Sequence[Voxels], turned: np.ndarray) -> Iterator[Finding]:
    """A cohort of whole heads and extracted brains. Those that lie otherwise than their headers say do not count."""
    scores = np.where(turned, np.nan, _measure(voxels, "skull"))
    brains, heads = scores < CERTAIN[0], scores > CERTAIN[1]
    if brains.any() and heads.any():
        fewer = heads if heads.sum() <= brains.sum() else brains
        rest = np.count_nonzero(brains | heads) - np.count_nonzero(fewer)
        found = f"whole heads, while {rest} others are extracted brains"
        if fewer is brains:
            found = f"extracted brains, while {rest} others are whole heads"
        advice = "A network sees that before all else. Extract the brain in all scans or in none."
        numbers = {"heads": float(heads.sum()), "brains": float(brains.sum())}
        yield about("skull_in_some", Harm.DOUBTFUL, table, fewer, found, "all of one kind", advice, **numbers)


def _turned(table: pd.DataFrame, voxels: Sequence[Voxels]) -> tuple[np.ndarray, list[Finding]]:
    """(n,) bool, which scans do not lie as their headers say, alone or all together; and the findings that tell it."""
    cubes = {i: cube(each.small) for i, each in enumerate(voxels) if each.small is not None}
    kinds = {head: [i for i in cubes if (voxels[i].measures["skull"] > SKULL) == head] for head in (False, True)}
    references = {
        head: np.median([cubes[i] for i in members], axis=0)
        for head, members in kinds.items()
        if len(members) >= FEWEST // 2
    }
    ways: dict[tuple[str, str], list[int]] = {}
    for head, members in kinds.items():
        if not members or not references:
            continue
        foreign = head not in references
        reference = references[head != foreign]
        for i, turn in zip(members, find_turns([cubes[i] for i in members], reference), strict=True):
            if turn.gain > (FOREIGN if foreign else GAIN):
                ways.setdefault((str(turn), "a head that lies like the rest"), []).append(i)
        if not (foreign or head):  # the template is a brain; whole heads fit it in other ways nearly as well
            turn = find_turns([reference], _upright())[0]
            if turn.gain > TEMPLATE:
                ways[str(turn), "a brain that stands upright"] = members
    findings, turned = [], np.zeros(len(table), bool)
    advice = (
        "Look at it. If the head does not just nod, its header is wrong: convert it again, or mend sform and qform."
    )
    for (way, expected), positions in ways.items():
        concerned = np.isin(np.arange(len(table)), positions)
        found = f"would fit better if {way}"
        findings.append(about("wrong_orientation", Harm.DOUBTFUL, table, concerned, found, expected, advice))
        turned |= concerned
    return turned, findings


@cache
def _upright() -> np.ndarray:
    """What lies right for sure: MNI152."""
    from tfmri.images.prepare import prepare
    from tfmri.images.registration import template

    return cube(prepare(template(), SMALL).image[..., 0])


def _likeness_scores(voxels: Sequence[Voxels], groups: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Of each scan, the correlation with the median of its group, and how unusually low that is: negative scores."""
    x, y, z = (length // 2 for length in SMALL.shape)
    coarse = {
        i: each.small.astype(np.float32).reshape(x, 2, y, 2, z, 2).mean(axis=(1, 3, 5)).ravel()
        for i, each in enumerate(voxels)
        if each.small is not None
    }
    found = np.full(len(groups), np.nan)
    for name in groups.unique():
        members = [i for i in coarse if groups[i] == name]
        if members:
            median = np.median([coarse[i] for i in members], axis=0)
            found[members] = [np.corrcoef(coarse[i], median)[0, 1] for i in members]
    fits = pd.Series(found, groups.index)
    with np.errstate(invalid="ignore"):
        likeness = pd.Series(np.arctanh(fits.clip(-0.999, 0.999)), groups.index)
    return fits, likeness.groupby(groups).transform(_robust, least=0.1)


def _unlike(table: pd.DataFrame, voxels: Sequence[Voxels]) -> Iterator[Finding]:
    groups = _groups(table, voxels)
    fits, scores = _likeness_scores(voxels, groups)
    far = ((scores < -_limits(groups)) & (fits < UNLIKE)).to_numpy()
    for i in np.flatnonzero(far):
        found = f"unlike the others: correlation {fits[i]:.2f} with their median, which have {fits[~far].median():.2f}"
        advice = "Look at it: is it a head, does it lie right, is part of it missing?"
        concerned = np.arange(len(table)) == i
        yield about("unlike_the_rest", Harm.DOUBTFUL, table, concerned, found, "", advice, score=float(scores[i]))
