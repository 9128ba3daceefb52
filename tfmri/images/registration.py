"""Where a head lies in MNI152: affine registration by mutual information."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from tfmri.images.read import Volume

if TYPE_CHECKING:
    from tfmri.images.prepare import Head  # which imports this module

THRESHOLD = 0.2


@dataclass(frozen=True)
class Registration:
    """The affine that takes the template onto a scan.

    Args:
        matrix: (4, 4) float64, mm of the template -> mm of the scan, RAS+ both.
        quality: 0 to 1, how well intensities of the template tell those of the scan in the template's brain.
        threshold: below it the registration has most likely failed.
    """

    matrix: np.ndarray
    quality: float
    threshold: float = THRESHOLD

    @property
    def good(self) -> bool:
        """Whether the scan lies where the template lies, as far as `quality` tells."""
        return self.quality >= self.threshold


@cache
def template() -> Volume:
    """MNI152 (2009a, nonlinear, symmetric), brain only, 1 mm, intensities 0 to 1, as nilearn holds it."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    return Volume(np.asarray(image.dataobj, np.float32), np.asarray(image.affine, np.float64))


def register_to_template(volume: Volume, head: "Head", mask: np.ndarray | None = None) -> Registration:
    """The affine that takes MNI152 onto `volume`.

    Args:
        volume: any T1-weighted head, or brain.
        head: where `find_head` found it.
        mask: (x, y, z) bool on the volume's grid: what counts of it; all of it by default.
    """
    raise NotImplementedError
