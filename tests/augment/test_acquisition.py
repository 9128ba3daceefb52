"""Artefacts of acquisition against NumPy's Fourier transform, SciPy and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage, stats

from tfmri.augment.apply import make_augment
from tfmri.augment.cutout import in_boxes
from tfmri.augment.kspace import circulant, ghost_lines, kept_lines, lines, plane_waves, weighted
from tfmri.augment.motion import motion, segment_of_lines, times_of_change
from tfmri.augment.recipe import parse_recipe, weakened
from tfmri.augment.sampling import sample_parameters
from tfmri.augment.slices import slice_matrix, thick_slices
from tfmri.augment.transform import Scan
from tfmri.augment.transforms.acquisition import Cutout, Ghosting, Gibbs, LowResolution, Motion, Spike

SHAPE, SPACING = (9, 12, 10), (1.5, 1.0, 2.0)
AIR = -0.5
RNG = np.random.default_rng(7)
IMAGE = RNG.uniform(AIR, 1, SHAPE).astype("float32")
SEEDS = tf.constant([[i, 3 * i + 1] for i in range(600)], tf.int32)
NAMES = ("low_resolution", "gibbs", "ghosting", "motion", "spike", "cutout")
AXES = [0, 1, 2]


def scan(background=AIR):
    number = tf.fill([1, 1, 1, 1], float(background))
    return Scan(number, tf.ones([1, 1, 1, 1]), number, SPACING)


def applied(transform, drawn, image=IMAGE):
    """What `transform` makes of one image of `drawn` numbers and randoms."""
    drawn = {name: tf.convert_to_tensor(value) for name, value in drawn.items()}
    return transform.apply(tf.constant(image)[None], drawn, scan())[0].numpy()


def number(value):
    return np.full((1, 1, 1, 1), value, "float32")


def spectrum(image, axis):
    return np.fft.fftshift(np.fft.fft(image.astype(float), axis=axis), axis)


def from_spectrum(values, axis):
    return np.fft.ifft(np.fft.ifftshift(values, axis), axis=axis)


def of_axis(weights, axis):
    return np.reshape(weights, np.roll([len(weights), 1, 1], axis))


# Lines of k-space


@pytest.mark.parametrize("axis", AXES)
def test_weights_of_lines_are_those_of_numpys_spectrum(axis):
    weights = RNG.uniform(size=SHAPE[axis]).astype("float32")
    expected = from_spectrum(spectrum(IMAGE, axis) * of_axis(weights, axis), axis).real
    np.testing.assert_allclose(weighted(tf.constant(IMAGE), axis, weights), expected, atol=2e-6)


def test_a_circulant_matrix_has_the_imaginary_part_too():
    weights = RNG.uniform(size=(2, 9)).astype("float32")
    matrices = circulant(weights).numpy() + 1j * circulant(weights, imaginary=True).numpy()
    values = RNG.normal(size=9)
    expected = [from_spectrum(spectrum(values, 0) * w, 0) for w in weights]
    np.testing.assert_allclose(matrices @ values, expected, atol=1e-6)


@pytest.mark.parametrize("voxels", [9, 12])
def test_lines_beyond_the_cutoff_are_cut(voxels):
    """Of a single bright voxel Dirichlet's kernel is left."""
    highest = int(0.7 * voxels / 2)
    bright = np.zeros((voxels, 2, 2), "float32")
    bright[0] = 1
    result = weighted(tf.constant(bright), 0, kept_lines(voxels, tf.constant(0.7))).numpy()[:, 0, 0]
    half_angle = np.pi * np.arange(1, voxels) / voxels
    kernel = np.sin((2 * highest + 1) * half_angle) / np.sin(half_angle) / voxels
    np.testing.assert_allclose(result, [(2 * highest + 1) / voxels, *kernel], atol=1e-6)


def test_an_edge_overshoots_by_nine_per_cent():
    """Gibbs' phenomenon: (2/π) Si(π) - 1 of half the step, whatever the cutoff."""
    box = np.zeros((512, 2, 2), "float32")
    box[128:384] = 1
    result = weighted(tf.constant(box), 0, kept_lines(512, tf.constant(0.1))).numpy()
    assert result.max() - 1 == pytest.approx(0.0895, abs=0.003)
    assert result.mean() == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("all_axes", [True, False])
