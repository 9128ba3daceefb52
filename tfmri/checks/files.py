"""What is wrong with scans one by one: files, headers, how the head lies in the field of view.

Scans with the same finding are told together.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from tfmri.checks.finding import Finding, Harm
from tfmri.checks.measures import normalised_before
from tfmri.checks.voxels import Voxels

NAMED = 3  # scans named in a sentence about many
APART = 1.0  # mm that qform and sform may differ by, from rounding
OBLIQUE, TILTED = 2.0, 30.0  # degrees: worth knowing, worth looking at
FINEST, COARSEST, FLATTEST = 0.3, 4.5, 4.0  # mm, mm, and the longest side of a voxel by its shortest
NARROWEST, WIDEST = 90.0, 600.0  # mm of a field of view
ODD = 0.1  # share of the scans of a site that are stored unlike the rest, at most
ENOUGH = 10  # scans, to speak of a rest
SKULL = 0.5  # skull score from which on a scan is taken for a whole head
CUT_HEAD, CUT_BRAIN = 0.35, 0.1  # section of a face with a head, in which skull and scalp come first, and with a brain
CUT_BELOW, SHORTEST = 0.15, 0.68  # section of the lower face; a head's height by its length, if it holds the cerebellum

COPY_AGAIN = "Copy or download it again, or leave its row out."


def file_findings(table: pd.DataFrame, headers: pd.DataFrame, voxels: Sequence[Voxels] | None) -> list[Finding]:
    """What is wrong with files and headers of the scans, or doubtful.

    Args:
        table: the cohort's, a row per scan.
        headers: of the same scans, from `headers.read_headers`.
        voxels: of the same scans, from `voxels.examine`; None or none where only headers were read.
    """
    spoilt = list(_unreadable(table, headers, voxels))
    sound = ~table["scan"].isin([scan for finding in spoilt for scan in finding.scans]).to_numpy()
    readable = table[sound].reset_index(drop=True), headers[sound].reset_index(drop=True)
    findings = [*spoilt, *_shadowed(table, headers), *_forms(*readable), *_grids(*readable), *_axes(*readable)]
    return findings + list(_views(table, voxels)) if voxels else findings


def about(
    check: str,
    harm: Harm,
    table: pd.DataFrame,
    concerned: np.ndarray,
    found: str,
    expected: str = "",
    advice: str = "",
    **numbers: float,
) -> Finding:
    """A finding about the scans of `table` that are `concerned` (n,) bool."""
    scans = tuple(table["scan"][concerned])
    if len(scans) == 1:
        where = str(table["path"][concerned].iloc[0])
    else:
        where = f"{len(scans)} scans, {', '.join(scans[:NAMED])}{', ...' if len(scans) > NAMED else ''}"
    return Finding(check, harm, where, found, expected, advice, scans, numbers)


def _unreadable(table: pd.DataFrame, headers: pd.DataFrame, voxels: Sequence[Voxels] | None) -> Iterator[Finding]:
    """Scans that training would refuse, one finding for each thing said of them."""
    told: dict[tuple[str, str, str, str], list[int]] = {}
    for i, (problem, volumes) in enumerate(zip(headers["problem"], headers["volumes"], strict=True)):
        if voxels:
            for each in voxels[i].problems:
                check = "unreadable_scan" if not voxels[i].digest else "unpreparable_scan"
                check = "many_volumes" if check == "unreadable_scan" and volumes > 1 else check
                told.setdefault((check, each.found, each.expected, each.advice), []).append(i)
        elif problem:
            told.setdefault(("unreadable_scan", problem, "a NIfTI file, .nii or .nii.gz", COPY_AGAIN), []).append(i)
        elif volumes > 1:
            advice = "Write one of its volumes, or their mean, to a file of its own."
            told.setdefault(("many_volumes", f"{volumes} volumes", "one 3D volume", advice), []).append(i)
    for (check, *texts), positions in told.items():
        concerned = np.isin(np.arange(len(table)), positions)
        yield about(check, Harm.SPOILS, table, concerned, *texts)


def _shadowed(table: pd.DataFrame, headers: pd.DataFrame) -> Iterator[Finding]:
    shadowed = headers["shadowed"].to_numpy(bool)
    if shadowed.any():
        found = "a .nii lies beside the .nii.gz of the same name"
        advice = "tfmri reads the one that is named, other programs may read the other. Remove what is not meant."
        yield about("shadowed_scan", Harm.DOUBTFUL, table, shadowed, found, "one file of a name", advice)


def _forms(table: pd.DataFrame, headers: pd.DataFrame) -> Iterator[Finding]:
    """What qform and sform leave open."""
    none = (headers[["qform_code", "sform_code"]] <= 0).all(axis=1).to_numpy()
    if none.any():
        found = "neither qform nor sform is set: which side is left, and where the axes point, is a guess"
        advice = "Convert it again from the scanner's images, or find out and set it (nib-convert, fslorient)."
        yield about("left_right_ambiguous", Harm.DOUBTFUL, table, none, found, "qform or sform set", advice)
    mirrored = headers["forms_mirrored"].to_numpy(bool)
    if mirrored.any():
        found = "qform and sform are mirror images of each other: left and right depend on who reads the file"
        advice = "tfmri takes the sform. Find out which one is right, and copy it to the other (fslorient)."
        yield about("left_right_ambiguous", Harm.DOUBTFUL, table, mirrored, found, "qform and sform that agree", advice)
    differ = (headers["forms_differ_mm"] > APART).to_numpy() & ~mirrored
    if differ.any():
        far = float(headers["forms_differ_mm"][differ].max())
        found = f"qform and sform place its voxels up to {far:.3g} mm apart"
        advice = "tfmri takes the sform. That is as it should be where it was registered to a template, in all scans."
        agree = f"at most {APART:g} mm"
        yield about("forms_disagree", Harm.DOUBTFUL, table, differ, found, agree, advice, millimetres=far)


def _grids(table: pd.DataFrame, headers: pd.DataFrame) -> Iterator[Finding]:
    """Angles, voxels and fields of view that are not usual for a head."""
    degrees = headers["oblique_degrees"].to_numpy(float)
    tilted, oblique = degrees > TILTED, (degrees > OBLIQUE) & (degrees <= TILTED)
    if tilted.any():
        found = f"its axes are up to {np.max(degrees[tilted]):.0f}° away from the world's"
        advice = "Look at it: if the head stands straight in the voxels, the header is wrong."
        yield about("oblique", Harm.DOUBTFUL, table, tilted, found, f"at most {TILTED:g}°", advice)
    if oblique.any():
        found = f"oblique, by up to {np.max(degrees[oblique]):.1f}°"
        advice = "Nothing to do: preparing resamples it onto the axes of the world."
        yield about("oblique", Harm.NOTE, table, oblique, found, "", advice)
    spacing = headers[["spacing_x", "spacing_y", "spacing_z"]].to_numpy(float)
    view = headers[["field_of_view_x", "field_of_view_y", "field_of_view_z"]].to_numpy(float)
    low, high = spacing.min(axis=1), spacing.max(axis=1)
    extreme = (low < FINEST) | (high > COARSEST) | (high > FLATTEST * low)
    if extreme.any():
        worst = spacing[np.flatnonzero(extreme)[np.argmax(high[extreme] / low[extreme])]]
        found = f"voxels of {' x '.join(f'{length:.3g}' for length in worst)} mm"
        expected = f"{FINEST:g} to {COARSEST:g} mm, no side more than {FLATTEST:g} times another"
        advice = "What is thinner than a slice is not in it. Use the 3D acquisition if there is one, or coarser images."
        yield about("extreme_spacing", Harm.DOUBTFUL, table, extreme, found, expected, advice)
    odd = ~extreme & ((view.min(axis=1) < NARROWEST) | (view.max(axis=1) > WIDEST))
    if odd.any():
        found = f"a field of view of {' x '.join(f'{length:.3g}' for length in view[np.argmax(odd)])} mm"
        advice = "Look at it: is it part of a head, or are its spacings wrong?"
        expected = f"{NARROWEST:g} to {WIDEST:g} mm"
        yield about("odd_field_of_view", Harm.DOUBTFUL, table, odd, found, expected, advice)


def _axes(table: pd.DataFrame, headers: pd.DataFrame) -> Iterator[Finding]:
    """Scans that are stored unlike the rest of their site; a note where that is common."""
    odd, told = np.zeros(len(table), bool), []
    for site, group in headers["axes"].groupby(table["site"].to_numpy()):
        counts = group.value_counts()
        rare = group.map(counts) <= ODD * len(group)
        if len(group) >= ENOUGH and rare.any():
            odd[group.index[rare]] = True
            told.append(f"{', '.join(sorted(set(group[rare])))}{f' at {site}' if site else ''}")
            told[-1] += f" where {counts.iloc[0]} of {len(group)} are {counts.index[0]}"
    if odd.any():
        found = f"axes stored as {'; '.join(told)}"
        advice = "tfmri turns them all alike. But another converter was used: look whether it kept left and right."
        yield about("other_axes", Harm.DOUBTFUL, table, odd, found, "", advice)
    counts = headers["axes"][~odd].value_counts()
    if len(counts) > 1:
        kinds = ", ".join(
            f"{count} {axes}" for axes, count in sorted(counts.items(), key=lambda each: (-each[1], each[0]))
        )
        found, advice = f"axes are stored as {kinds}", "Nothing to do: reading turns all of them to RAS."
        yield about("mixed_axes", Harm.NOTE, table, ~odd, found, "", advice)


def _views(table: pd.DataFrame, voxels: Sequence[Voxels]) -> Iterator[Finding]:
    """Heads that cannot be told from the air, and heads that are cut so deep that the brain is."""
    before = np.array([bool(each.measures) and normalised_before(each.measures) for each in voxels])
    if before.any():
        found = "z-scored before, inside of a mask: the air lies in the middle of the intensities"
        advice = "Head and air cannot be told apart so. Give the scan as it was before: tfmri normalises itself."
        yield about("normalised_before", Harm.DOUBTFUL, table, before, found, "dark air", advice)

    needed = ("skull", "cut_top", "cut_side", "cut_bottom", "head_height_mm", "head_length_mm")
    measures = pd.DataFrame([{name: each.measures.get(name, np.nan) for name in needed} for each in voxels])
    brain = measures["skull"] < SKULL
    deep = np.where(brain, CUT_BRAIN, CUT_HEAD)
    short = measures["head_height_mm"] < SHORTEST * measures["head_length_mm"]
    for name, cut in [
        ("above", measures["cut_top"] > deep),
        ("at a side", measures["cut_side"] > deep),
        ("below", (measures["cut_bottom"] > CUT_BELOW) & (brain | short)),
    ]:
        concerned = cut.to_numpy() & ~before
        if concerned.any():
            found = f"the field of view ends {name} within the brain"
            advice = "Look at it. A scan that lacks part of the brain tells less, and otherwise than the rest."
            yield about("cut_head", Harm.DOUBTFUL, table, concerned, found, "the whole brain", advice)
