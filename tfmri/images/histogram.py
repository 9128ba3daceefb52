"""One scale of intensities for all scans: histogram standardisation after Nyúl.

Source: Nyúl & Udupa 1999, Magnetic Resonance in Medicine 42(6); Nyúl, Udupa & Zhang 2000, IEEE TMI 19(2).
"""

from collections.abc import Sequence

import numpy as np

LANDMARKS = (1.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 99.0)  # percentiles


def landmarks(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(k,) float32 ascending: the percentiles `LANDMARKS` of `image` within `mask`, both of one shape."""
    raise NotImplementedError


def fit_standard(own: Sequence[np.ndarray]) -> np.ndarray:
    """(k,) float32 ascending: the standard scale, the mean of the landmarks (k,) of the training scans."""
    raise NotImplementedError


def map_to_standard(image: np.ndarray, own: np.ndarray, standard: np.ndarray) -> np.ndarray:
    """`image` float32 with its landmarks `own` (k,) moved onto `standard` (k,), linear between them and beyond."""
    raise NotImplementedError