def test_gibbs_along_all_axes_leaves_a_box_of_kspace_and_along_one_a_slab(all_axes):
    drawn = {"cutoff": number(0.6)} | ({} if all_axes else {"axis": [1]})
    mask = 1.0
    for axis in AXES if all_axes else [1]:
        mask = mask * of_axis(np.abs(lines(SHAPE[axis])) <= 0.6 * SHAPE[axis] / 2, axis)
    whole = np.fft.fftshift(np.fft.fftn(IMAGE.astype(float))) * mask
    expected = np.fft.ifftn(np.fft.ifftshift(whole))
    assert np.abs(expected.imag).max() < 1e-12
    np.testing.assert_allclose(applied(Gibbs(all_axes=all_axes), drawn), expected.real, atol=2e-6)


@pytest.mark.parametrize(("axis", "ghosts"), [(1, 4), (1, 3), (2, 5), (0, 3)])
def test_ghosts_are_copies_at_equal_distances_and_the_mean_is_kept(axis, ghosts):
    """A comb in k-space is a comb in the image; the restored centre gives the mean along the axis back."""
    n = SHAPE[axis]
    copies = np.mean([np.roll(IMAGE, m * n // ghosts, axis) for m in range(ghosts)], axis=0, dtype=float)
    expected = IMAGE - 0.7 * copies + 0.7 * IMAGE.mean(axis=axis, keepdims=True, dtype=float)
    drawn = {"ghosts": number(ghosts), "intensity": number(0.7), "restore": number(0), "axis": [axis]}
    result = applied(Ghosting(), drawn)
    np.testing.assert_allclose(result, expected, atol=2e-6)
    np.testing.assert_allclose(result.mean(axis), IMAGE.mean(axis), atol=1e-6)


def test_the_centre_of_kspace_is_restored():
    weights = ghost_lines(20, tf.constant(3.0), tf.constant(0.6), tf.constant(0.35)).numpy()
    weak = lines(20)[np.isclose(weights, 0.4)]
    np.testing.assert_array_equal(weak, [-9, -6, 6, 9])
    assert (weights[~np.isin(lines(20), weak)] == 1).all()


def test_numbers_of_ghosts_are_whole_and_all_as_likely():
    drawn = sample_parameters((Ghosting(ghosts=(3, 7)),), SEEDS)["ghosting"]["ghosts"].numpy()
    values, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(values, [3, 4, 5, 6, 7])
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_weaker_ghost_is_as_often_repeated():
    weak = weakened(Ghosting(), 0.5)
    assert weak.ghosts == Ghosting().ghosts and weak.intensity == (0.15, 0.5)


# Spikes


def test_a_spike_is_a_point_of_kspace():
    places, phases = RNG.uniform(size=(3, 3)).astype("float32"), RNG.uniform(size=3).astype("float32")
    kspace = np.zeros(SHAPE, complex)
    for place, phase in zip(places, phases, strict=True):
        kspace[tuple(np.floor(place * SHAPE).astype(int))] += np.prod(SHAPE) * np.exp(2j * np.pi * phase)
    expected = np.fft.ifftn(np.fft.ifftshift(kspace)).real
    np.testing.assert_allclose(plane_waves(SHAPE, tf.constant(places), tf.constant(phases)), expected, atol=1e-5)


def test_a_spike_in_the_centre_of_kspace_is_left_out():
    assert (plane_waves(SHAPE, tf.constant([[0.5, 0.5, 0.5]]), tf.constant([0.2])).numpy() == 0).all()


def test_a_spike_has_its_share_of_the_highest_magnitude_of_the_spectrum():
    drawn = {"intensity": number(0.3), "places": np.float32([[[0.9, 0.2, 0.7]]]), "phases": np.float32([[0.1]])}
    added = np.fft.fftn(applied(Spike(), drawn) - IMAGE.astype(float))
    # the real part of a point is two points of half its height
    assert np.abs(added).max() * 2 == pytest.approx(0.3 * np.abs(np.fft.fftn(IMAGE - AIR)).max(), rel=1e-4)
    assert (np.abs(added) > 1e-2 * np.abs(added).max()).sum() == 2


# Thick slices


def thickened(values, axis, thickness):
    """Blurred, down and up again by SciPy and NumPy."""
    voxels, ratio = np.arange(values.shape[axis]), thickness / SPACING[axis]
    sigma = np.sqrt(ratio**2 - 1) / 2.3548200450309493
    blur = [ndimage.gaussian_filter1d(each, sigma, axis, mode="constant", truncate=99)
            for each in (values.astype(float), np.ones(values.shape))]  # fmt: skip
    slices = np.arange(len(voxels)) * ratio

    def down_and_up(line):
        return np.interp(voxels, slices, np.interp(slices, voxels, line))

    return np.apply_along_axis(down_and_up, axis, blur[0] / blur[1])


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("thickness", [2.3, 5.0])
def test_thick_slices_are_what_scipy_makes_of_them(axis, thickness):
    result = thick_slices(tf.constant(IMAGE), axis, tf.constant(thickness), SPACING[axis])
    np.testing.assert_allclose(result, thickened(IMAGE, axis, thickness), atol=2e-6)


@pytest.mark.parametrize("thickness", [1.0001, 3.0, 500.0])
def test_thick_slices_keep_constants(thickness):
    np.testing.assert_allclose(tf.reduce_sum(slice_matrix(12, tf.constant(thickness)), axis=1), 1, atol=1e-6)


def test_slices_no_thicker_than_the_voxels_change_nothing():
    for axis in AXES:
        result = thick_slices(tf.constant(IMAGE), axis, tf.constant(SPACING[axis]), SPACING[axis])
        np.testing.assert_array_equal(result, IMAGE)
    drawn = {"thickness": number(1.7), "axis": [2]}
    np.testing.assert_array_equal(applied(LowResolution(), drawn), IMAGE)


def test_low_resolution_of_all_axes_is_that_of_each_in_turn():
    expected = IMAGE
    for axis in AXES:
        expected = thickened(expected, axis, 3.0)
    np.testing.assert_allclose(applied(LowResolution(all_axes=True), {"thickness": number(3)}), expected, atol=2e-6)
    one = thickened(IMAGE, 1, 3.0)
    np.testing.assert_allclose(applied(LowResolution(), {"thickness": number(3), "axis": [1]}), one, atol=2e-6)


# Motion

TIMES = np.float32([0.22, 0.46, 0.82])
HEAD = np.full(SHAPE, AIR, "float32")
HEAD[3:6, 4:8, 3:7] = RNG.uniform(0, 1, (3, 4, 4))


def moved_by(axis, rotation, translation, image=HEAD):
    arguments = (tf.constant(np.float32(each)) for each in (rotation, translation))
    return motion(image[None], AXES, tf.constant([axis]), *arguments, TIMES, tf.fill([1] * 4, AIR), SPACING)[0].numpy()


def put_together(images, axis):
    """Magnitude of k-space whose lines were measured in the segments of TIMES, one of each image."""
    ends = [-np.inf, *((TIMES - 0.5) * SHAPE[axis]), np.inf]
    whole = np.zeros(SHAPE, complex)
    for image, start, end in zip(images, ends[:-1], ends[1:], strict=True):
        inside = of_axis((lines(SHAPE[axis]) >= start) & (lines(SHAPE[axis]) < end), axis)
        whole += spectrum(image - AIR, axis) * inside
    return np.abs(from_spectrum(whole, axis)) + AIR


def test_a_head_that_does_not_move_stays_exactly():
    np.testing.assert_array_equal(moved_by(1, np.zeros((4, 3)), np.zeros((4, 3))), HEAD)
    np.testing.assert_allclose(moved_by(1, np.full((4, 3), 1e-9), np.zeros((4, 3))), HEAD, atol=1e-5)
    in_the_centre = np.array([[0, 0, 0], [0, 0, 0], [9, 9, 9], [0, 0, 0]])
    np.testing.assert_array_equal(moved_by(0, in_the_centre, in_the_centre), HEAD)


@pytest.mark.parametrize("axis", AXES)
def test_one_shift_in_all_segments_is_a_phase_ramp_outside_the_centre_of_kspace(axis):
    """Two voxels along the axis, whose Fourier shift leaves the lines of the third segment, with the centre, alone."""
    shift = np.zeros((4, 3))
    shift[:, axis] = 2 * SPACING[axis]
    n = SHAPE[axis]
    ramp = np.exp(-2j * np.pi * lines(n) * 2 / n)
    still = (lines(n) >= (TIMES[1] - 0.5) * n) & (lines(n) < (TIMES[2] - 0.5) * n)
    values = spectrum(HEAD - AIR, axis) * of_axis(np.where(still, 1, ramp), axis)
    expected = np.abs(from_spectrum(values, axis)) + AIR
    np.testing.assert_allclose(moved_by(axis, np.zeros((4, 3)), shift), expected, atol=1e-5)


@pytest.mark.parametrize("axis", AXES)
def test_segments_come_from_poses_that_scipy_resamples(axis):
    rotation, translation = RNG.uniform(-20, 20, (4, 3)), RNG.uniform(-3, 3, (4, 3))
    images = [HEAD.astype(float)] * 4
    for segment in (0, 1, 3):
        a, b, c = np.radians(rotation[segment])
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
        about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
        mm = np.diag(SPACING)
        back = np.linalg.inv(mm) @ (about_z @ about_y @ about_x).T @ mm
        centre = (np.array(SHAPE) - 1) / 2
        offset = centre - back @ (centre + translation[segment] / SPACING)
        images[segment] = ndimage.affine_transform(
            HEAD.astype(float), back, offset, order=1, mode="grid-constant", cval=AIR
        )
    expected = put_together(images, axis)
    result = moved_by(axis, rotation, translation)
    np.testing.assert_allclose(result, expected, atol=2e-5)
    assert np.abs(result - HEAD).max() > 0.1 and result.min() >= AIR


def test_the_settings_of_motion_bound_its_poses():
    randoms = {
        "turns": RNG.uniform(size=(1, 4, 3)),
        "shifts": RNG.uniform(size=(1, 4, 3)),
        "times": np.full((1, 3), 0.5),
    }
    randoms = {name: np.float32(value) for name, value in randoms.items()}
    result = applied(Motion(), {"rotation": number(8), "translation": number(3), "axis": [2], **randoms}, HEAD)
    turns, shifts = 8 * (2 * randoms["turns"][0] - 1), 3 * (2 * randoms["shifts"][0] - 1)
    arguments = (
        tf.constant(turns),
        tf.constant(shifts),
        tf.constant([0.25, 0.5, 0.75]),
        tf.fill([1] * 4, AIR),
        SPACING,
    )
    np.testing.assert_array_equal(result, motion(HEAD[None], AXES, tf.constant([2]), *arguments)[0])


def test_segments_follow_each_other_and_take_about_equal_shares():
    np.testing.assert_array_equal(segment_of_lines(10, TIMES), [0, 0, 0, 1, 1, 2, 2, 2, 2, 3])
    for voxels in (9, 10):  # the pose at half time is that of the centre of k-space
        assert segment_of_lines(voxels, tf.constant([0.5]))[voxels // 2] == 1
        assert segment_of_lines(voxels, tf.constant([0.51]))[voxels // 2] == 0
    lowest, highest = times_of_change(tf.zeros([4])).numpy(), times_of_change(tf.ones([4])).numpy()
    np.testing.assert_allclose(lowest, [0.14, 0.34, 0.54, 0.74], atol=1e-6)
    np.testing.assert_allclose(highest, [0.26, 0.46, 0.66, 0.86], atol=1e-6)


# Cutout


def test_boxes_hold_the_voxels_whose_centres_they_hold():
    size, places = RNG.uniform(0, 9, (5, 3)), RNG.uniform(size=(5, 3, 3))
    result = in_boxes(SHAPE, SPACING, tf.constant(np.float32(size)), tf.constant(np.float32(places))).numpy()
    centres = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) * mm for n, mm in zip(SHAPE, SPACING, strict=True)],
                                   indexing="ij"), axis=-1)  # fmt: skip
    field_of_view = np.array(SHAPE) * SPACING
    for sample in range(5):
        start = places[sample] * (field_of_view - size[sample])
        distance = centres[..., None, :] - start
        expected = ((distance >= 0) & (distance < size[sample])).all(axis=-1).any(axis=-1)
        np.testing.assert_array_equal(result[sample], expected)


def test_boxes_lie_inside_the_image_and_are_no_larger():
    ends = tf.constant([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]])
    size = tf.constant([[3.0, 2.0, 4.0]])
    inside = in_boxes(SHAPE, SPACING, size, ends).numpy()[0]
    assert inside.sum() == 2 * 2**3 and inside[:2, :2, :2].all() and inside[-2:, -2:, -2:].all()
    assert in_boxes(SHAPE, SPACING, tf.fill([1, 3], 500.0), ends).numpy().all()


