"""Against NumPy and SciPy, with coordinates found the long way round: forward matrices in mm, inverted numerically."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage
from scipy.interpolate import BSpline
from scipy.spatial.transform import Rotation

from tfmri.augment.apply import apply_parameters, make_augment
from tfmri.augment.coordinates import coordinates
from tfmri.augment.recipe import keys_of
from tfmri.augment.sampling import sample_parameters
from tfmri.augment.transforms.spatial import Affine, Diffeomorphic, Elastic, Flip, Shift, Zoom

SHAPE, SPACING, BACKGROUND = (9, 12, 10), (1.5, 1.0, 2.0), -0.75
RNG = np.random.default_rng(3)
IMAGE = RNG.normal(size=SHAPE).astype("float32")
PADDINGS = {"background": "constant", "border": "edge", "reflect": "reflect"}  # NumPy's names
PADDING = pytest.mark.parametrize("padding", PADDINGS)
CUBE = ((7, 7, 7), (2.0, 2.0, 2.0))


def moved(*steps, image=IMAGE, spacing=SPACING, padding="background"):
    """`image` after `steps`, each a transform and what its one sample drew; the transforms without their numbers."""
    recipe = tuple(transform.without_numbers(spacing) for transform, _ in steps)
    parameters = {
        key: {name: tf.constant(np.asarray(value)[None]) for name, value in drawn.items()}
        for key, (_, drawn) in zip(keys_of(recipe), steps, strict=True)
    }
    [result] = apply_parameters(
        recipe, [tf.constant(image[None])], parameters, tf.constant([BACKGROUND]), spacing, padding
    )
    return result[0].numpy()


def flip(*axes, drawn=True):
    return Flip(axes=("x", "y", "z")), {"drawn": [drawn and axis in axes for axis in "xyz"]}


def affine(scale=(1, 1, 1), shear=(0, 0, 0), rotation=(0, 0, 0), translation=(0, 0, 0), drawn=True):
    numbers = {"scale": scale, "shear": shear, "rotation": rotation, "translation": translation}
    return Affine(), {"drawn": drawn, **{name: np.float32(value) for name, value in numbers.items()}}


def elastic(displacement, control, drawn=True, interpolation="spline"):
    transform = Elastic(control_points=control.shape[-1], interpolation=interpolation)
    return transform, {"drawn": drawn, "displacement": np.float32(displacement), "control": np.float32(control)}


def diffeomorphic(displacement, control, drawn=True):
    transform = Diffeomorphic(control_points=control.shape[-1])
    return transform, {"drawn": drawn, "displacement": np.float32(displacement), "control": np.float32(control)}


def zoom(factor, position, drawn=True):
    return Zoom(), {"drawn": drawn, "factor": np.float32(factor), "position": np.float32(position)}


def shift(*voxels, drawn=True):
    return Shift(), {"drawn": drawn, "voxels": np.float32(voxels)}


def forward(sign=(1, 1, 1), scale=(1, 1, 1), shear=(0, 0, 0), rotation=(0, 0, 0), translation=(0, 0, 0)):
    """(4, 4): what happens to a point of the head, in mm from the centre: mirror, scale, shear, rotate, move."""
    sheared = np.eye(3)
    sheared[np.triu_indices(3, 1)] = np.tan(np.radians(shear))
    matrix = np.eye(4)
    rotated = Rotation.from_euler("xyz", rotation, degrees=True).as_matrix()
    matrix[:3, :3] = rotated @ sheared @ np.diag(scale) @ np.diag(sign)
    matrix[:3, 3] = translation
    return matrix


def voxel_matrix(matrix, shape=SHAPE, spacing=SPACING):
    """Output voxel to input voxel, (4, 4), where `matrix` is what happens to the head."""
    to_mm = np.diag([*spacing, 1.0])
    to_mm[:3, 3] = -np.array(spacing) * (np.array(shape) - 1) / 2
    return np.linalg.inv(to_mm) @ np.linalg.inv(matrix) @ to_mm


CONTROL = RNG.uniform(size=(3, 5, 5, 5))
NOTHING = {
    "flip": flip(),
    "affine": affine(),
    "elastic": elastic(0, CONTROL),
    "elastic, linear": elastic(0, CONTROL, interpolation="linear"),
    "diffeomorphic": diffeomorphic(0, CONTROL),
    "zoom": zoom(1, (0.1, 0.9, 0.5)),
    "shift": shift(0, 0, 0),
}
NOT_DRAWN = {
    "flip": flip("x", "y", "z", drawn=False),
    "affine": affine((1.3, 0.6, 0.9), (20, -30, 5), (30, 90, -45), (9, -4, 1), drawn=False),
    "elastic": elastic(3, CONTROL, drawn=False),
    "elastic, linear": elastic(3, CONTROL, drawn=False, interpolation="linear"),
    "diffeomorphic": diffeomorphic(3, CONTROL, drawn=False),
    "zoom": zoom(1.3, (0.1, 0.9, 0.5), drawn=False),
    "shift": shift(2, -1, 1, drawn=False),
}


STILL = pytest.mark.parametrize("steps", [NOTHING, NOT_DRAWN], ids=["neutral", "not drawn"])


@STILL
@pytest.mark.parametrize("name", NOTHING)
def test_a_transform_that_changes_nothing_gives_the_input_exactly(steps, name):
    half = IMAGE.astype("float16")
    np.testing.assert_array_equal(moved(steps[name], image=half, spacing=(0.7, 1.1, 3.3)), half.astype("float32"))


@STILL
@PADDING
def test_many_transforms_that_change_nothing_give_the_input_exactly(steps, padding):
    half = IMAGE.astype("float16")
    np.testing.assert_array_equal(moved(*steps.values(), image=half, padding=padding), half.astype("float32"))


@pytest.mark.parametrize("axes", ["x", "y", "z", "xz", "xyz"])
def test_flip_is_numpys_flip(axes):
    np.testing.assert_array_equal(moved(flip(*axes)), np.flip(IMAGE, ["xyz".index(axis) for axis in axes]))


def test_a_flip_along_x_brings_what_is_right_to_the_left():
    head = np.zeros(SHAPE, "float32")
    head[7, 3, 4] = 1  # in RAS+ the right is at high x
    assert np.argwhere(moved(flip("x"), image=head) == 1).tolist() == [[1, 3, 4]]


def test_a_translation_by_whole_voxels_moves_the_head_in_the_positive_direction():
    expected = np.full(SHAPE, BACKGROUND, "float32")
    expected[2:, :-3, :] = IMAGE[:-2, 3:, :]
    np.testing.assert_array_equal(moved(affine(translation=(3.0, -3.0, 0))), expected)


@pytest.mark.parametrize(
    ("axis", "plane", "lands"), [("x", (1, 2), (5, 3, 6)), ("y", (2, 0), (4, 6, 1)), ("z", (0, 1), (0, 5, 4))]
)
def test_a_rotation_by_90_degrees_is_numpys_rot90_and_moves_a_marker_where_it_should(axis, plane, lands):
    """About the centre (3, 3, 3): about x, for one, y goes to z and z to -y."""
    shape, spacing = CUBE
    cube = RNG.normal(size=shape).astype("float32")
    cube[5, 6, 4] = 9
    turned = moved(affine(rotation=[90 if each == axis else 0 for each in "xyz"]), image=cube, spacing=spacing)
    np.testing.assert_allclose(turned, np.rot90(cube, axes=plane), atol=1e-6)
    offset = dict(zip("xyz", np.array([5, 6, 4]) - 3, strict=True))
    first, second = {"x": "yz", "y": "zx", "z": "xy"}[axis]
    offset[first], offset[second] = -offset[second], offset[first]
    predicted = tuple(3 + offset[each] for each in "xyz")
    assert np.unravel_index(turned.argmax(), shape) == predicted


def test_mirror_scale_shear_rotation_and_translation_in_mm_agree_with_scipy():
    settings = {"scale": (1.2, 0.8, 0.9), "shear": (10, -15, 20), "rotation": (25, -40, 70), "translation": (1, -2, 1)}
    matrix = voxel_matrix(forward(sign=(-1, 1, 1), **settings))
    expected = ndimage.affine_transform(IMAGE, matrix, order=1, mode="grid-constant", cval=BACKGROUND)
    np.testing.assert_allclose(moved(flip("x"), affine(**settings)), expected, atol=2e-5)
    assert np.abs(expected - BACKGROUND).max() > 1  # the head is still in view


def test_shear_slides_along_the_axis_it_says():
    """45°: for each mm from the centre along the second axis 1 mm along the first."""
    shape, spacing = CUBE
    for number, (slid, by) in enumerate(((0, 1), (0, 2), (1, 2))):
        cube, expected = np.zeros(shape, "float32"), [3, 3, 3]
        expected[by] = 5
        cube[tuple(expected)] = 1
        expected[slid] += 2
        result = moved(affine(shear=[45 if i == number else 0 for i in range(3)]), image=cube, spacing=spacing)
        assert np.unravel_index(result.argmax(), shape) == tuple(expected)


def test_transforms_happen_to_the_head_in_the_order_of_the_recipe():
    """A marker 1 voxel from the centre: scaled by 2, then moved by 1 voxel, it lies at 3; the other way round at 4."""
    shape, spacing = (13, 5, 5), (2.0, 1.0, 1.0)
    head = np.zeros(shape, "float32")
    head[6 + 1, 2, 2] = 1
    larger, along_x = affine(scale=(2, 1, 1)), affine(translation=(2, 0, 0))
    for steps, expected in (((larger, along_x), 6 + 3), ((along_x, larger), 6 + 4)):
        assert np.argwhere(moved(*steps, image=head, spacing=spacing) == 1).tolist() == [[expected, 2, 2]]
    for steps, expected in (((flip("x"), along_x), 6), ((along_x, flip("x")), 6 - 2)):
        assert np.argwhere(moved(*steps, image=head, spacing=spacing) == 1).tolist() == [[expected, 2, 2]]


def test_a_list_of_affines_and_flips_is_one_affine_of_scipys():
    first = {"scale": (1.2, 0.8, 1.1), "shear": (5, 0, -10), "rotation": (10, -20, 30), "translation": (1, -2, 0.5)}
    second = {"scale": (0.9, 1.1, 1.3), "shear": (0, 8, 4), "rotation": (-35, 5, 15), "translation": (-0.5, 1, 2)}
    together = forward(**second) @ forward(sign=(1, -1, 1)) @ forward(**first)
    expected = ndimage.affine_transform(
        IMAGE, voxel_matrix(together), order=1, mode="grid-constant", cval=BACKGROUND
    )  # fmt: skip
    np.testing.assert_allclose(moved(affine(**first), flip("y"), affine(**second)), expected, atol=2e-5)


@pytest.mark.parametrize("first", ["affine", "elastic"])
def test_elastic_deformation_comes_after_the_affine_wherever_it_stands(first):
    """Against map_coordinates, at places from SciPy's B-splines and the matrix above."""
    settings = {"scale": (1.1, 1.1, 1.1), "rotation": (5, 10, -20), "translation": (1, 0, -2)}
    field = 1.5 * (2 * CONTROL - 1)
    for axis, voxels in enumerate(SHAPE, start=1):
        spline = BSpline(np.arange(-3, 6), np.moveaxis(field, axis, 0), 3)
        field = np.moveaxis(spline(np.linspace(0, 2, voxels)), 0, axis)
    places = np.indices(SHAPE) + field / np.reshape(SPACING, (3, 1, 1, 1))
    matrix = voxel_matrix(forward(sign=(1, -1, 1), **settings))
    places = np.einsum("ij,jxyz->ixyz", matrix[:3, :3], places) + matrix[:3, 3].reshape(3, 1, 1, 1)
    expected = ndimage.map_coordinates(IMAGE, places, order=1, mode="grid-constant", cval=BACKGROUND)
    steps = [flip("y"), affine(**settings)]
    steps.insert(0 if first == "elastic" else 2, elastic(1.5, CONTROL))
    np.testing.assert_allclose(moved(*steps), expected, atol=2e-5)


