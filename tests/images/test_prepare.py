import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tfmri.errors import InputError
from tfmri.images.geometry import spacing_of, to_world
from tfmri.images.prepare import Preparation, antialiasing, find_head, prepare, resample
from tfmri.images.read import Volume, read_volume

COARSE = Preparation((6, 6, 6), (28, 32, 28), "none")


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


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_all_48_orders_and_directions_of_the_axes_give_the_same_image(tmp_path, head, grid, order):
    import nibabel as nib

    shape = np.array([30, 34, 32])
    straight = grid((6, 6, 6), shape)
    expected = prepare(Volume(head(straight, tuple(shape)), straight), COARSE)
    for flips in itertools.product([False, True], repeat=3):
        turn = np.eye(4)  # from the indices of the turned array to those of the straight one
        turn[:3, :3] = 0
        for axis, (source, flip) in enumerate(zip(order, flips, strict=True)):
            turn[source, axis] = -1 if flip else 1
            turn[source, 3] = shape[source] - 1 if flip else 0
        affine, turned = straight @ turn, tuple(int(shape[axis]) for axis in order)
        nib.save(nib.Nifti1Image(head(affine, turned), affine), tmp_path / "turned.nii")
        prepared = prepare(read_volume(tmp_path / "turned.nii"), COARSE)
        np.testing.assert_allclose(prepared.affine, expected.affine, atol=1e-4)
        np.testing.assert_allclose(prepared.image, expected.image, atol=0.1)


def test_resampling_equals_scipy_on_an_oblique_grid(grid):
    source = np.random.default_rng(0).normal(size=(40, 44, 36)).astype(np.float32)
    affine = grid((1.5, 1.5, 2.2), source.shape, (10, -5, 20))
    target = grid((3, 3, 3), (12, 12, 12))
    sigmas = antialiasing(affine, (3, 3, 3))
    image, outside = resample(Volume(source, affine), target, (12, 12, 12), sigmas)
    spectrum = np.fft.fftn(source)
    for axis, sigma in enumerate(sigmas):  # the discrete Gaussian's spectrum in closed form
        damped = np.exp(sigma**2 * (np.cos(2 * np.pi * np.fft.fftfreq(source.shape[axis])) - 1))
        spectrum *= np.expand_dims(damped, tuple({0, 1, 2} - {axis}))
    smooth = np.fft.ifftn(spectrum).real
    indices = np.moveaxis(np.indices((12, 12, 12)), 0, -1) @ target[:3, :3].T + target[:3, 3] - affine[:3, 3]
    indices = indices @ np.linalg.inv(affine[:3, :3]).T
    expected = ndimage.map_coordinates(smooth, np.moveaxis(indices, -1, 0), order=1)
    assert not outside.any()
    np.testing.assert_allclose(image, expected, atol=2e-3)
    assert expected.std() > 0.1


@pytest.mark.parametrize("period", [10.0, 15.0, 24.0])
def test_waves_are_damped_as_the_formula_of_the_gaussian_says(period):
    x = np.arange(240.0)
    wave = np.cos(2 * np.pi * x / period)[:, None, None] * np.ones((1, 8, 8))
    affine, target = np.diag([1.0, 3, 3, 1]), np.diag([4.0, 3, 3, 1])
    sigmas = antialiasing(affine, (4, 3, 3))
    image, _ = resample(Volume(wave.astype(np.float32), affine), target, (60, 8, 8), sigmas)
    sigma = np.sqrt(4**2 - 1**2) / 2.3548  # Cardoso et al. 2015
    np.testing.assert_allclose(sigmas, (sigma, 0, 0), rtol=1e-4)
    expected = np.exp(-2 * (np.pi * sigma / period) ** 2) * np.cos(2 * np.pi * 4 * np.arange(60) / period)
    np.testing.assert_allclose(image[5:-5, 4, 4], expected[5:-5], atol=0.02)


def test_what_the_new_grid_cannot_show_does_not_come_back_as_something_else():
    wave = np.cos(2 * np.pi * np.arange(240.0) / 4.2)[:, None, None] * np.ones((1, 8, 8))
    volume, target = Volume(wave.astype(np.float32), np.eye(4)), np.diag([4.0, 1, 1, 1])
    sigmas = antialiasing(np.eye(4), (4, 1, 1))
    bare, filtered = (resample(volume, target, (60, 8, 8), sigma)[0][5:-5].std() for sigma in (0 * sigmas, sigmas))
    assert filtered < 0.1 * bare


@pytest.mark.parametrize("new", [(1.1, 1.3, 1.5), (2.0, 3.0, 6.0)])
def test_a_point_becomes_as_wide_as_the_new_voxels_less_the_old(new):
    point = np.zeros((61, 61, 61), np.float32)
    point[30, 30, 30] = 1
    image, _ = resample(Volume(point, np.eye(4)), np.eye(4), point.shape, antialiasing(np.eye(4), new))
    assert image.sum() == pytest.approx(1, abs=1e-4)
    for axis, width in enumerate(new):
        profile = image.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64)
        variance = (profile * (np.arange(61) - 30.0) ** 2).sum()
        assert variance == pytest.approx((width**2 - 1) / (8 * np.log(2)), rel=0.01)


