"""The steps that a person may ask for: channels, masks, the scan's own axes, MNI152, N4, the standard scale."""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from tfmri.errors import InputError
from tfmri.images.geometry import straightened, to_world
from tfmri.images.head import find_head
from tfmri.images.prepare import Preparation, prepare, prepare_files
from tfmri.images.read import Volume, read_volume
from tfmri.images.registration import Registration, template

SHAPE = (50, 56, 50)
GRID = {"spacing": (4, 4, 4), "shape": (40, 48, 40)}
RAW = Preparation(**GRID, normalise="none")


def with_(**settings):
    return Preparation(**GRID | {"normalise": "none"} | settings)


def sampled(volume, affine, shape):
    """What lies at the places of a grid, by SciPy."""
    indices = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    inside = np.linalg.inv(volume.affine)
    indices = indices @ inside[:3, :3].T + inside[:3, 3]
    return ndimage.map_coordinates(volume.data, np.moveaxis(indices, -1, 0), order=1, cval=0)


@pytest.fixture
def straight(head, grid):
    affine = grid((4, 4, 4), SHAPE)
    return Volume(head(affine, SHAPE), affine)


def test_channels_of_other_grids_are_resampled_onto_that_of_the_first(head, grid, straight):
    shape = (45, 50, 60)
    affine = grid((5, 4.5, 4.2), shape, (20, -10, 15), middle=np.add(head.centre, (5, 0, -8)))
    other = Volume(200 - head(affine, shape), affine)
    prepared = prepare([straight, other], with_(channels=2))
    assert prepared.image.shape == (40, 48, 40, 2) and len(prepared.background) == 2
    np.testing.assert_array_equal(prepared.image[..., 0], prepare(straight, RAW).image[..., 0])
    np.testing.assert_allclose(prepared.affine, prepare(straight, RAW).affine)
    expected = sampled(other, prepared.affine, prepared.image.shape[:3])
    inner = np.s_[8:-8, 8:-8, 8:-8]
    np.testing.assert_allclose(prepared.image[..., 1][inner], expected[inner], atol=0.2)
    assert [each["source_shape"] for each in prepared.done["channels"]] == [list(SHAPE), list(shape)]


def test_each_channel_is_normalised_by_itself(straight, grid, head):
    noisy = straight.data * np.random.default_rng(0).normal(1, 0.1, SHAPE).astype(np.float32)
    volumes = [Volume(noisy, straight.affine), Volume(1000 + 7 * noisy, straight.affine)]
    image = prepare(volumes, with_(channels=2, normalise="zscore")).image
    np.testing.assert_allclose(image[..., 0], image[..., 1], atol=0.02)


def test_a_wrong_number_of_channels_is_a_bug_and_not_an_image(straight):
    with pytest.raises(ValueError, match="2 channels"):
        prepare(straight, with_(channels=2))


def brain_in(volume, head):
    world = to_world(volume.affine, np.moveaxis(np.indices(volume.data.shape), 0, -1))
    return np.sqrt((((world - head.centre - (0, 0, 10)) / (40, 45, 35)) ** 2).sum(axis=-1)) < 1


def test_what_a_mask_leaves_out_is_background_and_does_not_count(head, straight):
    inside = brain_in(straight, head)
    data = np.minimum(straight.data, 150) * np.random.default_rng(0).normal(1, 0.1, SHAPE).astype(np.float32)
    whole, extracted = Volume(data, straight.affine), Volume(np.where(inside, data, 0), straight.affine)
    prepared = prepare(whole, with_(mask="file", normalise="zscore"), inside)
    assert prepared.mask.dtype == np.uint8 and prepared.mask.flags["C_CONTIGUOUS"]
    assert (prepared.image[prepared.mask == 0] == np.float16(prepared.background[0])).all()
    within = prepared.image[prepared.mask == 1].astype(np.float64)
    assert abs(within.mean()) < 0.02 and within.std() == pytest.approx(1, abs=0.02)
    assert prepared.done["mask_ml"] == pytest.approx(4 / 3 * np.pi * 4.0 * 4.5 * 3.5, rel=0.02)
    alone = prepare(extracted, with_(normalise="zscore"))
    np.testing.assert_allclose(prepared.affine, alone.affine)  # the grid stands around the brain
    core = ndimage.binary_erosion(prepared.mask, iterations=2)
    np.testing.assert_allclose(prepared.image[core], alone.image[core], atol=0.1)