def test_elastic_deformation_with_straight_lines_is_scipys_linear_zoom_of_the_grid():
    field = 1.5 * np.stack([ndimage.zoom(2 * each - 1, np.array(SHAPE) / 5, order=1) for each in CONTROL])
    places = np.indices(SHAPE) + field / np.reshape(SPACING, (3, 1, 1, 1))
    expected = ndimage.map_coordinates(IMAGE, places, order=1, mode="grid-constant", cval=BACKGROUND)
    np.testing.assert_allclose(moved(elastic(1.5, CONTROL, interpolation="linear")), expected, atol=2e-5)


def test_deformations_are_added_up():
    drawn = {
        "drawn": tf.constant([True]),
        "displacement": tf.constant([1.5]),
        "control": tf.constant(CONTROL[None], tf.float32),
    }
    recipe = (Elastic(control_points=5), Diffeomorphic(control_points=5), Elastic(control_points=5))
    own = [np.stack(coordinates((each,), {keys_of((each,))[0]: drawn}, SHAPE, SPACING)) for each in recipe]
    together = np.stack(coordinates(recipe, dict.fromkeys(keys_of(recipe), drawn), SHAPE, SPACING))
    here = np.indices(SHAPE)[:, None]
    np.testing.assert_allclose(together - here, sum(each - here for each in own), atol=1e-4)


