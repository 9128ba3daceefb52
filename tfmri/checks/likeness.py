"""How alike the heads of a cohort are, scan by scan: enough to know a person again in another session.

All heads are alike, and scans of one scanner more so: plain correlations of two people's scans are 0.8 to 0.97. What
tells a person is what is left when that is taken away:

1. Each small copy is laid onto the cohort's median head: turned, moved and scaled while both are blurred, then by an
   affine map. Contrast, unevenness and blur are free at the same time. Gauss–Newton, with the derivatives of the median
   head instead of those of each scan: the inverse compositional form of Baker & Matthews 2004, International Journal of
   Computer Vision 56(3), section 3.2.
2. The median head, its derivatives and those other freedoms are regressed out of each scan, over the voxels that lie
   deeper than the scalp.
3. What a large part of the cohort shares, such as a site, a skull that is there or not, or age, is projected out.
4. What is left is correlated: near 0 for two people, 0.8 and more for one person on two days, 1 for one image.

What the cohort has in common is learnt from some of it, one scan of each person, chosen by nothing but how many there
are. Images are (x, y, z) on the grid and with the z-scores of `voxels.SMALL`; lengths are in its voxels of 4 mm.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy import ndimage
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tfmri.machine import processors

FEWEST = 8  # people; with fewer, the median head is nobody's
LEARNT_FROM = 60  # scans from which the median head is made
COMPARED = 400  # scans from which is learnt what many share, and how alike two people usually are
POINTS = 6000  # voxels that a registration looks at
EDGE = -0.5  # standard deviations of the intensity, what is brighter is head
SCALP = 2  # voxels, the outer part of the head that is not compared
STEPS = 20  # of a registration, at most
LONGEST = 3.0  # voxels that a step moves a corner of the grid by, at most
STILL = 0.03  # voxels; a step that moves no corner of the grid further is the last
SMOOTH = 1.5  # voxels, the Gaussian of the coarse steps
SHARED = 0.04  # of the cohort's variance: what explains more is shared by many ...
SHARED_BY = 8.0  # ... and by more scans than are likely to be one person's under other ids
MATCHED = 0.85  # correlation with the median head, both blurred, below which a registration is tried from elsewhere
SHIFTS = tuple(product(range(-4, 5, 2), range(-8, 9, 2)))  # voxels along y and z: skull and neck move the middle
BLOCK = 512  # scans


@dataclass(frozen=True)
class Likeness:
    """What is particular to each scan.

    Args:
        particular: (n, voxels) float32, rows of length 1: products of rows are correlations.
        placed: (n,) correlation of each scan, once laid onto the median head, with that.
        usual: median correlation of two different scans.
        spread: robust standard deviation of the same: 1.4826 times the median absolute deviation.
    """

    particular: np.ndarray
    placed: np.ndarray
    usual: float
    spread: float

    def pairs(self, least: float) -> Iterator[tuple[int, int, float]]:
        """All pairs of scans with a correlation of at least `least`: (index, larger index, correlation)."""
        for start in range(0, len(self.particular), BLOCK):
            block = self.particular[start : start + BLOCK] @ self.particular[start:].T
            for row, column in np.argwhere(block >= least):
                if column > row:
                    yield start + int(row), start + int(column), float(block[row, column])


def likeness(images: Sequence[np.ndarray], people: Sequence[str]) -> Likeness:
    """What is particular to each scan.

    Args:
        images: (x, y, z) each, small copies.
        people: the subject of each, as far as that is known. There must be `FEWEST` or more of them.
    """
    _, first = np.unique(np.asarray(people, str), return_index=True)
    first = np.sort(first)
    head_of = [images[index] for index in _some(first, LEARNT_FROM)]
    blurred = [_blurred(image) for image in head_of]
    rough = _Head(np.median(blurred, axis=0), affine=False)
    with threadpool_limits(1), ThreadPoolExecutor(processors()) as threads:  # interpolation lets other threads run
        laid = [_laid(*each) for each in zip(head_of, threads.map(rough.find, blurred), strict=True)]
        sharp = _Head(np.median(laid, axis=0), affine=True)
        soft = _Head(ndimage.gaussian_filter(sharp.image, SMOOTH), affine=False)

        def look(image: np.ndarray) -> tuple[np.ndarray, float]:
            return sharp.particular(image.astype(np.float32), soft.find(_blurred(image)))

        looks = list(threads.map(look, images))
    particular = np.stack([values for values, _ in looks])
    compared = _some(first, COMPARED)
    _take_out_shared(particular, compared)
    others = (particular[compared] @ particular[compared].T)[np.triu_indices(len(compared), 1)]
    usual = float(np.median(others))
    spread = float(1.4826 * np.median(np.abs(others - usual)))
    return Likeness(particular, np.array([placed for _, placed in looks]), usual, spread)


class _Head:
    """A head that others are laid onto, with the derivatives by which that goes.

    A matrix is (4, 4) and maps voxels of this head to voxels of the scan, both counted from the middle of the grid.

    Args:
        image: (x, y, z).
        affine: whether others may be sheared and stretched to fit, or only turned, moved and scaled.
    """

    def __init__(self, image: np.ndarray, affine: bool):
        self.image = image.astype(np.float32)
        self._middle = (np.array(image.shape)[:, np.newaxis] - 1) / 2
        self._motions = _motions(self._middle[:, 0], affine)
        inside = ndimage.binary_fill_holes(ndimage.gaussian_filter(self.image, 1.0) > EDGE)
        around = np.argwhere(ndimage.binary_dilation(inside, iterations=2)).T  # the edge is what guides
        self._points = around[:, _some(np.arange(around.shape[1]), POINTS)] - self._middle
        self._seen = self._sampled(self.image, np.eye(4), self._points)
        self._solve = np.linalg.pinv(self._freedoms(self._points))
        self._compared = np.argwhere(ndimage.binary_erosion(inside, iterations=SCALP)).T - self._middle
        self._freedom, _ = np.linalg.qr(self._freedoms(self._compared))

    def _freedoms(self, points: np.ndarray) -> np.ndarray:
        """(n, k): how the head's intensity at points (3, n) changes with motion, contrast, unevenness, blur."""
        at = tuple(np.rint(points + self._middle).astype(int))
        slopes = np.stack([np.gradient(self.image, axis=axis)[at] for axis in range(3)])
        moved = self._motions[:, :3, :3] @ points + self._motions[:, :3, 3:]  # (motions, 3, n)
        value = self.image[at]
        x, y, z = points / self._middle
        powers = [(a, b, c) for a, b, c in product(range(4), repeat=3) if 1 <= a + b + c <= 3]
        uneven = [(value - self.image.min()) * x**a * y**b * z**c for a, b, c in powers]
        blur = ndimage.laplace(self.image)[at]
        others = [value, np.ones_like(value), value**2, *uneven, blur]
        return np.concatenate([(slopes * moved).sum(axis=1), np.stack(others)]).T.astype(np.float32)

    def find(self, image: np.ndarray) -> np.ndarray:
        """The matrix that lays `image` onto this head, however far off in front or below it lies."""
        matrix = self.place(image, np.eye(4))
        if self._match(image, matrix) > MATCHED:
            return matrix
        starts = [np.eye(4) for _ in SHIFTS]
        for start, (y, z) in zip(starts, SHIFTS, strict=True):
            start[1:3, 3] = y, z
        start = max(starts, key=lambda start: self._match(image, start))
        return max(matrix, self.place(image, start), key=lambda matrix: self._match(image, matrix))

    def _match(self, image: np.ndarray, matrix: np.ndarray) -> float:
        return float(np.nan_to_num(np.corrcoef(self._sampled(image, matrix, self._points), self._seen)[0, 1]))

    def place(self, image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        """The matrix that lays `image` onto this head, from `matrix` on, if that is near."""
        for _ in range(STEPS):
            amounts = self._solve @ self._sampled(image, matrix, self._points)
            contrast = max(amounts[len(self._motions)], 0.1)
            amounts = np.clip(amounts[: len(self._motions)] / contrast, -LONGEST, LONGEST)
            matrix = matrix @ np.linalg.inv(np.eye(4) + np.tensordot(amounts, self._motions, axes=1))
            if np.abs(amounts).max() < STILL:
                break
        return matrix

    def particular(self, image: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, float]:
        """What is left of `image` without this head, scaled to length 1, and their correlation."""
        matrix = self.place(image, matrix)
        values = self._sampled(image, matrix, self._compared)
        placed = np.corrcoef(values, self._sampled(self.image, np.eye(4), self._compared))[0, 1]
        values -= self._freedom @ (values @ self._freedom)
        return values / max(float(np.linalg.norm(values)), 1e-6), float(np.nan_to_num(placed))

    def _sampled(self, image: np.ndarray, matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
        at = matrix[:3, :3] @ points + matrix[:3, 3:] + self._middle
        return ndimage.map_coordinates(image, at, order=1, mode="nearest", output=np.float32)


def _motions(middle: np.ndarray, affine: bool) -> np.ndarray:
    """(12 or 7, 4, 4) directions in which a matrix may move; 1 is about a voxel, at the edge of the grid at most."""
    motions = np.zeros((12, 4, 4))
    for axis in range(3):
        motions[axis, axis, 3] = 1.0
        for along in range(3):
            motions[3 + 3 * axis + along, axis, along] = 1 / middle[along]
    if affine:
        return motions
    x_y, x_z, y_x, y_z, z_x, z_y = (motions[index] * middle[(index - 3) % 3] for index in (4, 5, 6, 8, 9, 10))
    size = np.diag([1.0, 1.0, 1.0, 0.0])
    turns = np.stack([x_y - y_x, x_z - z_x, y_z - z_y, size]) / middle.mean()
    return np.concatenate([motions[:3], turns])


def _blurred(image: np.ndarray) -> np.ndarray:
    return ndimage.gaussian_filter(image.astype(np.float32), SMOOTH)


def _laid(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The whole image as `matrix` lays it."""
    middle = (np.array(image.shape) - 1) / 2
    offset = matrix[:3, 3] + middle - matrix[:3, :3] @ middle
    return ndimage.affine_transform(image.astype(np.float32), matrix[:3, :3], offset, order=1, mode="nearest")


def _take_out_shared(rows: np.ndarray, compared: np.ndarray) -> None:
    """Takes their mean out of `rows`, and what many of them share, and scales them to length 1 again, in place."""
    rows -= rows[compared].mean(axis=0)
    sample = rows[compared]
    variances, weights = np.linalg.eigh(sample @ sample.T)
    large = variances > max(SHARED * variances.sum(), SHARED_BY)
    if large.any():
        shared, _ = np.linalg.qr(sample.T @ weights[:, large])
        rows -= (rows @ shared) @ shared.T
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _some(indices: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the indices, the same whenever there are so many."""
    if len(indices) <= most:
        return indices
    chosen = np.random.default_rng([len(indices), most]).choice(len(indices), most, replace=False)
    return indices[np.sort(chosen)]
