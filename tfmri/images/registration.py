"""Where a head lies in MNI152: affine registration by mutual information, for whole heads and extracted brains alike.

1. The template is the brain alone (nilearn holds no head). The metric looks at it and at what lies within 6 mm of it,
   where it is 0: in a scan that is fluid and skull, or nothing, dark in both. So nobody has to tell whether there is a
   skull, and scalp, neck, and what defacing left of the face, have no say.
2. Scan and template are made equally blurred for each level of resolution. Unequally blurred, the darker surround
   would draw the edge of the brain, and the scale, by some percent.
3. On 8 mm some hundred positions, angles and sizes around the head that `find_head` found are tried; from the best of
   them a similarity (7 parameters) climbs. On 4 mm, then on 3 mm, an affine (12 parameters) climbs on.
4. `Registration.quality` says whether the result is one.

All voxels of a level are used and everything runs in one thread: the same scan gives the same bits again.

Sources: Mattes et al. 2003, PET-CT image registration in the chest using free-form deformations, IEEE TMI 22(1), for
the metric as ITK has it; Jenkinson & Smith 2001, Medical Image Analysis 5(2), for searching before climbing.
"""

import itertools
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tfmri.images.geometry import spacing_of, to_world
from tfmri.images.head import Head
from tfmri.images.mask import block_means
from tfmri.images.read import Volume
from tfmri.images.threads import one_thread

THRESHOLD = 0.27  # see `Registration`
LEVELS = (8, 4, 3)  # mm
BLUR = 0.5  # standard deviation of the blur of a level, as a fraction of its spacing
NEAR = 6.0  # mm around the brain that the metric looks at
BINS = 32
INSIDE = 0.08  # of the template's brightest voxel: brain or fluid

# What is tried on 8 mm. Heads lie in scanners nodded by as much as 25 degrees, and brains are smaller than MNI152.
PITCH, ROLL, YAW = (-32, -16, 0, 16, 32), (-16, 0, 16), (-16, 0, 16)  # degrees
SCALES = (0.82, 0.94, 1.08)
FORWARD, UP = (-6.0, 6.0), (-16.0, -8.0, 0.0, 8.0)  # mm, against the middle, and the top, of the head
STARTS = 4  # the best of them, from which to climb
MIDDLE = np.array([0.0, -17.0, 5.0])  # mm, of the template's brain, and what the transforms turn about
TOP = 77.0  # mm from there up to the top of the brain