@pytest.mark.parametrize("share", [0.99, 1.01])
def test_elastic_deformation_with_straight_lines_folds_just_beyond_its_limit(share):
    """Worst are a point displaced to the positive ends, and its neighbours to the negative ones."""
    shape, spacing, points = (13, 13, 13), (2.0, 2.0, 2.0), 4
    control = np.zeros((1, 3, points, points, points), "float32")
    control[:, :, 1, 1, 1] = 1
    most = share * 8 / 6
    problem = Elastic(displacement=(0, most), control_points=points, interpolation="linear").problem(shape, spacing)
    assert (problem is None) == (share < 1)
    drawn = {"drawn": tf.constant([True]), "displacement": tf.constant([most]), "control": tf.constant(control)}
    recipe = (Elastic(control_points=points, interpolation="linear"),)
    places = np.stack(coordinates(recipe, {"elastic": drawn}, shape, spacing))[:, 0]
    cell = places[:, 4:6, 4:6, 4:6]
    x, y, z = (np.diff(cell, axis=axis)[:, 0, 0, 0] for axis in (1, 2, 3))
    assert (np.linalg.det(np.stack([x, y, z])) > 0) == (share < 1)


@pytest.mark.parametrize(("kind", "share", "intervals"), [(Elastic, 0.403, 4), (Diffeomorphic, 0.5, 4)])
def test_displacements_that_may_fold_are_refused(kind, share, intervals):
    shape, spacing = (31, 41, 51), (1.0, 1.5, 2.0)
    limit = share * 30 / intervals
    assert kind(displacement=(0, 0.999 * limit), control_points=7).problem(shape, spacing) is None
    found, expected, advice = kind(displacement=(0, 1.01 * limit), control_points=7).problem(shape, spacing)
    assert "control points 7.5 mm apart" in found and f"{limit:.1f} mm" in expected and "fewer" in advice


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_zoom_enlarges_a_window_of_the_image_that_lies_inside(axis):
    """A ramp shows where voxels come from: evenly from `start` to `start` + the image's length / factor."""
    last = SHAPE[axis] - 1
    ramp = np.broadcast_to(np.reshape(np.arange(last + 1.0), np.roll([1, 1, -1], axis + 1)), SHAPE).astype("float32")
    for factor, position in itertools.product((1, 1.3, 2, 10), (0, 0.25, 1)):
        start = position * (last - last / factor)
        expected = start + ramp / factor
        result = moved(zoom(factor, [position if i == axis else 0.6 for i in range(3)]), image=ramp)
        np.testing.assert_allclose(result, expected, atol=1e-5)  # not a trace of the background


