"""Against SciPy, with coordinates computed the long way round: forward matrices in mm, inverted numerically."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from tfmri.augment.control_grid import spline_weights
from tfmri.augment.spatial import coordinates, resample

SHAPE, SPACING, BACKGROUND = (9, 12, 10), (1.5, 1.0, 2.0), -0.75
RNG = np.random.default_rng(3)
IMAGE = RNG.normal(size=SHAPE).astype("float32")


def moved(image=IMAGE, spacing=SPACING, background=BACKGROUND, **parameters):
    """`image` after one sample's `parameters`, given as flip=..., affine=..., elastic=..."""
    tensors = {
        name: {parameter: tf.constant(np.asarray(value)[None], tf.float32) for parameter, value in given.items()}
        for name, given in parameters.items()
    }
    places = coordinates(tensors, image.shape, spacing, 1)
    return resample(tf.constant(image[None]), places, tf.constant([background]))[0].numpy()


def affine(scale=(1, 1, 1), rotation=(0, 0, 0), translation=(0, 0, 0)):
    return {"scale": scale, "rotation": rotation, "translation": translation}


def voxel_matrix(shape, spacing, sign=(1, 1, 1), scale=(1, 1, 1), rotation=(0, 0, 0), translation=(0, 0, 0)):
    """Output voxel to input voxel, (4, 4): the inverse of mirror, scale, rotate, move in mm about the centre."""
    to_mm = np.diag([*spacing, 1.0])
    to_mm[:3, 3] = -np.array(spacing) * (np.array(shape) - 1) / 2
    forward = np.eye(4)
    forward[:3, :3] = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix() @ np.diag(scale) @ np.diag(sign)
    forward[:3, 3] = translation
    return np.linalg.inv(to_mm) @ np.linalg.inv(forward) @ to_mm


def test_settings_that_change_nothing_give_the_input_exactly():
    half = IMAGE.astype("float16")
    still = {"flip": {"sign": [1, 1, 1]}, "affine": affine(), "elastic": {"displacement": np.zeros((3, 7, 7, 7))}}
    np.testing.assert_array_equal(moved(half, **still), half.astype("float32"))
    np.testing.assert_array_equal(moved(half, spacing=(0.7, 1.1, 3.3), **still), half.astype("float32"))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flip_is_numpys_flip(axis):
    sign = [-1 if i == axis else 1 for i in range(3)]
    np.testing.assert_array_equal(moved(flip={"sign": sign}), np.flip(IMAGE, axis))


def test_a_translation_by_whole_voxels_moves_the_head_in_the_positive_direction():
    expected = np.full(SHAPE, BACKGROUND, "float32")
    expected[2:, :-3, :] = IMAGE[:-2, 3:, :]
    np.testing.assert_array_equal(moved(affine=affine(translation=(3.0, -3.0, 0))), expected)


@pytest.mark.parametrize(("axis", "plane"), [(0, (1, 2)), (1, (2, 0)), (2, (0, 1))])
def test_a_rotation_by_90_degrees_is_numpys_rot90(axis, plane):
    cube = RNG.normal(size=(7, 7, 7)).astype("float32")
    rotation = [90 if i == axis else 0 for i in range(3)]
    turned = moved(cube, spacing=(2, 2, 2), affine=affine(rotation=rotation))
    np.testing.assert_allclose(turned, np.rot90(cube, axes=plane), atol=1e-5)


def test_mirror_scale_rotation_and_translation_in_mm_agree_with_scipy():
    settings = {"scale": (1.2, 0.8, 0.9), "rotation": (25, -40, 70), "translation": (1.3, -2.2, 0.7)}
    matrix = voxel_matrix(SHAPE, SPACING, sign=(-1, 1, 1), **settings)
    expected = ndimage.affine_transform(IMAGE, matrix, order=1, mode="grid-constant", cval=BACKGROUND)
    result = moved(flip={"sign": (-1, 1, 1)}, affine=affine(**settings))
    np.testing.assert_allclose(result, expected, atol=2e-5)
    assert np.abs(expected - BACKGROUND).max() > 1  # the head is still in view


def test_the_deformation_comes_after_the_affine():
    """Against map_coordinates, at places from SciPy's B-splines and the matrix above."""
    control = RNG.uniform(-1.5, 1.5, size=(3, 5, 6, 7))
    settings = {"scale": (1.1, 1.1, 1.1), "rotation": (5, 10, -20), "translation": (1, 0, -2)}

    field = control
    for axis, (voxels, points) in enumerate(zip(SHAPE, control.shape[1:], strict=True), start=1):
        spline = BSpline(np.arange(-3, points + 1), np.moveaxis(field, axis, 0), 3)
        field = np.moveaxis(spline(np.linspace(0, points - 3, voxels)), 0, axis)
    voxels = np.indices(SHAPE) + field / np.reshape(SPACING, (3, 1, 1, 1))
    matrix = voxel_matrix(SHAPE, SPACING, sign=(1, -1, 1), **settings)
    places = np.einsum("ij,jxyz->ixyz", matrix[:3, :3], voxels) + matrix[:3, 3].reshape(3, 1, 1, 1)
    expected = ndimage.map_coordinates(IMAGE, places, order=1, mode="grid-constant", cval=BACKGROUND)

    result = moved(flip={"sign": (1, -1, 1)}, affine=affine(**settings), elastic={"displacement": control})
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_each_sample_is_padded_with_its_own_background():
    images = tf.constant(np.stack([IMAGE, IMAGE]))
    far = {"affine": {name: tf.constant([value, value], tf.float32) for name, value in affine().items()}}
    far["affine"]["translation"] = tf.constant([[1e6, 0, 0], [0, -1e12, 0]])
    result = resample(images, coordinates(far, SHAPE, SPACING, 2), tf.constant([3.0, -4.0])).numpy()
    assert (result[0] == 3).all() and (result[1] == -4).all()


@pytest.mark.parametrize("points", [4, 5, 9])
def test_spline_weights_are_scipys_and_a_partition_of_unity(points):
    weights = spline_weights(23, points)
    spline = BSpline(np.arange(-3, points + 1), np.eye(points), 3)
    np.testing.assert_allclose(weights, spline(np.linspace(0, points - 3, 23)), atol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
