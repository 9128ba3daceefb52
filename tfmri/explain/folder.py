"""What `tfmri explain` leaves: maps as NIfTI, pictures of scans and of the means of groups, and summary.json.

explain/
  summary.json                     shares outside of the head, completeness, notes, sanity, and the pictures' captions
  maps/<scan>_<method>.nii.gz      on the prepared grid; `_native`: on the grid of the scan's own file
  maps/mean-<number>_<method>.nii.gz     of a group, on the prepared grid of its first scan
  <method>_<number>.png            a scan, in the order of the split
  <method>_mean_<number>.png       a group
  sanity.png, sanity.pdf
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd

from tfmri.explain.methods import IN_WORDS
from tfmri.explain.pictures import overlay
from tfmri.images.cache import CachedScan
from tfmri.images.native import in_native_space

PICTURED = 4  # scans


@dataclass(frozen=True)
class Explained:
    """Scans and what was found about them.

    Args:
        table: a row a scan, with `scan` and `path`.
        cached: the prepared scan of each row.
        maps: of each method, (n, x, y, z).
        captions: of each scan, what is said of it, and the truth.
        groups: name -> the rows of its members.
    """

    table: pd.DataFrame
    cached: Sequence[CachedScan]
    maps: Mapping[str, np.ndarray]
    captions: Sequence[str]
    groups: Mapping[str, np.ndarray]


def write_maps(folder: Path, found: Explained) -> None:
    """Every map, on the prepared grid and on that of its file, and the means of the groups."""
    (folder / "maps").mkdir()
    for method, maps in found.maps.items():
        for values, scan, path, cached in zip(
            maps, found.table["scan"], found.table["path"], found.cached, strict=True
        ):
            name = folder / "maps" / f"{scan}_{method}"
            nibabel.save(_image(values, cached), f"{name}.nii.gz")
            nibabel.save(in_native_space(values, cached.record, Path(path)), f"{name}_native.nii.gz")
        for number, members in enumerate(found.groups.values(), 1):
            mean = _image(maps[members].mean(axis=0), found.cached[members[0]])
            nibabel.save(mean, folder / "maps" / f"mean-{number}_{method}.nii.gz")


def draw_pictures(folder: Path, found: Explained) -> tuple[list[dict[str, Any]], list[str]]:
    """The pictures of scans and groups.

    Returns:
        File, caption, and whether `heads` are on it, of each; and a sentence for each method that has empty maps.
    """
    anatomies = [np.load(scan.image)[..., 0].astype(np.float32) for scan in found.cached]
    kind = "" if "registration" in found.cached[0].record["done"] else "unregistered "  # and so the mean a rough one
    figures, notes = [], []
    for method, maps in found.maps.items():
        lots = [(f"{method}_{place + 1}", [place], found.captions[place]) for place in range(min(PICTURED, len(maps)))]
        lots += [
            (f"{method}_mean_{number}", list(members), f"mean of {len(members)} {kind}scans, {group}")
            for number, (group, members) in enumerate(found.groups.items(), 1)
        ]
        for name, members, said in lots:
            mean, anatomy = maps[members].mean(axis=0), np.mean([anatomies[member] for member in members], axis=0)
            caption = f"{said}; {IN_WORDS[method]}"
            affine = np.array(found.cached[members[0]].record["affine"])
            if overlay(mean, anatomy, affine, caption, folder / f"{name}.png"):
                figures.append({"file": f"{name}.png", "caption": caption, "heads": True})
        if empty := sum(np.ptp(each) == 0 for each in maps):
            notes.append(
                f"{IN_WORDS[method]}: the maps of {empty} of {len(maps)} scans are the same everywhere. What is "
                "explained does not depend on the scan there, or the layer does not reach it."
            )
    return figures, notes


def outside_of_heads(maps: Mapping[str, np.ndarray], heads: Sequence[np.ndarray]) -> dict[str, float]:
    """The share of the `grid` that is no head, and by method the share of absolute attribution there: means over scans.

    Scans whose map is 0 everywhere are left out; a method that has no others is.
    """
    shares = {"grid": float(np.mean([1 - head.mean() for head in heads]))}
    for method, each in maps.items():
        sizes = [(np.abs(one)[~head].sum(), np.abs(one).sum()) for one, head in zip(each, heads, strict=True)]
        if known := [outside / whole for outside, whole in sizes if whole > 0]:
            shares[method] = float(np.mean(known))
    return shares


def _image(values: np.ndarray, scan: CachedScan) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image(values.astype(np.float32), np.array(scan.record["affine"]))