def test_zoom_is_scipys_affine_transform():
    factor, position = 1.7, np.array([0.2, 0.9, 0.5])
    offset = position * (np.array(SHAPE) - 1) * (1 - 1 / factor)
    expected = ndimage.affine_transform(IMAGE, np.full(3, 1 / factor), offset, order=1, mode="nearest")
    np.testing.assert_allclose(moved(zoom(factor, position)), expected, atol=1e-5)


@PADDING
@pytest.mark.parametrize("spacing", [SPACING, (0.7, 1.1, 3.3)])
@pytest.mark.parametrize("voxels", [(2, 0, -1), (-2, 1, 2), (7, -9, 6), (1, 1, 1)])
def test_shift_is_numpys_padded_crop_bit_for_bit(voxels, spacing, padding):
    constant = {"constant_values": BACKGROUND} if padding == "background" else {}
    wide = np.pad(IMAGE, 9 if padding != "reflect" else [(8, 8), (9, 9), (9, 9)], mode=PADDINGS[padding], **constant)
    low = (np.array(wide.shape) - SHAPE) // 2 - voxels
    expected = wide[tuple(slice(start, start + n) for start, n in zip(low, SHAPE, strict=True))]
    np.testing.assert_array_equal(moved(shift(*voxels), spacing=spacing, padding=padding), expected)


