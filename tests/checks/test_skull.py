import os
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from drawn_heads import AFFINE, T1, T2, draw_head
from scipy import ndimage

from tfmri.checks.skull import skull_score
from tfmri.images.head import find_head
from tfmri.images.read import Volume, read_volume

DATA = os.environ.get("TFMRI_TEST_DATA")
REAL = pytest.mark.skipif(not DATA, reason="TFMRI_TEST_DATA is not set")
HEAD, BRAIN = 0.65, 0.35  # what counts as certain


def score(data: np.ndarray, affine: np.ndarray = AFFINE) -> float:
    volume = Volume(data.astype(np.float32), affine)
    return skull_score(volume, find_head(volume))


def air_emptied(data):
    return np.where(data > 60, data, 0)


def with_remnants(data):
    """A brain with a quarter of its outline covered by what extraction left."""
    rest = draw_head(0)
    rest[:, : data.shape[1] * 3 // 5] = 0
    return np.where(data > 0, data, rest * 0.8)


CHANGES = {
    "as it is": lambda data: data,
    "noise": lambda data: np.hypot(data, 30 * np.random.default_rng(1).standard_normal(data.shape)),
    "uneven": lambda data: data * np.linspace(0.5, 1.5, data.shape[1])[:, np.newaxis],
    "air emptied": air_emptied,
    "z-scored": lambda data: (data - data.mean()) / data.std(),
    "blurred": lambda data: ndimage.gaussian_filter(data, 0.6),
    "top cut": lambda data: data[:, :, :-16],
    "dark": lambda data: data / 1000,
}


CONTRASTS = {"T1": T1, "T2": T2, "fat suppressed": T1 | {"scalp": 0.3}, "bright fat": T1 | {"scalp": 1.8}}


@cache
def drawn(contrast: str, whole: bool) -> np.ndarray:
    return draw_head(0, whole, CONTRASTS[contrast])


@pytest.mark.parametrize("contrast", CONTRASTS)
@pytest.mark.parametrize("change", CHANGES)
def test_whole_heads_are_told_from_brains(contrast, change):
    assert score(CHANGES[change](drawn(contrast, True))) > HEAD
    assert score(CHANGES[change](drawn(contrast, False))) < BRAIN


def test_remnants_on_a_brain_do_not_make_a_head():
    assert score(with_remnants(draw_head(0, False))) < BRAIN


def test_a_ball_has_no_skull_and_a_hollow_one_has():
    mm = np.linalg.norm(np.indices((60, 60, 60)) * 3.0 - 88.5, axis=0)
    affine = np.diag([3.0, 3, 3, 1])
    assert score(np.where(mm < 80, 100.0, 0), affine) < 0.01
    assert score(np.where((mm < 80) & ~((mm > 65) & (mm < 72)), 100.0, 0), affine) == 1


def test_a_head_of_which_little_is_seen_has_no_score():
    assert np.isnan(score(draw_head(0)[:, :, 12:30]))


@REAL
@pytest.mark.parametrize(
    ("pattern", "whole"),
    [("ds000011-2mm/sub-*/anat/*", True), ("ds002748-2mm/sub-[1-4]*/anat/*", False), ("native/ds000011_sub-02*", True)],
)
def test_real_heads_and_brains_are_told_apart(pattern, whole):
    paths = sorted(Path(DATA).glob(pattern))[:12]
    scores = [score(volume.data, volume.affine) for volume in map(read_volume, paths)]
    assert len(scores) and (min(scores) > HEAD if whole else max(scores) < BRAIN)


TISSUE = {  # FreeSurfer's numbers -> T1, T2, FLAIR
    (2, 7, 16, 28, 41, 46, 60, 512): (1.0, 0.4, 0.7),
    (3, 8, 17, 18, 42, 47, 53, 54): (0.7, 0.6, 0.9),
    (10, 11, 12, 13, 26, 49, 50, 51, 52, 58): (0.8, 0.5, 0.8),
    (4, 5, 14, 15, 24, 43, 44): (0.15, 1.2, 0.12),
    (507, 511): (0.9, 0.7, 0.7),
    (509, 514): (0.4, 0.3, 0.3),
    (516,): (0.5, 0.4, 0.4),
    (515,): (0.05, 0.05, 0.05),
}


@REAL
def test_heads_rendered_from_anatomy_are_told_from_their_brains():
    stored = nib.load(Path(DATA) / "labelmaps/training_seg_01.nii.gz")
    labels = np.asarray(nib.as_closest_canonical(stored).dataobj)[::2, ::2, ::2].astype(int)
    affine = nib.as_closest_canonical(stored).affine @ np.diag([2.0, 2, 2, 1])
    brain = (labels > 0) & (labels < 500) & (labels != 24)
    rng = np.random.default_rng(0)
    for contrast in range(3):
        table = np.zeros(600)
        for numbers, values in TISSUE.items():
            table[list(numbers)] = values[contrast]
        image = ndimage.gaussian_filter(table[labels], 0.4)
        image = np.hypot(image + rng.normal(0, 0.03, image.shape), rng.normal(0, 0.03, image.shape))
        assert score(image, affine) > HEAD
        assert score(image * brain, affine) < BRAIN
