"""Diffeomorphic deformation, against SciPy's integration of the same velocity, point by point."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.integrate import solve_ivp
from scipy.interpolate import BSpline, RegularGridInterpolator

from tfmri.augment.control_grid import upsample
from tfmri.augment.velocity import displacement

SHAPE, SPACING, POINTS = (21, 27, 18), (4.0, 3.0, 5.0), (5, 6, 5)
EXTENT = (np.array(SHAPE) - 1) * SPACING
DISTANCE = (EXTENT / (np.array(POINTS) - 3)).min()
VOXELS = np.stack(np.meshgrid(*(np.arange(n) * mm for n, mm in zip(SHAPE, SPACING, strict=True)), indexing="ij"))
RNG = np.random.default_rng(5)
INNER = (slice(None), *(slice(4, -4),) * 3)


def velocities(share):
    """Control values (mm) of 3 velocities whose greatest is `share` of the distance between control points."""
    smooth = RNG.uniform(-1, 1, (2, 3, *POINTS))
    into_the_middle = np.stack(
        [np.broadcast_to(np.reshape(np.where(np.arange(n) < n / 2, 1, -1), np.roll([1, 1, n], axis + 1)), POINTS)
         for axis, n in enumerate(POINTS)]
    )  # fmt: skip
    return share * DISTANCE * np.concatenate([smooth, into_the_middle[None]])


def displaced(control):
    return displacement(tf.constant(control, tf.float32), SHAPE, SPACING).numpy()


def integrated(control, starts):
    """Displacements (3, n) of `starts` (3, n) mm from the first voxel, along SciPy's B-splines."""

    def velocity(_, flat):
        places = np.clip(flat.reshape(3, -1).T, 0, EXTENT) / EXTENT * (np.array(POINTS) - 3)
        x, y, z = (
            BSpline(np.arange(-3, n + 1), np.eye(n), 3)(place) for place, n in zip(places.T, POINTS, strict=True)
        )
        return np.einsum("cijk,ni,nj,nk->cn", control, x, y, z).ravel()

    end = solve_ivp(velocity, (0, 1), starts.ravel(), rtol=1e-6, atol=1e-6).y[:, -1]
    return end.reshape(3, -1) - starts


def smallest_determinant(field):
    """Of the edges at each corner of each cell of voxels, over the cell's volume: below 0 where the image folds."""
    places = VOXELS + field
    edges = [np.diff(places, axis=axis) for axis in (1, 2, 3)]
    least = np.inf
    for corner in np.ndindex(2, 2, 2):
        x, y, z = (
            edge[(slice(None), *(slice(None) if i == axis else slice(c, c - 1 or None) for i, c in enumerate(corner)))]
            for axis, edge in enumerate(edges)
        )
        least = min(least, (x * np.cross(y, z, axis=0)).sum(axis=0).min() / np.prod(SPACING))
    return least


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_displacements_are_those_of_scipys_integration(share):
    controls = velocities(share)
    chosen = RNG.permutation(np.prod(SHAPE))[:500]
    for control, field in zip(controls, displaced(controls), strict=True):
        expected = integrated(control, VOXELS.reshape(3, -1)[:, chosen])
        difference = np.abs(field.reshape(3, -1)[:, chosen] - expected)
        size = np.sqrt((expected**2).mean())
        assert np.sqrt((difference**2).mean()) < 0.02 * size
        assert difference.max() < 0.1 * np.abs(expected).max()


def test_small_velocities_are_displacements():
    controls = velocities(0.001)
    plain = upsample(tf.constant(controls, tf.float32), SHAPE).numpy()
    np.testing.assert_allclose(displaced(controls), plain, atol=0.005 * np.abs(plain).max())


def test_the_opposite_velocity_brings_every_voxel_back():
    controls = velocities(0.3)
    for there, back in zip(displaced(controls), displaced(-controls), strict=True):
        axes = [np.arange(n) * mm for n, mm in zip(SHAPE, SPACING, strict=True)]
        places = np.clip(np.moveaxis(VOXELS + there, 0, -1), 0, EXTENT)
        returned = there + np.moveaxis(RegularGridInterpolator(axes, np.moveaxis(back, 0, -1))(places), -1, 0)
        assert np.abs(there[INNER]).max() > 3
        assert np.abs(returned[INNER]).max() < 0.1 * min(SPACING)
        assert np.abs(returned).max() < 0.5 * min(SPACING)


def test_nothing_folds_and_nothing_moves_further_than_asked_at_the_strongest_displacement_allowed():
    """Velocities at their ends everywhere: at random, and all towards the middle."""
    strongest = 0.5 * DISTANCE
    controls = velocities(0.5)
    controls = np.concatenate([np.sign(RNG.normal(size=(4, 3, *POINTS))) * strongest, controls, -controls])
    for field in displaced(controls):
        assert smallest_determinant(field) > 0.08  # of the flow itself at least exp(-4.5 / 2), 0.105
        assert np.abs(field).max() < 1.01 * strongest


def test_no_velocity_is_no_displacement_exactly():
    assert not displaced(np.zeros((1, 3, *POINTS))).any()
