"""Uneven brightness that the receiving coils leave in a scan, taken out by N4."""

import numpy as np

from tfmri.images.read import Volume


def correct_bias_field(volume: Volume, mask: np.ndarray | None = None, shrink: int = 4) -> Volume:
    """`volume` divided by its bias field."""
    raise NotImplementedError
