import numpy as np
import pytest

from tfmri.images.geometry import centred_grid, obliqueness, spacing_of, to_world


def test_spacing_is_the_distance_between_neighbouring_voxels(grid):
    affine = grid((0.9, 1.1, 2.5), (10, 10, 10), (20, -10, 5))
    steps = [np.linalg.norm(to_world(affine, step) - to_world(affine, np.zeros(3))) for step in np.eye(3)]
    np.testing.assert_allclose(spacing_of(affine), steps)
    np.testing.assert_allclose(steps, (0.9, 1.1, 2.5))


@pytest.mark.parametrize("degrees", [0, 12.5, 40])
def test_obliqueness_is_the_angle_of_the_rotation(grid, degrees):
    assert obliqueness(grid((1, 2, 3), (9, 9, 9), (0, degrees, 0))) == pytest.approx(degrees, abs=1e-5)


def test_a_flipped_axis_is_not_oblique():
    assert obliqueness(np.array([[0, -2, 0, 3], [0, 0, 1, 0], [-3, 0, 0, 7], [0, 0, 0, 1.0]])) == 0


@pytest.mark.parametrize("shape", [(4, 5, 6), (1, 2, 3)])
def test_the_middle_of_a_grid_lies_where_it_was_asked_for(shape):
    affine = centred_grid(np.array([1.0, -2.0, 3.5]), (2.0, 3.0, 0.5), shape)
    corners = to_world(affine, np.array([[-0.5] * 3, np.asarray(shape) - 0.5]))
    np.testing.assert_allclose(corners.mean(axis=0), (1, -2, 3.5))
    np.testing.assert_allclose(corners[1] - corners[0], np.multiply(shape, (2, 3, 0.5)))
