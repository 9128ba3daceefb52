"""Tests of the intensities that a model sees."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tfmri.errors import InputError
from tfmri.images.head import find_head
from tfmri.images.prepare import Preparation, prepare
from tfmri.images.read import Volume
from tfmri.images.registration import template


def test_zscore_has_mean_0_and_deviation_1_over_the_head(head, grid):
    affine = grid((4, 4, 4), (50, 50, 50))
    data = np.minimum(head(affine, (50, 50, 50)), 150)
    data *= np.random.default_rng(0).normal(1, 0.1, (50, 50, 50)).astype(np.float32)
    volume = Volume(data, affine)
    prepared = prepare(volume, Preparation((4, 4, 4), (44, 50, 44)))
    raw = prepare(volume, Preparation((4, 4, 4), (44, 50, 44), "none")).image
    inside = prepared.image[raw > find_head(volume).threshold].astype(np.float64)
    assert inside.size > 10000
    assert abs(inside.mean()) < 0.03
    assert inside.std() == pytest.approx(1, abs=0.02)
    assert np.abs(prepared.image).max() <= 5


@pytest.mark.parametrize("normalise", ["zscore", "percentiles"])
def test_normalising_undoes_a_change_of_scale_and_ignores_a_hot_voxel(head, grid, normalise):
    affine = grid((4, 4, 4), (50, 50, 50))
    data = head(affine, (50, 50, 50))
    hot = 37 * data
    hot[25, 25, 25] = 1e9
    preparation = Preparation((4, 4, 4), (44, 50, 44), normalise)
    one, other = (prepare(Volume(array, affine), preparation).image.astype(np.float32) for array in (data, hot))
    differing = np.abs(one - other) > 0.02
    assert differing.sum() <= 1
    assert np.isfinite(other).all()


def test_mean_divides_by_the_mean_of_the_whole_volume(head, grid):
    affine = grid((4, 4, 4), (50, 50, 50))
    data = head(affine, (50, 50, 50))
    prepared = prepare(Volume(data, affine), Preparation((4, 4, 4), (20, 20, 20), "mean"))
    raw = prepare(Volume(data, affine), Preparation((4, 4, 4), (20, 20, 20), "none"))
    np.testing.assert_allclose(prepared.image, raw.image.astype(np.float64) / data.mean(), rtol=2e-3, atol=1e-3)


def test_the_mean_of_a_registered_brain_is_that_over_the_volume_of_mni152_whatever_its_field_of_view():
    whole = template()
    expected = whole.data.sum(dtype=float) / (182 * 218 * 182)  # both at 1 mm, the brain inside of either
    data = np.pad(
        ndimage.zoom(whole.data, 0.5, order=1, grid_mode=True, mode="grid-constant"), [(0, 40), (9, 9), (0, 0)]
    )
    affine = whole.affine @ np.diag([2.0, 2, 2, 1])
    affine[:3, 3] += 0.5 - affine[:3, :3] @ [0, 9, 0]
    smaller = np.diag([0.9, 0.9, 0.9, 1])  # which registration makes as large as the template
    volume = Volume(1000 * data, smaller @ affine)
    prepared = prepare(volume, Preparation((4, 4, 4), (48, 56, 48), "mean", registration="mni152"))
    assert prepared.done["channels"][0]["normalise"]["scale"] == pytest.approx(1000 * expected, rel=0.03)


def test_what_float16_cannot_hold_is_refused_with_advice(head, grid):
    affine = grid((8, 8, 8), (24, 24, 24))
    for scale in (1e4, 1e-12):
        with pytest.raises(InputError, match=r"brain\.nii: intensities from .* expected what float16 can hold.*zscore"):
            prepare(
                Volume(head(affine, (24, 24, 24)) * np.float32(scale), affine, Path("brain.nii")),
                Preparation((6, 6, 6), (28, 32, 28), "none"),
            )


@pytest.mark.parametrize("normalise", ["zscore", "mean"])
def test_what_is_no_image_of_a_head_is_refused(grid, head, normalise):
    affine = grid((6, 6, 6), (32, 32, 32))
    if normalise == "zscore":
        data = np.zeros((32, 32, 32), np.float32)
        data[8:24, 8:24, 8:24] = 1  # a mask
    else:
        data = head(affine, (32, 32, 32)) - 200
    with pytest.raises(InputError, match=r"scan\.nii: .*divided by.*Look at the scan"):
        prepare(Volume(data, affine, Path("scan.nii")), Preparation((6, 6, 6), (28, 32, 28), normalise))
