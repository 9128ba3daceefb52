"""Which scan comes when, and with which random numbers: a function of seed, epoch and scan, and of nothing else.

What is shuffled are row numbers, never volumes. The seed of a sample depends neither on its place in the batch, nor on
replica, worker or restart, so that an interrupted epoch goes on with the same images.
"""

import hashlib
from collections.abc import Sequence

import numpy as np


def epoch_order(rows: Sequence[int] | np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """The rows of one epoch in the order in which they are drawn.

    Args:
        rows: (n,) row numbers of the training scans.
        seed: the experiment's.
        epoch: from 0.

    Returns:
        (n,) int64, a permutation of `rows`.
    """
    return np.random.default_rng([seed, epoch]).permutation(np.asarray(rows, np.int64))


def sample_seeds(scans: Sequence[str], seed: int, epoch: int, draw: int = 0) -> np.ndarray:
    """The seed of each scan in one epoch, by which its augmentation is drawn.

    Args:
        scans: (n,) ids of the scans.
        seed: the experiment's.
        epoch: from 0.
        draw: how many times these scans were drawn before in this epoch.

    Returns:
        (n, 2) int32.
    """
    digests = [hashlib.blake2b(f"{seed}/{epoch}/{draw}/{scan}".encode(), digest_size=8).digest() for scan in scans]
    return np.frombuffer(b"".join(digests), "<i4").reshape(-1, 2).astype(np.int32)