@dataclass(frozen=True)
class Registration:
    """The affine that takes the template onto a scan.

    Args:
        matrix: (4, 4) float64, mm of the template -> mm of the scan, RAS+ both.
        quality: 0 to 1, the fraction of the scan's variance within the template's brain that the template's intensities
            explain, by any function of them (correlation ratio). Of 58 real T1 scans, whole and extracted, the 57 that
            lie well, looked at one by one, have 0.32 to 0.56; one that was badly extracted and lies 8 mm off has 0.22;
            heads upside down, sideways, or back to front, noise and balls have at most 0.23.
        threshold: below it the registration has most likely failed. Errors of some millimetres or degrees pass.
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
    """MNI152 (2009a, nonlinear, symmetric), the brain alone, 1 mm, intensities 0 to 1, as nilearn holds it."""
    from nilearn.datasets import load_mni152_template

    image = load_mni152_template(resolution=1)
    return Volume(np.asarray(image.dataobj, np.float32), np.asarray(image.affine, np.float64))


def register_to_template(volume: Volume, head: Head, mask: np.ndarray | None = None) -> Registration:
    """The affine that takes MNI152 onto `volume`.

    Args:
        volume: a T1-weighted head, or brain; another contrast where tissues differ in brightness.
        head: where `find_head` found it.
        mask: (x, y, z) bool on the volume's grid: what counts of it; all of it by default.
    """
    data = volume.data if mask is None else np.where(mask, volume.data, np.float32(head.background))
    scans = {spacing: _coarse(data, volume.affine, head, spacing) for spacing in LEVELS}
    coarsest, *finer = LEVELS
    starts = _search(scans[coarsest], head)
    with one_thread():
        transforms = [_climb(start, coarsest, scans[coarsest], 4.0, 0.05) for start in starts]
        matrix = max((_matrix(transform) for transform in transforms), key=_Information(coarsest, scans[coarsest]))
        for spacing, step in zip(finer, (1.0, 0.5), strict=True):
            matrix = _matrix(_climb(_affine(matrix), spacing, scans[spacing], step, 0.01))
    return Registration(matrix, _quality(matrix, scans[finer[0]], finer[0]))


@dataclass(frozen=True)
class _Fixed:
    """The template at one level: (x, y, z) image, its brain and what is near it (bool), and the affine of all three."""

    image: np.ndarray
    brain: np.ndarray
    near: np.ndarray
    affine: np.ndarray


@cache
def _fixed(spacing: int) -> _Fixed:
    from scipy import ndimage

    whole, factors = template(), np.full(3, spacing)
    margin = int(np.ceil(2 * NEAR / spacing))
    image, brain = (
        np.pad(block_means(data, factors), margin) for data in (whole.data, (whole.data > INSIDE).astype(np.float32))
    )
    affine = whole.affine @ np.diag([*factors, 1.0])
    affine[:3, 3] = to_world(whole.affine, (factors - 1) / 2 - margin * factors)
    near = ndimage.distance_transform_edt(brain < 0.5, sampling=spacing) <= NEAR
    return _Fixed(_blurred(image, spacing**2 / 12, spacing, factors), brain >= 0.5, near, affine)


def _coarse(data: np.ndarray, affine: np.ndarray, head: Head, spacing: int) -> tuple[np.ndarray, np.ndarray]:
    """`data` in blocks a little smaller than `spacing` mm, as blurred as the template there, and their affine.

    The brightest 0.5 % of the head are cut off: mutual information bins intensities evenly from lowest to highest.
    """
    factors = np.maximum(1, np.floor(spacing / 1.3 / spacing_of(affine)).astype(int))
    blocks = block_means(data, factors)
    head_blocks = blocks[blocks > head.threshold]
    blocks = np.minimum(blocks, np.percentile(head_blocks, 99.5) if head_blocks.size else blocks.max())
    place = affine @ np.diag([*factors, 1.0])
    place[:3, 3] = to_world(affine, (factors - 1) / 2)
    widths = spacing_of(place)
    return _blurred(blocks, widths**2 / 12 + widths**2 / 6, spacing, widths), place


def _blurred(image: np.ndarray, variances: Any, spacing: int, widths: np.ndarray) -> np.ndarray:
    """`image` with so much Gaussian blur that its variance in mm², `variances` so far, is that of the level.

    A block of width w blurs by w² / 12, linear interpolation between blocks by w² / 6 on average.
    """
    from scipy import ndimage

    sigmas = np.sqrt(np.maximum((BLUR * spacing) ** 2 - variances, 0)) / widths
    return ndimage.gaussian_filter(image, sigmas, mode="nearest", truncate=3)


class _Information:
    """Mutual information between the template and a scan at one level, for one matrix after another."""

    def __init__(self, spacing: int, scan: tuple[np.ndarray, np.ndarray]):
        fixed = _fixed(spacing)
        self.points = to_world(fixed.affine, np.argwhere(fixed.near)).T
        self.bins = np.minimum((fixed.image[fixed.near] * BINS).astype(int), BINS - 1) * BINS
        image, affine = scan
        self.scan = (image - image.min()) * (BINS / max(np.ptp(image), 1e-6) * (1 - 1e-6))
        self.to_scan = np.linalg.inv(affine)

    def __call__(self, matrix: np.ndarray) -> float:
        values = _sample(self.scan, self.to_scan @ matrix, self.points)
        counts = np.bincount(self.bins + values.astype(int), minlength=BINS**2).reshape(BINS, BINS)
        joint = counts / len(values)
        return _entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1)) - _entropy(joint)


def _sample(image: np.ndarray, matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(n,) `image` at `matrix` @ `points` (3, n), linearly interpolated, its edge going on for ever."""
    from scipy import ndimage

    return ndimage.map_coordinates(image, matrix[:3, :3] @ points + matrix[:3, 3:], order=1, mode="nearest")


def _entropy(probabilities: np.ndarray) -> float:
    some = probabilities[probabilities > 0]
    return float(-(some * np.log(some)).sum())


