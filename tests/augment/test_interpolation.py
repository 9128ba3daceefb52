"""Against SciPy's map_coordinates and NumPy's pad."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tfmri.augment.interpolation import continued, nearest, resample

SHAPE = (9, 12, 10)
RNG = np.random.default_rng(3)
IMAGES = RNG.normal(size=(2, *SHAPE)).astype("float32")
LABELS = RNG.integers(1, 200, (2, *SHAPE, 3))
BACKGROUND = np.array([-0.75, 2], "float32")
PLACES = [RNG.uniform(-2 * n, 3 * n, (2, *SHAPE)).astype("float32") for n in SHAPE]
GRID = [np.broadcast_to(index, (2, *SHAPE)).astype("float32") for index in np.indices(SHAPE)]
SCIPY = {"background": "grid-constant", "border": "nearest", "reflect": "mirror"}
NUMPY = {"background": "constant", "border": "edge", "reflect": "reflect"}
PADDING = pytest.mark.parametrize("padding", SCIPY)


@PADDING
def test_trilinear_values_inside_and_far_outside_are_scipys(padding):
    result = resample(IMAGES, continued(PLACES, SHAPE, padding), BACKGROUND).numpy()
    for i, image in enumerate(IMAGES):
        places = [place[i] for place in PLACES]
        expected = ndimage.map_coordinates(image, places, order=1, mode=SCIPY[padding], cval=BACKGROUND[i])
        np.testing.assert_allclose(result[i], expected, atol=2e-5)
        assert (expected != BACKGROUND[i]).mean() > (0.003 if padding == "background" else 0.9)


@PADDING
@pytest.mark.parametrize("kind", ["uint8", "int16", "int32"])
def test_labels_are_those_of_scipys_nearest_voxel_and_keep_their_type(padding, kind):
    labels = tf.constant(LABELS.astype(kind))
    result = nearest(labels, continued(PLACES, SHAPE, padding)).numpy()
    assert result.dtype == kind and result.shape == labels.shape
    for i in range(2):
        places = [place[i] for place in PLACES]
        for channel in range(3):
            expected = ndimage.map_coordinates(LABELS[i, ..., channel], places, order=0, mode=SCIPY[padding], cval=0)
            np.testing.assert_array_equal(result[i, ..., channel], expected)
    np.testing.assert_array_equal(nearest(labels[..., 0], continued(PLACES, SHAPE, padding)), result[..., 0])


@PADDING
def test_whole_voxels_outside_are_numpys_padding_bit_for_bit(padding):
    """As far as the image is long, both to its low and to its high end."""
    for sign in (-1, 1):
        steps = [sign * (n - 1) for n in SHAPE]
        places = continued([grid + step for grid, step in zip(GRID, steps, strict=True)], SHAPE, padding)
        constant = {"constant_values": BACKGROUND[0]} if padding == "background" else {}
        wide = np.pad(IMAGES[0], [(n - 1, n - 1) for n in SHAPE], mode=NUMPY[padding], **constant)
        window = tuple(slice(n - 1 + step, 2 * n - 1 + step) for n, step in zip(SHAPE, steps, strict=True))
        np.testing.assert_array_equal(resample(IMAGES, places, BACKGROUND)[0], wide[window])


@PADDING
def test_the_voxels_own_places_give_images_and_labels_exactly(padding):
    places = continued(GRID, SHAPE, padding)
    half = IMAGES.astype("float16")
    np.testing.assert_array_equal(resample(half, places, BACKGROUND), half.astype("float32"))
    np.testing.assert_array_equal(nearest(tf.constant(LABELS), places), LABELS)


def test_halfway_between_two_voxels_the_label_is_that_of_the_higher_index():
    labels = tf.reshape(tf.range(1, 1 + np.prod(SHAPE)), [1, *SHAPE])
    half = [grid[:1] + 0.5 for grid in GRID]
    expected = np.pad(labels[0, 1:, 1:, 1:], [(0, 1)] * 3)  # beyond the last voxel, outside
    np.testing.assert_array_equal(nearest(labels, half)[0], expected)
    just_below = [np.nextafter(place, -np.inf, dtype="float32") for place in half]
    np.testing.assert_array_equal(nearest(labels, just_below), labels)


@PADDING
def test_places_beyond_all_whole_numbers_are_outside_too(padding):
    far = [np.full((2, *SHAPE), value, "float32") for value in (1e6, -1e12, 3e38)]
    result = resample(IMAGES, continued(far, SHAPE, padding), BACKGROUND).numpy()
    if padding == "background":
        assert (result[0] == BACKGROUND[0]).all() and (result[1] == BACKGROUND[1]).all()
        assert not nearest(tf.constant(LABELS), far).numpy().any()
    elif padding == "border":
        np.testing.assert_array_equal(result[0], np.full(SHAPE, IMAGES[0, -1, 0, -1]))
    else:
        assert np.isfinite(result).all() and np.abs(result).max() <= np.abs(IMAGES).max()


def test_an_unknown_padding_is_refused():
    with pytest.raises(KeyError):
        continued([tf.zeros([1, *SHAPE])] * 3, SHAPE, "zeros")