def test_a_mask_on_an_oblique_grid_lands_where_it_lies_in_the_world(head, grid):
    shape = (60, 60, 60)
    affine = grid((3, 4, 3.5), shape, (15, 10, -20))
    volume = Volume(head(affine, shape), affine)
    prepared = prepare(volume, with_(mask="file"), brain_in(volume, head))
    there = Volume(np.zeros((40, 48, 40), np.float32), prepared.affine)
    differing = brain_in(there, head) != prepared.mask
    assert differing.sum() < 0.05 * prepared.mask.sum()


def test_the_mask_of_the_first_channel_holds_for_the_others(head, grid, straight):
    affine = grid((5, 5, 5), (44, 48, 44), (10, 0, 0))
    other = Volume(head(affine, (44, 48, 44)) + 5, affine)
    prepared = prepare([straight, other], with_(channels=2, mask="file", normalise="mean"), brain_in(straight, head))
    for channel, air in enumerate(prepared.background):
        assert (prepared.image[..., channel][prepared.mask == 0] == np.float16(air)).all()
        assert prepared.image[..., channel][prepared.mask == 1].min() > air


def test_images_that_do_not_overlap_are_no_channels_of_one_scan(head, straight, grid):
    affine = grid((4, 4, 4), SHAPE)
    far = affine.copy()
    far[0, 3] += 500
    other = Volume(head(affine, SHAPE), far)
    with pytest.raises(InputError, match="lies outside of it"):
        prepare([straight, other], with_(channels=2, mask="file"), brain_in(straight, head))
    with pytest.raises(InputError, match="are in the mask, or above the background"):
        prepare([straight, other], with_(channels=2))


def test_the_head_as_a_mask_takes_the_air_and_leaves_the_head(head, straight):
    noise = np.random.default_rng(0).rayleigh(4, SHAPE).astype(np.float32)
    prepared = prepare(Volume(straight.data + noise, straight.affine), with_(mask="head"))
    there = to_world(prepared.affine, np.moveaxis(np.indices((40, 48, 40)), 0, -1))
    distance = np.sqrt((((there - head.centre) / head.semi_axes) ** 2).sum(axis=-1))
    assert prepared.mask[distance < 0.9].all() and not prepared.mask[distance > 1.15].any()
    assert len(np.unique(prepared.image[distance > 1.15])) == 1


def test_along_its_own_axes_an_oblique_scan_comes_out_as_though_it_were_straight(head, grid):
    straight = grid((4, 4, 4), SHAPE, middle=(0, 0, 0))
    data = head(grid((4, 4, 4), SHAPE), SHAPE)
    oblique = grid((4, 4, 4), SHAPE, (12, -8, 20), middle=(0, 0, 0))
    one = prepare(Volume(data, straight), RAW)
    two = prepare(Volume(data, oblique), with_(orientation="scan"))
    np.testing.assert_array_equal(one.image, two.image)
    back = np.array(two.done["frame"]) @ two.affine  # from its indices to the world
    np.testing.assert_allclose(np.linalg.inv(oblique) @ back, np.linalg.inv(straight) @ one.affine, atol=1e-6)
    other = prepare(Volume(data, oblique), RAW)
    assert np.abs(other.image.astype(float) - one.image).max() > 10


