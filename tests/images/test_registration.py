import os
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from tfmri.images.geometry import to_world
from tfmri.images.head import find_head
from tfmri.images.mask import block_means
from tfmri.images.read import Volume, read_volume
from tfmri.images.registration import register_to_template, template

CENTRE = np.array([0.0, -17, 5])  # mm, about the middle of the template's brain


def pose(axis, degrees, scale, shear, shift):
    """Template mm -> scan mm: turned about an axis, scaled and sheared about the brain's middle, and shifted."""
    matrix = np.eye(4)
    turn = Rotation.from_rotvec(np.radians(degrees) * np.asarray(axis) / np.linalg.norm(axis)).as_matrix()
    matrix[:3, :3] = turn @ (np.diag(scale) + shear * np.triu(np.ones((3, 3)), 1))
    matrix[:3, 3] = CENTRE + shift - matrix[:3, :3] @ CENTRE
    return matrix


POSES = {
    "small": pose((1, 0.3, -0.4), 20, (0.85, 0.9, 0.87), 0.02, (-10, 20, 18)),
    "large": pose((-0.2, 1, 0.7), -18, (1.15, 1.08, 1.12), -0.02, (18, -14, -19)),
}


def anatomy(kind):
    """(intensity, affine, brain) on 2 mm: the template's brain; for 'head' in a dark skull and a scalp, on a neck."""
    whole, factors = template(), np.full(3, 2)
    image = np.pad(block_means(whole.data, factors), 14)
    affine = whole.affine @ np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = to_world(whole.affine, (factors - 1) / 2 - 14 * factors)
    brain = image > 0.08
    if kind == "head":
        distance = 2 * ndimage.distance_transform_edt(~ndimage.binary_closing(brain, iterations=4))
        image[(distance > 6) & (distance <= 14)] = 1.3
        x, y, z = np.moveaxis(to_world(affine, np.moveaxis(np.indices(image.shape), 0, -1)), -1, 0)
        image[(distance > 14) & (np.hypot(x, y + 40) < 55) & (z < -50)] = 0.5
    return image, affine, brain


def scan_of(kind, matrix, seed):
    """The anatomy moved by `matrix`, on an oblique grid, of another contrast, unevenly bright, noisy; and its brain."""
    rng = np.random.default_rng(seed)
    image, affine, brain = anatomy(kind)
    spacing, shape = (2.0, 2.4, 2.2), (104, 104, 104)
    grid = np.eye(4)
    grid[:3, :3] = Rotation.from_euler("xyz", (7, -5, 4), degrees=True).as_matrix() * spacing
    grid[:3, 3] = (3, -8, 2) - grid[:3, :3] @ ((np.array(shape) - 1) / 2)
    to_anatomy = np.linalg.inv(affine) @ np.linalg.inv(matrix) @ grid
    data, inside = (
        ndimage.affine_transform(each.astype(np.float32), to_anatomy[:3, :3], to_anatomy[:3, 3], shape, order=1)
        for each in (image, brain)
    )
    bias = ndimage.zoom(rng.normal(0, 0.1, (4, 4, 4)), np.array(shape) / 4, order=3)
    noise = rng.normal(0, 0.04, (2, *shape))
    data = 500 * np.hypot(np.maximum(data, 0) ** 1.4 * np.exp(bias) + noise[0], noise[1])
    return Volume(data.astype(np.float32), grid), inside > 0.5


def errors(found, truth):
    """RMS mm over the brain's voxels, and degrees between the rotations."""
    whole = template()
    points = to_world(whole.affine, np.argwhere(whole.data[::5, ::5, ::5] > 0.08) * 5)
    apart = np.sqrt(((to_world(found, points) - to_world(truth, points)) ** 2).sum(axis=1).mean())
    left, _, right = np.linalg.svd(found[:3, :3] @ np.linalg.inv(truth[:3, :3]))
    return apart, np.degrees(Rotation.from_matrix(left @ right).magnitude())


@cache
def registered(kind, size):
    volume, inside = scan_of(kind, POSES[size], seed=1)
    mask = inside if (kind, size) == ("head", "large") else None  # a given mask of the brain serves as well
    return register_to_template(volume, find_head(volume), mask)


@pytest.mark.parametrize("size", POSES)
@pytest.mark.parametrize("kind", ["brain", "head"])
def test_a_known_affine_is_found_within_a_millimetre_and_a_degree(kind, size):
    found = registered(kind, size)
    apart, degrees = errors(found.matrix, POSES[size])
    assert apart < 1
    assert degrees < 1
    assert found.good


def test_the_same_scan_gives_the_same_bits():
    found = registered("brain", "small")
    registered.cache_clear()
    again = registered("brain", "small")
    assert found.matrix.tobytes() == again.matrix.tobytes()
    assert found.quality == again.quality


def test_a_head_upside_down_is_no_good():
    volume, _ = scan_of("head", POSES["small"], seed=2)
    over = Volume(volume.data, np.diag([1.0, -1, -1, 1]) @ volume.affine)
    assert not register_to_template(over, find_head(over)).good


def test_noise_is_no_good():
    data = np.random.default_rng(0).normal(100, 20, (60, 60, 60)).astype(np.float32)
    volume = Volume(data, np.diag([3.0, 3, 3, 1]))
    found = register_to_template(volume, find_head(volume))
    assert np.isfinite(found.matrix).all()
    assert found.quality < 0.05


def scans():
    if "TFMRI_TEST_DATA" not in os.environ:
        pytest.skip("TFMRI_TEST_DATA names no folder of real scans")
    return Path(os.environ["TFMRI_TEST_DATA"])


def test_a_real_scan_lies_in_the_same_place_whatever_its_resolution():
    paths = ("native/ds000011_sub-01_T1w.nii.gz", "ds000011-2mm/sub-01/anat/sub-01_T1w.nii.gz")
    volumes = [read_volume(scans() / path) for path in paths]
    native, coarse = (register_to_template(volume, find_head(volume)) for volume in volumes)
    assert min(native.quality, coarse.quality) > 0.35
    apart, degrees = errors(native.matrix, coarse.matrix)
    assert apart < 1
    assert degrees < 1