def test_nothing_is_smoothed_where_the_new_grid_is_not_coarser(grid):
    affine = grid((2, 3, 4), (9, 9, 9), (0, 0, 90))
    np.testing.assert_allclose(antialiasing(affine, (3, 2, 4)), 0, atol=1e-6)  # the turn swaps x and y
    assert (antialiasing(affine, (4, 3, 5)) > 0).all()


def test_a_scan_that_has_the_wanted_spacing_keeps_its_voxels(grid):
    data = np.random.default_rng(0).uniform(0, 10, (40, 42, 38)).astype(np.float32)
    data[10:30, 8:32, 12:30] += 100
    affine = grid((3, 3, 3), data.shape, middle=(0.7, 1.3, 2.9))
    prepared = prepare(Volume(data, affine), Preparation((3, 3, 3), (20, 24, 18), "none"))
    np.testing.assert_array_equal(prepared.image[..., 0], data[10:30, 8:32, 12:30].astype(np.float16))
    np.testing.assert_allclose(prepared.affine[:3, 3], to_world(affine, np.array([10, 8, 12])))


@pytest.mark.parametrize("degrees", [(0, 0, 0), (10, -6, 15)])
def test_the_head_is_found_and_stands_in_the_middle(head, grid, degrees):
    shape = (100, 80, 90)
    affine = grid((2.5, 3, 3), shape, degrees, middle=np.add(head.centre, (15, -10, 20)))
    volume = Volume(head(affine, shape) + np.random.default_rng(0).rayleigh(4, shape).astype(np.float32), affine)
    found = find_head(volume)
    np.testing.assert_allclose(found.low, head.centre - head.semi_axes, atol=6)  # a block and half
    np.testing.assert_allclose(found.high, head.centre + head.semi_axes, atol=6)
    prepared = prepare(volume, COARSE)
    middle = to_world(prepared.affine, (np.array(COARSE.shape) - 1) / 2)
    np.testing.assert_allclose(middle, head.centre, atol=4)


def test_neck_and_shoulders_do_not_move_the_head(grid, head):
    shape = (80, 80, 90)
    affine = grid((4, 4, 4), shape, middle=np.subtract(head.centre, (0, 0, 60)))
    alone = head(affine, shape)
    world = np.moveaxis(np.indices(shape), 0, -1) * 4 + affine[:3, 3]
    below = head.centre[2] - 55 - world[..., 2]  # mm below the lower end of the head
    neck = (np.hypot(world[..., 0] - 7, world[..., 1] + 40) < 45) & (below > 0)
    shoulders = (np.hypot(world[..., 0] - 60, world[..., 1] + 60) < 100) & (below > 90)
    with_neck = prepare(Volume(np.where(neck | shoulders, 80, alone).astype(np.float32), affine), COARSE)
    longer = prepare(Volume(np.where(neck, 80, alone).astype(np.float32), affine), COARSE)
    np.testing.assert_allclose(with_neck.affine, longer.affine)
    moved = with_neck.affine[:3, 3] - prepare(Volume(alone, affine), COARSE).affine[:3, 3]
    np.testing.assert_allclose(moved[:2], 0, atol=2)
    assert -22 < moved[2] < 0  # 170 mm from the top, of which the head alone has 130
    top = to_world(with_neck.affine, np.array([0, 0, COARSE.shape[2] - 0.5]))[2]
    assert top > head.centre[2] + head.semi_axes[2] - 4


def test_a_grid_lower_than_the_head_keeps_the_top(head, grid):
    affine = grid((4, 4, 4), (50, 50, 50))
    prepared = prepare(Volume(head(affine, (50, 50, 50)), affine), Preparation((4, 4, 4), (40, 48, 20), "none"))
    top = to_world(prepared.affine, np.array([0, 0, 19.5]))[2]
    assert top == pytest.approx(head.centre[2] + head.semi_axes[2], abs=5)


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


def test_what_float16_cannot_hold_is_refused_with_advice(head, grid):
    affine = grid((8, 8, 8), (24, 24, 24))
    for scale in (1e4, 1e-12):
        with pytest.raises(InputError, match=r"brain\.nii: intensities from .* expected what float16 can hold.*zscore"):
            prepare(Volume(head(affine, (24, 24, 24)) * np.float32(scale), affine, Path("brain.nii")), COARSE)


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


def test_an_affine_in_metres_is_refused(head, grid):
    affine = grid((8, 8, 8), (24, 24, 24))
    with pytest.raises(InputError, match="no head stands out"):
        prepare(Volume(head(affine, (24, 24, 24)), np.diag([1e-3, 1e-3, 1e-3, 1]) @ affine), COARSE)


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