@pytest.mark.parametrize("fill", ["background", "mean", "noise"])
def test_boxes_are_filled(fill):
    transform = Cutout(fill=fill)
    drawn = {name: value[:1] for name, value in sample_parameters((transform,), SEEDS)["cutout"].items()}
    inside = in_boxes(SHAPE, SPACING, tf.fill([1, 3], 6.0), drawn["places"]).numpy()[0]
    result = applied(transform, drawn | {"size": tf.fill([1, 3], 6.0)})
    np.testing.assert_array_equal(result[~inside], IMAGE[~inside])
    if fill == "noise":
        assert stats.kstest(result[inside], "uniform", (AIR, 1 - AIR)).pvalue > 1e-3
    else:
        np.testing.assert_allclose(result[inside], AIR if fill == "background" else IMAGE.mean(), rtol=1e-5)


# In recipes: one program for all


def augmented(images, background=AIR, **settings):
    """A batch of six after all of them, with `settings` of each."""
    recipe = parse_recipe([{name: {"probability": 1.0, **settings.get(name, {})}} for name in NAMES])
    augment = make_augment(recipe, SHAPE, SPACING)
    return augment(tf.constant(images[..., None]), BATCH_SEEDS, tf.fill([len(images)], background))[..., 0].numpy()


BATCH_SEEDS = SEEDS[6:12]
BATCH = RNG.uniform(AIR, 1, (6, *SHAPE)).astype("float32")
NEUTRAL = {
    "low_resolution": {"thickness": [0, 1]},
    "gibbs": {"cutoff": [1, 1]},
    "ghosting": {"intensity": 0},
    "motion": {"rotation": 0, "translation": 0},
    "spike": {"intensity": 0},
    "cutout": {"size": [0, 0]},
}


