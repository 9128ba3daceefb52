import numpy as np
import pytest
from scipy import ndimage

from tfmri.images.histogram import LANDMARKS, fit_standard, landmarks, map_to_standard


def image_and_mask(seed=0):
    rng = np.random.default_rng(seed)
    image = ndimage.gaussian_filter(rng.normal(size=(24, 28, 20)), 2) + 1
    return (100 * image).astype(np.float32), rng.uniform(size=image.shape) < 0.7


def reference(image, own, standard):
    """numpy.interp between the landmarks, and by hand the two lines beyond them."""
    own, standard = own.astype(np.float64), standard.astype(np.float64)
    result = np.interp(image.astype(np.float64), own, standard)
    for beyond, first, second in ((image < own[0], 0, 1), (image > own[-1], -1, -2)):
        slope = (standard[second] - standard[first]) / (own[second] - own[first])
        result[beyond] = standard[first] + slope * (image[beyond] - own[first])
    return result


def test_landmarks_are_percentiles_within_the_mask():
    image, mask = image_and_mask()
    image[~mask] = 1e6
    expected = np.quantile(image[mask], np.array(LANDMARKS) / 100)
    np.testing.assert_allclose(landmarks(image, mask), expected, rtol=1e-5)


def test_mapping_equals_numpy_interp_with_straight_ends():
    image, mask = image_and_mask()
    own = landmarks(image, mask)
    standard = np.sort(np.random.default_rng(1).uniform(-3, 3, own.shape)).astype(np.float32)
    image[0, 0, :4] = (-1e4, own[0] - 1, own[-1] + 1, 1e4)
    mapped = map_to_standard(image, own, standard)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, reference(image, own, standard), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(map_to_standard(own, own, standard), standard, atol=1e-5)


def test_a_scan_and_a_monotone_warp_of_it_come_out_alike():
    image, mask = image_and_mask()
    low, reach = image.min(), np.ptp(image)
    warps = [700 * ((image - low) / reach) ** power for power in (0.7, 1.5)]
    own = [landmarks(warp, mask) for warp in warps]
    standard = fit_standard(own)
    first, second = (map_to_standard(warp, mine, standard)[mask] for warp, mine in zip(warps, own, strict=True))
    before, after = np.abs(warps[0] - warps[1])[mask].mean(), np.abs(first - second).mean()
    assert after < before / 50


def test_the_standard_is_the_mean_of_landmarks_stretched_to_common_ends():
    own = [np.array(values, np.float32) for values in ([0, 1, 10], [100, 140, 200])]
    np.testing.assert_allclose(fit_standard(own), [50, 50 + 0.25 * 55, 105])
    np.testing.assert_allclose(fit_standard(own[:1]), own[0])


def test_landmarks_ascend_where_many_voxels_share_one_value():
    image = np.zeros((10, 10, 10), np.float32)
    image[:2] = 5000
    image[0, 0, :5] = 5001
    own = landmarks(image, np.ones(image.shape, bool))
    assert (np.diff(own) > 0).all()
    assert np.isfinite(map_to_standard(image, own, np.linspace(0, 1, len(own), dtype=np.float32))).all()


def test_no_landmarks_without_intensities():
    image, mask = image_and_mask()
    with pytest.raises(ValueError, match="empty"):
        landmarks(image, np.zeros_like(mask))
    with pytest.raises(ValueError, match="constant"):
        landmarks(np.ones_like(image), mask)
    with pytest.raises(ValueError, match="at least one"):
        fit_standard([])
