import numpy as np
import pytest
from scipy import ndimage

from tfmri.images.bias_field import correct_bias_field
from tfmri.images.mask import block_means
from tfmri.images.read import Volume
from tfmri.images.registration import template


def noisy_brain(spacing):
    """The template on blocks of `spacing` mm."""
    brain = block_means(template().data, np.full(3, spacing))
    return np.abs(700 * brain + np.random.default_rng(0).normal(0, 5, brain.shape)).astype(np.float32)


def tissues(spacing):
    """(bool) the blocks that hold hardly anything but white, and grey, matter."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_wm_template

    return [
        block_means((np.asarray(load(resolution=1).dataobj) > least).astype(np.float32), np.full(3, spacing)) > 0.9
        for load, least in ((load_mni152_wm_template, 0.9), (load_mni152_gm_template, 0.6))
    ]


def field(shape, spread):
    """A smooth field whose logarithm has that standard deviation."""
    points = np.random.default_rng(2).normal(size=(4, 4, 4))
    logarithm = ndimage.zoom(points, np.array(shape) / 4, order=3)
    return np.exp(spread * logarithm / logarithm.std()).astype(np.float32)


def variation(image, tissue):
    return image[tissue].std() / image[tissue].mean()


def test_n4_takes_out_most_of_a_known_field_and_leaves_an_even_image_alone():
    brain, (white, grey) = noisy_brain(3), tissues(3)
    affine = np.diag([3.0, 3, 3, 1])
    assert min(white.sum(), grey.sum()) > 100
    bias = field(brain.shape, 0.2)
    biased = Volume(brain * bias, affine)
    corrected = correct_bias_field(biased)
    assert variation(corrected.data, white) < variation(biased.data, white) / 2.5
    assert variation(corrected.data, grey) < variation(biased.data, grey) / 1.3
    found = np.log(biased.data[white] / corrected.data[white])
    assert np.corrcoef(found, np.log(bias[white]))[0, 1] > 0.95

    untouched = correct_bias_field(Volume(brain, affine))
    assert np.log(untouched.data[white | grey] / brain[white | grey]).std() < 0.05
    assert variation(untouched.data, white) < 1.25 * variation(brain, white)


def test_grid_mean_and_bits_stay():
    brain = noisy_brain(8)
    affine, mask = np.diag([8.0, 8, 8, 1]), brain > 100
    volume = Volume(brain * field(brain.shape, 0.1), affine)
    corrected, again = (correct_bias_field(volume, mask) for _ in range(2))
    assert corrected.data.tobytes() == again.data.tobytes()
    assert corrected.data.dtype == np.float32
    np.testing.assert_array_equal(corrected.affine, affine)
    assert corrected.data[mask].mean() == pytest.approx(volume.data[mask].mean(), rel=1e-4)


def test_a_mask_without_anything_bright_is_refused():
    volume = Volume(np.zeros((8, 8, 8), np.float32), np.eye(4))
    with pytest.raises(ValueError, match="nothing"):
        correct_bias_field(volume, np.ones((8, 8, 8), bool))
    with pytest.raises(ValueError, match="shape"):
        correct_bias_field(volume, np.ones((4, 8, 8), bool))