def test_what_no_sample_draws_and_what_changes_nothing_give_the_input_bit_for_bit():
    never = {name: {"probability": 0.0} for name in NAMES}
    assert augmented(BATCH, **never).tobytes() == BATCH.tobytes()
    assert augmented(BATCH, **NEUTRAL).tobytes() == BATCH.tobytes()


@pytest.mark.parametrize("only", NAMES)
def test_each_changes_the_samples_that_draw_it_and_no_others(only):
    settings = {name: {"probability": 0.0} for name in NAMES} | {only: {"probability": 0.4}}
    settings["ghosting"] |= {"ghosts": [2, 3]}  # nine lines have no tenth
    result = augmented(BATCH, **settings)
    recipe = parse_recipe([{only: {"probability": 0.4}}])
    drawn = sample_parameters(recipe, BATCH_SEEDS)[only]["drawn"].numpy()
    assert 0 < drawn.sum() < 6
    np.testing.assert_array_equal((result != BATCH).any(axis=(1, 2, 3)), drawn)


def test_all_stay_finite_for_any_settings_and_images():
    rng = np.random.default_rng(3)
    flat = BATCH.copy()
    flat[0], flat[1], flat[2] = AIR, 2.5, 0
    flat[3, 4, 5, 6] = 1e4

    def two(low, high):
        return sorted(float(each) for each in rng.uniform(low, high, 2))

    ends = [
        {"low_resolution": {"thickness": [50, 50]}, "gibbs": {"cutoff": [0.05, 0.05]}, "ghosting": {"intensity": 1,
         "ghosts": [2, 2]}, "motion": {"rotation": 180, "translation": 100}, "spike": {"intensity": 10},
         "cutout": {"size": [500, 500]}},
        {"ghosting": {"ghosts": [64, 64], "restore": [1, 1]}, "low_resolution": {"thickness": [1.0001, 1.0001]}},
    ]  # fmt: skip
    drawn = [
        {
            "low_resolution": {"thickness": two(0, 50)},
            "gibbs": {"cutoff": two(0.05, 1)},
            "ghosting": {"intensity": two(0, 1), "ghosts": sorted(int(n) for n in rng.integers(2, 65, 2))},
            "motion": {"rotation": two(0, 180), "translation": two(0, 100)},
            "spike": {"intensity": two(0, 10)},
            "cutout": {"size": two(0, 500)},
        }
        for _ in range(12)
    ]
    for settings in [*ends, *drawn]:
        assert np.isfinite(augmented(flat, **settings)).all()