def test_shift_and_flip_together_interpolate_nothing():
    expected = np.full(SHAPE, BACKGROUND, "float32")
    expected[1:, :-2, :] = IMAGE[::-1][:-1, 2:, :]
    np.testing.assert_array_equal(moved(flip("x"), shift(1, -2, 0), spacing=(0.7, 1.1, 3.3)), expected)


def test_the_compiled_program_shifts_flips_and_stays_bit_for_bit_too():
    """With affine and zoom in the program, neutral for all samples: what they compute must be exact in XLA as well."""
    recipe = Flip(1, ("y",)), Affine(1, (1, 1), rotation=(0, 0), translation=(0, 0)), Zoom(1, (1, 1)), Shift(1, (-3, 3))
    spacing, seeds = (0.7, 1.1, 3.3), np.arange(16, dtype="int32").reshape(8, 2)
    images = RNG.normal(size=(8, *SHAPE, 1)).astype("float16")
    result = make_augment(recipe, SHAPE, spacing)(images, seeds, np.full(8, BACKGROUND, "float32"))
    voxels = sample_parameters(recipe, tf.constant(seeds))["shift"]["voxels"].numpy().astype(int)
    assert len(np.unique(voxels, axis=0)) > 6
    for image, steps, got in zip(images[:, :, ::-1, :, 0], voxels, result[..., 0], strict=True):
        wide = np.pad(image.astype("float32"), 3, constant_values=BACKGROUND)
        expected = wide[tuple(slice(3 - step, 3 - step + n) for step, n in zip(steps, SHAPE, strict=True))]
        np.testing.assert_array_equal(got, expected)


@PADDING
def test_padding_continues_the_image_as_scipy_does(padding):
    settings = {"scale": (0.7, 0.6, 0.5), "rotation": (25, -40, 70), "translation": (4, -6, 8)}
    mode = {"background": "grid-constant", "border": "nearest", "reflect": "mirror"}[padding]
    expected = ndimage.affine_transform(IMAGE, voxel_matrix(forward(**settings)), order=1, mode=mode, cval=BACKGROUND)
    np.testing.assert_allclose(moved(affine(**settings), padding=padding), expected, atol=3e-5)


WIDEST = (
    Flip(probability=0.5, axes=("x", "y", "z")),
    Affine(0.9, (0.5, 2), False, (-45, 45), (-180, 180), (-100, 100)),
    Elastic(0.7, (0, 50), 4),
    Elastic(0.7, (0, 50), 5, "linear"),
    Diffeomorphic(0.7, (0, 100), 4),
    Zoom(0.7, (1, 10)),
    Shift(0.7, (-100, 100)),
)


@PADDING
def test_the_widest_settings_give_finite_intensities_of_the_scans_range(padding):
    count = 60
    seeds = tf.constant(np.random.default_rng(8).integers(-(2**31), 2**31, (count, 2)), tf.int32)
    bare = tuple(each.without_numbers(SPACING) for each in WIDEST)
    images = np.repeat(IMAGE[None], count, axis=0)
    parameters = sample_parameters(WIDEST, seeds)
    [result] = apply_parameters(bare, [tf.constant(images)], parameters, tf.fill([count], BACKGROUND), SPACING, padding)
    assert np.isfinite(result).all()
    assert np.abs(result).max() <= np.abs(IMAGE).max() + 1e-4


