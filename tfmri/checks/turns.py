"""Whether heads lie as their headers say: told by turning each of them in all 24 ways and asking how it fits the rest.

A wrong sform or qform is not seen in the header that holds it. What is seen is that the head fits the others better
after a turn. Left and right are nearly alike and cannot be told like this: a mirrored head counts as upright.

1. Small copies are averaged over 2 x 2 x 2 voxels, put into a cube, and moved until their centre of mass is its middle.
2. What the heads have in common is their median. It is turned in the 24 ways that lay axes onto axes.
3. The turn that correlates best with a scan is how the scan lies; `gain` is by how much better than none at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np

SIDE = 28  # voxels of the cube, of two small ones each
GAIN = 0.025  # what is right stays below 0, what is turned comes above 0.02; a head nodding by 30° may, too
AXES = ("left to right", "back to front", "bottom to top")
REVERSED = ("right to left", "front to back", "top to bottom")


@dataclass(frozen=True)
class Turn:
    """How a scan lies.

    Args:
        fit: correlation with the reference in the best of the other turns.
        gain: by how much that is better than as it lies.
        axes: for x, y and z of the scan, which axis of the head lies there, and whether reversed.
    """

    fit: float
    gain: float
    axes: tuple[tuple[int, bool], ...]

    def __str__(self) -> str:
        told = [
            f"what its header calls {AXES[along]} were {(REVERSED if reverse else AXES)[own]}"
            for along, (own, reverse) in enumerate(self.axes)
            if own != along or (reverse and own)
        ]
        return ", ".join(told)


def cube(small: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE, SIDE) float32 of a small copy (x, y, z), air 0, its centre of mass in the middle."""
    from scipy import ndimage

    image = small.astype(np.float32) - np.float32(small.min())
    room = [2 * SIDE - length for length in image.shape]
    image = np.pad(image, [(width // 2, width - width // 2) for width in room])
    image = image.reshape(SIDE, 2, SIDE, 2, SIDE, 2).mean(axis=(1, 3, 5))
    if not image.any():
        return image
    return ndimage.shift(image, (SIDE - 1) / 2 - np.array(ndimage.center_of_mass(image)), order=1)


def find_turns(cubes: Sequence[np.ndarray], reference: np.ndarray) -> list[Turn]:
    """How each of `cubes` lies, where `reference` (SIDE, SIDE, SIDE) lies right."""
    turned = np.stack([_turned(reference, turn) for turn in _turns()]).reshape(len(_turns()), -1)
    turned = _scaled(turned)
    found = []
    for image in cubes:
        fits = turned @ _scaled(image.reshape(1, -1))[0]
        best = 1 + int(np.argmax(fits[1:]))
        axes = tuple((int(axis), bool(reverse)) for axis, reverse in zip(*_turns()[best], strict=True))
        found.append(Turn(float(fits[best]), float(fits[best] - fits[0]), axes))
    return found


@cache
def _turns() -> tuple[tuple[tuple[int, ...], tuple[bool, ...]], ...]:
    """The 24 rotations as (where each axis of the result comes from, whether reversed); the first does nothing."""
    rotations = []
    for order, reverse in product(permutations(range(3)), product((False, True), repeat=3)):
        matrix = np.zeros((3, 3))
        matrix[range(3), order] = np.where(reverse, -1, 1)
        if np.linalg.det(matrix) > 0:
            rotations.append((order, reverse))
    return tuple(rotations)


def _turned(image: np.ndarray, turn: tuple[tuple[int, ...], tuple[bool, ...]]) -> np.ndarray:
    order, reverse = turn
    return np.flip(np.transpose(image, order), tuple(axis for axis in range(3) if reverse[axis]))


def _scaled(rows: np.ndarray) -> np.ndarray:
    rows = rows - rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
