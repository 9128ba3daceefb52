"""Tests of the grid and the way onto it, against SciPy and closed forms of the Gaussian."""

import numpy as np
import pytest
from scipy import ndimage

from tfmri.images.geometry import to_world
from tfmri.images.grid import antialiasing, resample
from tfmri.images.prepare import Preparation, prepare
from tfmri.images.read import Volume


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


def test_a_grid_lower_than_the_head_keeps_the_top(head, grid):
    affine = grid((4, 4, 4), (50, 50, 50))
    prepared = prepare(Volume(head(affine, (50, 50, 50)), affine), Preparation((4, 4, 4), (40, 48, 20), "none"))
    top = to_world(prepared.affine, np.array([0, 0, 19.5]))[2]
    assert top == pytest.approx(head.centre[2] + head.semi_axes[2], abs=5)
