import numpy as np
import pytest
import tensorflow as tf
from scipy.interpolate import BSpline, RegularGridInterpolator, make_interp_spline

from tfmri.augment.control_grid import linear_weights, spline_weights, upsample
from tfmri.augment.velocity import through_weights

SHAPE = (9, 12, 10)
RNG = np.random.default_rng(3)


@pytest.mark.parametrize("points", [4, 5, 9])
def test_spline_weights_are_scipys_and_a_partition_of_unity(points):
    weights = spline_weights(23, points)
    spline = BSpline(np.arange(-3, points + 1), np.eye(points), 3)
    np.testing.assert_allclose(weights, spline(np.linspace(0, points - 3, 23)), atol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    assert (weights >= 0).all()


@pytest.mark.parametrize("points", [2, 4, 9, 40])
def test_linear_weights_are_numpys_straight_lines(points):
    values = RNG.normal(size=points)
    expected = np.interp(np.linspace(0, points - 1, 23), np.arange(points), values)
    np.testing.assert_allclose(linear_weights(23, points) @ values, expected, atol=1e-12)


@pytest.mark.parametrize("points", [(5, 6, 7), (4, 5, 14)])
def test_a_field_of_straight_lines_is_scipys(points):
    control = RNG.normal(size=(2, 3, *points))
    field = upsample(tf.constant(control, tf.float32), SHAPE, linear_weights).numpy()
    places = np.meshgrid(*(np.linspace(0, k - 1, n) for k, n in zip(points, SHAPE, strict=True)), indexing="ij")
    lines = RegularGridInterpolator([np.arange(k) for k in points], np.moveaxis(control, (0, 1), (-2, -1)))
    expected = np.moveaxis(lines(np.stack(places, axis=-1)), (-2, -1), (0, 1))
    np.testing.assert_allclose(field, expected, atol=1e-5)


@pytest.mark.parametrize("points", [(5, 6, 7), (4, 5, 14)])
def test_a_field_of_splines_is_scipys_and_stays_in_the_range_of_its_control_values(points):
    control = RNG.normal(size=(2, 3, *points))
    field = upsample(tf.constant(control, tf.float32), SHAPE).numpy()
    expected = control
    for axis, (voxels, k) in enumerate(zip(SHAPE, points, strict=True), start=2):
        spline = BSpline(np.arange(-3, k + 1), np.moveaxis(expected, axis, 0), 3)
        expected = np.moveaxis(spline(np.linspace(0, k - 3, voxels)), 0, axis)
    np.testing.assert_allclose(field, expected, atol=1e-5)
    assert control.min() <= field.min() and field.max() <= control.max()


def test_the_spline_through_its_points_meets_them():
    np.testing.assert_allclose(through_weights(13, 13), np.eye(13), atol=1e-12)
    values = np.sin(np.arange(13) / 3)
    expected = make_interp_spline(np.arange(13), values)(np.linspace(0, 12, 50))
    np.testing.assert_allclose(through_weights(50, 13) @ values, expected, atol=1e-12)
