import numpy as np
import pytest

from tfmri.images.montage import montage


def marked(*voxel):
    image = np.zeros((10, 12, 14), np.float32)
    image[voxel] = 1
    return image[np.newaxis]


def brightest(picture):
    return np.unravel_index(np.argmax(picture), picture.shape)


def test_right_is_right_and_front_is_up_in_axial_planes():
    row, column = brightest(montage(marked(9, 11, 7)))
    assert (row, column) == (0, 9)


def test_three_planes_stand_side_by_side():
    assert montage(marked(0, 0, 0), planes="three").shape == (14, 10 + 10 + 12)
    assert brightest(montage(marked(9, 6, 13), planes="three")) == (0, 10 + 9)  # coronal: right, up
    assert brightest(montage(marked(5, 11, 0), planes="three")) == (13, 20 + 11)  # sagittal: front on the right, down


@pytest.mark.parametrize(("count", "columns", "size"), [(5, 2, (36, 20)), (5, 9, (12, 50)), (4, None, (24, 30))])
def test_images_stand_row_by_row(count, columns, size):
    images = np.zeros((count, 10, 12, 14, 1), np.float16)
    for number in range(count):
        images[number, number] = 1  # a bright line at x = number
    picture = montage(images, columns)
    assert picture.shape == size
    columns = size[1] // 10
    for number in range(count):
        top, left = number // columns * 12, number % columns * 10
        assert set(np.argwhere(picture[top : top + 12, left : left + 10])[:, 1]) == {number}


def test_one_hot_voxel_and_a_change_of_scale_leave_the_picture_as_it_was():
    image = np.random.default_rng(0).uniform(0, 1, (1, 20, 20, 20)).astype(np.float32)
    hot = image.copy()
    hot[0, 0, 0, 0] = 1e6
    np.testing.assert_allclose(montage(image).astype(int), montage(hot), atol=1)
    np.testing.assert_allclose(montage(image).astype(int), montage(image * 7 - 3), atol=1)


def test_a_constant_image_is_black():
    assert not montage(np.ones((1, 4, 4, 4))).any()


@pytest.mark.parametrize("shape", [(4, 4, 4), (0, 4, 4, 4), (2, 4, 4, 4, 2, 1)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="montage is made of"):
        montage(np.ones(shape))


def test_of_several_channels_the_first_is_shown():
    images = np.random.default_rng(0).normal(size=(3, 6, 7, 8, 2))
    np.testing.assert_array_equal(montage(images), montage(images[..., 0]))