def _search(scan: tuple[np.ndarray, np.ndarray], head: Head) -> list[Any]:
    """Similarity transforms from which to climb, the most promising first."""
    import SimpleITK as sitk
    from scipy.spatial.transform import Rotation

    information = _Information(LEVELS[0], scan)
    anchor = (head.low + head.high) / 2
    anchor[2] = head.high[2]
    tried = []
    for angles in itertools.product(PITCH, ROLL, YAW):
        rotation = Rotation.from_euler("xyz", angles, degrees=True)
        for scale in SCALES:
            matrix = np.eye(4)
            matrix[:3, :3] = scale * rotation.as_matrix()
            of_pose = []
            for forward, up in itertools.product(FORWARD, UP):
                shift = anchor + np.array([0, forward, up - scale * TOP]) - MIDDLE
                matrix[:3, 3] = shift + MIDDLE - matrix[:3, :3] @ MIDDLE
                of_pose.append((information(matrix), tuple(shift)))
            tried.append((*max(of_pose), scale, tuple(rotation.as_quat())))
    starts = []
    for _, shift, scale, quaternion in sorted(tried, reverse=True)[:STARTS]:
        start = sitk.Similarity3DTransform()
        start.SetCenter(MIDDLE.tolist())
        start.SetRotation(quaternion)
        start.SetScale(scale)
        start.SetTranslation(shift)
        starts.append(start)
    return starts


def _climb(start: Any, spacing: int, scan: tuple[np.ndarray, np.ndarray], step: float, smallest: float) -> Any:
    """`start`, a SimpleITK transform, moved uphill in steps of `step` mm that are shortened until they are `smallest`.

    SimpleITK's world is RAS+ here, for it sees no directions; the scan's affine goes into a transform of its own.
    """
    import SimpleITK as sitk

    fixed, (image, affine) = _fixed(spacing), scan
    into_scan = np.linalg.inv(affine)
    to_indices = sitk.AffineTransform(3)
    to_indices.SetMatrix(into_scan[:3, :3].ravel().tolist())
    to_indices.SetTranslation(into_scan[:3, 3].tolist())

    method = sitk.ImageRegistrationMethod()  # made within one_thread
    method.SetMetricAsMattesMutualInformation(BINS)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetMetricFixedMask(_as_sitk(fixed.near.astype(np.uint8), fixed.affine))
    method.SetInterpolator(sitk.sitkLinear)
    method.MetricUseFixedImageGradientFilterOff()  # its smoothing would come on top of the level's
    method.MetricUseMovingImageGradientFilterOff()
    method.SetMovingInitialTransform(to_indices)
    method.SetInitialTransform(start, inPlace=True)
    method.SetOptimizerAsRegularStepGradientDescent(step, smallest, 100, relaxationFactor=0.7)
    method.SetOptimizerScalesFromPhysicalShift()
    method.Execute(_as_sitk(fixed.image, fixed.affine), _as_sitk(image, np.eye(4)))
    return start


def _as_sitk(data: np.ndarray, affine: np.ndarray) -> Any:
    """A SimpleITK image of `data` (x, y, z); `affine` has no rotation."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    image.SetSpacing(spacing_of(affine).tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _affine(matrix: np.ndarray) -> Any:
    import SimpleITK as sitk

    transform = sitk.AffineTransform(3)
    transform.SetCenter(MIDDLE.tolist())
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation((to_world(matrix, MIDDLE) - MIDDLE).tolist())
    return transform


def _matrix(transform: Any) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return matrix


def _quality(matrix: np.ndarray, scan: tuple[np.ndarray, np.ndarray], spacing: int) -> float:
    """The correlation ratio of the scan, given the template, in the template's brain: Roche et al. 1998, MICCAI."""
    fixed = _fixed(spacing)
    points = to_world(fixed.affine, np.argwhere(fixed.brain)).T
    values = _sample(scan[0].astype(np.float64), np.linalg.inv(scan[1]) @ matrix, points)
    bins = np.minimum((fixed.image[fixed.brain] * BINS).astype(int), BINS - 1)
    counts, sums = np.bincount(bins), np.bincount(bins, values - values.mean())
    explained = (sums[counts > 0] ** 2 / counts[counts > 0]).sum()
    return float(explained / max(((values - values.mean()) ** 2).sum(), 1e-12))