def test_the_straightening_of_a_sheared_grid_is_a_rotation(grid):
    affine = grid((1, 2, 3), (8, 8, 8), (10, -5, 30))
    np.testing.assert_allclose(straightened(affine)[:3, :3], affine[:3, :3] / (1, 2, 3), atol=1e-12)
    affine[:3, 0] += 0.1 * affine[:3, 1]
    rotation = straightened(affine)[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.fixture
def onto(monkeypatch):
    """Has the registration find a given affine."""

    def to(matrix, quality=0.9):
        found = Registration(matrix, quality)
        monkeypatch.setattr("tfmri.images.prepare.register_to_template", lambda volume, head, mask: found)

    return to


def test_a_registered_scan_lies_on_the_templates_grid_after_one_interpolation(head, grid, onto):
    matrix = grid((1.1, 0.9, 1.05), (1, 1, 1), (10, -5, 8), middle=(12, -7, 5))
    affine = grid((3, 3.2, 2.8), (70, 70, 70), (-10, 5, 12))
    volume = Volume(head(affine, (70, 70, 70)), affine)
    onto(matrix)
    prepared = prepare(volume, with_(registration="mni152"))
    middle = to_world(prepared.affine, (np.array(prepared.image.shape[:3]) - 1) / 2)
    around = find_head(template())
    np.testing.assert_allclose(middle[:2], ((around.low + around.high) / 2)[:2], atol=4)
    excess = np.maximum(prepared.image[..., 0].astype(np.float64) - 130, 0)
    spot = to_world(prepared.affine, np.array(ndimage.center_of_mass(excess)))
    np.testing.assert_allclose(to_world(matrix, spot), head.spot, atol=0.4)
    assert prepared.done["registration"]["good"] is True
    np.testing.assert_allclose(prepared.done["registration"]["matrix"], matrix)
    other = prepare(Volume(volume.data, np.diag([1, 1, 1, 1.0]) @ affine), with_(registration="mni152"))
    np.testing.assert_array_equal(other.affine, prepared.affine)


def test_a_registration_of_low_quality_is_recorded_as_not_good(straight, onto):
    onto(np.eye(4), quality=0.01)
    assert prepare(straight, with_(registration="mni152")).done["registration"]["good"] is False


@pytest.mark.parametrize("mask", ["none", "head"])
def test_n4_takes_out_a_shade_from_each_channel_before_the_one_interpolation(head, grid, mask):
    affine, shape = grid((7, 7, 7), (27, 30, 27)), (27, 30, 27)
    data = np.minimum(head(affine, shape), 120) * np.random.default_rng(0).normal(1, 0.02, shape).astype(np.float32)
    x, y, z = np.indices(shape) / np.reshape(shape, (3, 1, 1, 1)) - 0.5
    volumes = [Volume(data * np.exp(shade).astype(np.float32), affine) for shade in (0.8 * x + 0.4 * z, -0.7 * y)]
    settings = {"spacing": (7, 7, 7), "shape": (24, 27, 24), "channels": 2, "mask": mask}
    shaded = prepare(volumes, with_(**settings)).image.astype(np.float64)
    corrected = prepare(volumes, with_(**settings, bias_correction="n4")).image.astype(np.float64)
    plain = prepare(Volume(data, affine), with_(**settings | {"channels": 1})).image[..., 0]
    inside = ndimage.binary_erosion(plain > 90, iterations=2) & (plain < 110)
    for channel in range(2):
        before, after = (image[..., channel][inside] for image in (shaded, corrected))
        assert after.std() / after.mean() < 0.4 * before.std() / before.mean()


def test_files_and_volumes_are_prepared_alike(tmp_path, head, straight):
    paths = [tmp_path / "t1.nii.gz", tmp_path / "flair.nii", tmp_path / "mask.nii.gz"]
    arrays = [straight.data, straight.data[::-1] + 3, brain_in(straight, head).astype(np.uint8)]
    for path, array in zip(paths, arrays, strict=True):
        nib.save(nib.Nifti1Image(array, straight.affine), path)
    settings = with_(channels=2, mask="file", normalise="zscore")
    one = prepare_files(paths[:2], paths[2], settings)
    two = prepare([read_volume(path) for path in paths[:2]], settings, arrays[2] > 0)
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.mask, two.mask)
    assert one.done == two.done


@pytest.mark.parametrize(
    "settings",
    [
        {"orientation": "ras"},
        {"bias_correction": "n3"},
        {"registration": "mni"},
        {"mask": "mri_synthstrip {scan}"},
        {"normalise": "minmax"},
        {"channels": 0},
        {"orientation": "scan", "registration": "mni152"},
    ],
)
def test_steps_that_do_not_exist_are_refused(settings):
    with pytest.raises(ValueError, match="is"):
        with_(**settings)
