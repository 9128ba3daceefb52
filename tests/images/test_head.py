"""Tests of where the head is found, and of the grid that stands around it."""

import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.images.geometry import to_world
from tfmri.images.head import find_head
from tfmri.images.prepare import Preparation, prepare
from tfmri.images.read import Volume

COARSE = Preparation((6, 6, 6), (28, 32, 28), "none")


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


def test_an_affine_in_metres_is_refused(head, grid):
    affine = grid((8, 8, 8), (24, 24, 24))
    with pytest.raises(InputError, match="no head stands out"):
        prepare(Volume(head(affine, (24, 24, 24)), np.diag([1e-3, 1e-3, 1e-3, 1]) @ affine), COARSE)
