"""Which scan comes when, and with which random numbers: a function of seed, epoch and scan, and of nothing else.

What is shuffled are row numbers, never volumes. The seed of a sample depends neither on its place in the batch, nor on
replica, worker or restart, so that an interrupted epoch goes on with the same images.
"""

import hashlib
from collections.abc import Sequence

import numpy as np


def epoch_order(
    rows: Sequence[int] | np.ndarray, seed: int, epoch: int, classes: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The rows of one epoch in the order in which they are drawn.

    Args:
        rows: (n,) row numbers of the training scans.
        seed: the experiment's.
        epoch: from 0.
        classes: of every scan, by row number: each class is then drawn equally often (the epoch keeps its n draws; the
            scans of a class take turns, so that none comes twice as long as another has not come). None: each row once.

    Returns:
        (n,) int64 rows, and (n,) int64 how often each was drawn before in this epoch.
    """
    random = np.random.default_rng([seed, epoch])
    rows = np.asarray(rows, np.int64)
    if classes is None:
        return random.permutation(rows), np.zeros(len(rows), np.int64)
    names, own = np.unique(np.asarray(classes)[rows], return_inverse=True)
    counts = np.full(len(names), len(rows) // len(names))
    counts[random.permutation(len(names))[: len(rows) % len(names)]] += 1
    drawn, before = [], []
    for index, count in enumerate(counts):
        members = rows[own == index]
        turns = -(-count // len(members))
        drawn.append(np.concatenate([random.permutation(members) for _ in range(turns)])[:count])
        before.append(np.repeat(np.arange(turns), len(members))[:count])
    order = random.permutation(len(rows))
    rows, turns = np.concatenate(drawn)[order], np.concatenate(before)[order]
    return rows, turns


def sample_seeds(scans: Sequence[str], seed: int, epoch: int, draws: np.ndarray | int = 0) -> np.ndarray:
    """The seed of each scan in one epoch, by which its augmentation is drawn.

    Args:
        scans: (n,) ids of the scans.
        seed: the experiment's.
        epoch: from 0.
        draws: (n,) how many times each was drawn before in this epoch, or one number for all.

    Returns:
        (n, 2) int32.
    """
    keys = zip(scans, np.broadcast_to(draws, len(scans)), strict=True)
    digests = [hashlib.blake2b(f"{seed}/{epoch}/{draw}/{scan}".encode(), digest_size=8).digest() for scan, draw in keys]
    return np.frombuffer(b"".join(digests), "<i4").reshape(-1, 2).astype(np.int32)
