"""Whether a scan is like those that a model was trained on: few numbers of each prepared scan, and their usual range.

A model answers for every array of the right shape. These numbers tell the gross cases: a brain without its skull for a
model of whole heads, slices five times as thick, half a head, a registration that failed, another contrast.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfmri.images.cache import CachedScan
from tfmri.images.head import find_head
from tfmri.images.read import Volume

Usual = Mapping[str, tuple[float, float]]  # measure -> lowest and highest of the training scans
LOOKED_AT = 12  # training scans whose voxels are measured, which takes a fifth of a second each


@dataclass(frozen=True)
class Measure:
    """A number that scans are compared by.

    Args:
        words: what is said of a scan beyond the range of training, which stands in brackets.
        ratio: by what factor a scan may leave the range; 1 for `margin` alone.
        margin: by how much.
        upwards: whether only more than in training is odd.
    """

    words: str
    ratio: float = 1.0
    margin: float = 0.0
    upwards: bool = False


MEASURES = {
    "finest_mm": Measure("voxels of {value:.2g} mm along their shortest side ({low:.2g} to {high:.2g})", 1.5),
    "coarsest_mm": Measure("voxels of {value:.2g} mm along their longest side ({low:.2g} to {high:.2g})", 1.5),
    "width_mm": Measure("a head {value:.0f} mm wide ({low:.0f} to {high:.0f})", 1.15),
    "length_mm": Measure("a head {value:.0f} mm long ({low:.0f} to {high:.0f})", 1.15),
    "unseen": Measure(
        "{value:.0%} of the grid outside of the field of view (up to {high:.0%})", margin=0.1, upwards=True
    ),
    "skull": Measure("a skull score of {value:.1f}, 1 being a head, 0 a brain ({low:.1f} to {high:.1f})", margin=0.35),
    "contrast": Measure("a contrast of {value:.2f}: another sequence? ({low:.2f} to {high:.2f})", 1.35),
    "quality": Measure("a registration of quality {value:.2f} ({low:.2f} to {high:.2f})", margin=0.05),
}


def usual_of(train: Sequence[CachedScan], seed: int = 0) -> dict[str, tuple[float, float]]:
    """The range of each measure over prepared training scans; of voxels, over `LOOKED_AT` of them."""
    looked = set(np.random.default_rng(seed).permutation(len(train))[:LOOKED_AT].tolist())
    found = []
    for place, scan in enumerate(train):
        load = (lambda scan=scan: np.load(scan.image)) if place in looked else None
        found.append(measures_of(scan.record["done"], scan.record["affine"], load))
    values = {name: np.array([each.get(name, np.nan) for each in found]) for name in MEASURES}
    known = {name: each[np.isfinite(each)] for name, each in values.items()}
    return {name: (float(each.min()), float(each.max())) for name, each in known.items() if len(each)}


def measures_of(done: Mapping[str, Any], affine: Any, load: Callable[[], np.ndarray] | None = None) -> dict[str, float]:
    """The measures of one prepared scan; NaN, or absent, where one cannot be told.

    Args:
        done: what its preparation tells (`Prepared.done`).
        affine: (4, 4) of the prepared image.
        load: gives the prepared image (x, y, z, channel); None to leave its voxels alone.
    """
    first = done["channels"][0]
    low, high = np.array(first["head_mm"])
    found = {
        "finest_mm": min(first["source_spacing"]),
        "coarsest_mm": max(first["source_spacing"]),
        "width_mm": float(high[0] - low[0]),
        "length_mm": float(high[1] - low[1]),
        "unseen": first["outside_field_of_view"],
    }
    if "registration" in done:
        found["quality"] = done["registration"]["quality"]
    return found if load is None else found | _of_voxels(load(), np.asarray(affine, float))


def unlike(measures: Mapping[str, float], usual: Usual) -> list[str]:
    """What of a scan is beyond all that the training scans were, in words."""
    found = []
    for name, measure in MEASURES.items():
        value = measures.get(name, np.nan)
        if name not in usual or not np.isfinite(value):
            continue
        low, high = usual[name]
        below = value < low / measure.ratio - measure.margin and not measure.upwards
        if below or value > high * measure.ratio + measure.margin:
            found.append(measure.words.format(value=value, low=low, high=high))
    return found


def _of_voxels(image: np.ndarray, affine: np.ndarray) -> dict[str, float]:
    from tfmri.checks.skull import skull_score
    from tfmri.errors import InputError

    volume = Volume(np.ascontiguousarray(image[..., 0], np.float32), affine)
    try:
        head = find_head(volume)
    except InputError:
        return {}
    inside = volume.data[volume.data > head.threshold] - head.background
    low, middle, high = np.percentile(inside, [10, 50, 90])
    return {"skull": skull_score(volume, head), "contrast": float((high - low) / middle)}
