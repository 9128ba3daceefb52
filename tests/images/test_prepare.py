import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tfmri.images.geometry import spacing_of, to_world
from tfmri.images.prepare import Preparation, prepare
from tfmri.images.read import Volume, read_volume


def spot_of(prepared):
    """mm, the centre of mass of what is brighter than the ellipsoid around it."""
    excess = np.maximum(prepared.image[..., 0].astype(np.float64) - 120, 0)
    return to_world(prepared.affine, np.array(ndimage.center_of_mass(excess)))


@pytest.mark.parametrize("target", [(3.0, 3.0, 3.0), (2.0, 3.0, 4.0), (5.0, 5.0, 5.0)])
@pytest.mark.parametrize(
    ("spacing", "shape", "degrees"),
    [
        ((3, 3, 3), (64, 64, 64), (0, 0, 0)),
        ((3, 3, 3), (64, 64, 64), (1e-5, -1e-5, 1e-5)),
        ((2.6, 3.5, 5.2), (74, 55, 37), (0, 0, 0)),
        ((2.6, 3.5, 5.2), (74, 55, 40), (14, -9, 23)),
        ((3.1, 3.1, 3.1), (64, 64, 64), (40, 30, -35)),
        ((7, 7, 7), (28, 28, 28), (0, 8, 0)),
    ],
)
def test_a_spot_stays_where_it_is_in_the_world(head, grid, spacing, shape, degrees, target):
    affine = grid(spacing, shape, degrees)
    extent = tuple(int(190 / step) for step in target)
    prepared = prepare(Volume(head(affine, shape), affine), Preparation(target, extent, "none"))
    assert prepared.image.shape == (*extent, 1)
    np.testing.assert_allclose(prepared.affine[:3, :3], np.diag(target))
    assert np.abs(spot_of(prepared) - head.spot).max() < 0.1 * min(target)


@pytest.mark.parametrize("normalise", ["zscore", "percentiles", "mean", "none"])
def test_what_the_field_of_view_does_not_reach_is_background(head, grid, normalise):
    shape = (34, 40, 36)
    affine = grid((4, 4, 4), shape)
    data = head(affine, shape) + 7  # air is not 0 everywhere
    prepared = prepare(Volume(data, affine), Preparation((4, 4, 4), (60, 60, 60), normalise))
    image = prepared.image[..., 0]
    assert prepared.done["channels"][0]["outside_field_of_view"] == pytest.approx(1 - data.size / 60**3, abs=1e-3)
    [air] = prepared.background
    np.testing.assert_array_equal(image[:5], np.float16(air))
    middle = image[30, 30, 30]
    assert np.float32(middle) - air > {"zscore": 1, "percentiles": 0.2, "mean": 0.5, "none": 90}[normalise]
    assert {"none": 7, "percentiles": 0}.get(normalise, air) == pytest.approx(air, abs=1e-3)


def test_settings_that_make_no_grid_are_refused():
    assert Preparation([3, 3, 3], [4, 5, 6]) == Preparation((3.0, 3.0, 3.0), (4, 5, 6), "zscore")
    for spacing, shape, normalise in [
        ((3, 3), (4, 5, 6), "none"),
        ((3, 3, 0), (4, 5, 6), "none"),
        ((3, 3, float("nan")), (4, 5, 6), "none"),
        ((3, 3, 3), (4, 5, 0), "none"),
        ((3, 3, 3), (4, 5, 6), "z-score"),
    ]:
        with pytest.raises(ValueError, match="not"):
            Preparation(spacing, shape, normalise)


@pytest.mark.skipif("TFMRI_TEST_DATA" not in os.environ, reason="TFMRI_TEST_DATA names no folder of real scans")
@pytest.mark.parametrize(
    "name",
    [
        "ds002748-2mm/sub-50/anat/sub-50_T1w.nii.gz",  # brain, 15 degrees oblique
        "ds000011-2mm/sub-07/anat/sub-07_T1w.nii.gz",  # whole head, a ghost of the chin reaches far to the front
        "native/ds002748_sub-01_T1w.nii.gz",
    ],
)
def test_a_real_scan_fills_the_grid_and_stands_in_its_middle(name):
    prepared = prepare(read_volume(Path(os.environ["TFMRI_TEST_DATA"]) / name), Preparation((3, 3, 3), (56, 64, 56)))
    image = prepared.image[..., 0].astype(np.float32)
    tissue = np.argwhere(image > -1)
    size = np.ptp(tissue, axis=0) * spacing_of(prepared.affine)
    assert (size > (120, 140, 110)).all()
    np.testing.assert_allclose(tissue.mean(axis=0), (27.5, 31.5, 27.5), atol=5)
    mirrored = np.corrcoef(image.ravel(), image[::-1].ravel())[0, 1]
    assert mirrored > 0.8  # x runs from side to side, through the middle