MOVING = (
    Flip(probability=0.5),
    Affine(probability=1, rotation=(-20, 20), shear=(-5, 5)),
    Elastic(probability=1, displacement=(0, 0.9), control_points=5),
    Shift(probability=0.5),
)
SEEDS = np.array([[1, 2], [1, 3], [-5, 7]], "int32")
LABELS = RNG.integers(0, 4, (3, 3, 4, 5)).repeat(3, 1).repeat(3, 2).repeat(2, 3)  # blocks of voxels


@pytest.fixture(scope="module")
def with_labels():
    """Images that are 1 where the label is 2, and label maps of two types, through one compiled program."""
    images = (LABELS == 2).astype("float16")[..., None]
    labels = {"tissue": LABELS.astype("int16"), "masks": np.stack([LABELS == 2, LABELS == 3], -1).astype("uint8")}
    augment = make_augment(MOVING, SHAPE, SPACING)
    result, together = augment(images, SEEDS, np.zeros(3, "float32"), labels)
    alone = augment(images, SEEDS, np.zeros(3, "float32"))
    return result.numpy(), {name: each.numpy() for name, each in together.items()}, alone


def test_labels_keep_their_type_shape_and_values(with_labels):
    _, labels, _ = with_labels
    assert labels["tissue"].dtype == np.int16 and labels["tissue"].shape == LABELS.shape
    assert labels["masks"].dtype == np.uint8 and labels["masks"].shape == (*LABELS.shape, 2)
    assert set(np.unique(labels["tissue"])) <= set(range(4)) and set(np.unique(labels["masks"])) == {0, 1}


def test_images_labels_and_masks_move_together(with_labels):
    image, labels, _ = with_labels
    assert (labels["tissue"] != LABELS).mean() > 0.2
    sure = image[..., 0] > 0.999, image[..., 0] < 0.001
    assert sure[0].sum() > 50
    assert (labels["tissue"][sure[0]] == 2).all() and (labels["tissue"][sure[1]] != 2).all()
    for channel, label in enumerate((2, 3)):
        np.testing.assert_array_equal(labels["masks"][..., channel] == 1, labels["tissue"] == label)


def test_labels_come_from_scipys_nearest_voxel_at_the_places_of_the_image(with_labels):
    _, labels, _ = with_labels
    parameters = sample_parameters(MOVING, tf.constant(SEEDS))
    places = np.stack(coordinates(MOVING, parameters, SHAPE, SPACING))
    for i in range(3):
        expected = ndimage.map_coordinates(LABELS[i], places[:, i], order=0, mode="grid-constant", cval=0)
        clear = (np.abs(places[:, i] % 1 - 0.5) > 1e-4).all(axis=0)  # not halfway between voxels, to rounding
        np.testing.assert_array_equal(labels["tissue"][i][clear], expected[clear])
        assert clear.mean() > 0.99


def test_without_labels_the_images_come_alone_and_are_the_same(with_labels):
    image, _, alone = with_labels
    assert isinstance(alone, tf.Tensor)
    np.testing.assert_allclose(alone, image, atol=1e-6)


@PADDING
def test_labels_are_padded_as_their_image_and_with_0_for_its_background(padding):
    """A head moved out of view for its most part, with labels everywhere."""
    recipe = (Shift().without_numbers(SPACING),)
    parameters = {"shift": {"drawn": tf.constant([True]), "voxels": tf.constant([[6.0, 0, 0]])}}
    image, label = tf.constant(IMAGE[None]), tf.constant(1 + LABELS[:1], tf.int32)
    given = (recipe, [image], parameters, tf.constant([BACKGROUND]), SPACING, padding)
    _, labels = apply_parameters(*given, labels={"tissue": label})
    wide = np.pad(1 + LABELS[0], [(6, 0), (0, 0), (0, 0)], mode=PADDINGS[padding])
    np.testing.assert_array_equal(labels["tissue"][0], wide[: SHAPE[0]])


def test_without_spatial_transforms_labels_stay_as_they_are():
    labels = {"tissue": tf.constant(LABELS)}
    images, same = apply_parameters((), [tf.constant(LABELS, tf.float32)], {}, tf.zeros([3]), SPACING, labels=labels)
    assert same["tissue"] is labels["tissue"] and len(images) == 1
