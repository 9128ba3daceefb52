"""Whether a scan shows a whole head or an extracted brain, told from the skull itself.

Bone gives no signal: from the air inwards, a head is bright (scalp), dark (skull), bright again (brain), all over its
vault. A brain's outside is cortex, and what is dark below it are sulci, which lie elsewhere on every ray. That holds
for T1, T2, FLAIR and proton density, with or without fat suppression, whatever the face has been through, and it asks
neither for clean air nor for a usual size.

1. Rays go out from a point half a head's width below the top, over the upper part of the sphere.
2. The surface is the last place on a ray that is brighter than `Head.threshold`. Rays that leave the field of view
   there are left out.
3. Profiles of the intensity below the surface are averaged over patches of the vault: shells stay, sulci do not.
4. In each patch, the rim is the highest value near the surface, the valley the lowest one below it, the shore the
   highest one beyond. The valley's depth is 1 - valley / min(rim, shore), over the background.
5. The median over the patches, so that remnants of scalp on a brain, or holes in a skull, do not decide.
"""

import numpy as np

from tfmri.images.geometry import to_world
from tfmri.images.head import Head
from tfmri.images.read import Volume

RAYS, PATCHES = 640, 24
LOWEST = 0.2  # of a ray's direction upwards: above the eyes and the ears
REACH = 130  # mm
ABOVE = 2  # mm above the surface at which a profile begins
BELOW = 45  # mm of a profile
RIM, VALLEY, SHORE = 12, 25, 15  # mm: how far from the begin, from the begin, from the valley they are looked for
DEEP = 0.6  # a valley as deep as most heads have; brains stay below 0.2
FAINT = 0.6  # of the way from the background to the threshold: a scalp without its fat
LEAST_RAYS, LEAST_IN_PATCH = 80, 8


def skull_score(volume: Volume, head: Head) -> float:
    """From 0, an extracted brain, to 1, a whole head; NaN where the field of view shows too little of the vault.

    Above 0.5 the skull is there.
    """
    directions, profiles = _profiles(volume, head)
    if len(directions) < LEAST_RAYS:
        return float("nan")
    patch = np.argmax(directions @ _directions(PATCHES).T, axis=1)
    depths = []
    for number in range(PATCHES):
        if np.count_nonzero(patch == number) < LEAST_IN_PATCH:
            continue
        profile = profiles[patch == number].mean(axis=0)
        rim = int(np.argmax(profile[:RIM]))
        valley = rim + int(np.argmin(profile[rim:VALLEY]))
        shore = profile[valley : valley + SHORE].max()
        depths.append(1 - profile[valley] / max(min(profile[rim], shore), 1e-12))
    return float(np.clip(np.median(depths) / DEEP, 0, 1)) if depths else float("nan")


def _profiles(volume: Volume, head: Head) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) directions of the rays that reach the air, and (n, BELOW) intensities along them, from the air inwards."""
    from scipy import ndimage

    centre = (head.low + head.high) / 2
    centre[2] = head.high[2] - (head.high[0] - head.low[0]) / 2
    directions = _directions(RAYS)
    points = centre + np.arange(REACH)[:, np.newaxis] * directions[:, np.newaxis]
    indices = to_world(np.linalg.inv(volume.affine), points)
    along = ndimage.map_coordinates(volume.data, np.moveaxis(indices, -1, 0), order=1, cval=np.nan)
    along -= head.background
    bright = np.nan_to_num(along, nan=-np.inf) > FAINT * (head.threshold - head.background)
    twice = bright[:, :-1] & bright[:, 1:]  # a single one is noise
    surface = REACH - 1 - np.argmax(twice[:, ::-1], axis=1)
    end = np.where(np.isnan(along).any(axis=1), np.argmax(np.isnan(along), axis=1), REACH)
    used = twice.any(axis=1) & (surface + ABOVE + 1 < end) & (surface + ABOVE >= BELOW)
    places = surface[used, np.newaxis] + ABOVE - np.arange(BELOW)
    return directions[used], np.take_along_axis(along[used], places, axis=1)


def _directions(count: int) -> np.ndarray:
    """(count, 3) unit vectors, evenly over the sphere above `LOWEST`: a Fibonacci lattice."""
    step = np.arange(count) + 0.5
    up = 1 - step / count * (1 - LOWEST)
    around = np.pi * (1 + np.sqrt(5)) * step
    out = np.sqrt(1 - up**2)
    return np.stack([out * np.cos(around), out * np.sin(around), up], axis=1)