def test_an_image_of_air_stays_one():
    quiet = augmented(np.full_like(BATCH, AIR))
    np.testing.assert_allclose(quiet, AIR, atol=1e-6)


@pytest.mark.parametrize("transform", [LowResolution, Gibbs, Ghosting, Motion])
def test_the_axis_is_one_of_those_allowed(transform):
    for allowed in (("y",), ("x", "z")):
        (drawn,) = sample_parameters((transform(axes=allowed),), SEEDS).values()
        assert set(drawn["axis"].numpy()) == {"xyz".index(axis) for axis in allowed}


@pytest.mark.parametrize("transform", [LowResolution(), Gibbs(), Ghosting()])
def test_nothing_happens_across_the_axis(transform):
    """What varies along x alone is no different from a constant to a change along y."""
    profile = np.broadcast_to(IMAGE[:, :1, :1], SHAPE).astype("float32")
    settings = {"thickness": 4.0, "cutoff": 0.5, "ghosts": 2.0, "intensity": 1.0, "restore": 0.0}
    drawn = {name: number(value) for name, value in settings.items()}
    only_y = replace(transform, axes=("y",))
    np.testing.assert_allclose(applied(only_y, drawn | {"axis": [1]}, profile), profile, atol=1e-6)
    assert np.abs(applied(transform, drawn | {"axis": [0]}, profile) - profile).max() > 0.01
