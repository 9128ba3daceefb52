import json

import numpy as np
import pytest
import tensorflow as tf

from tfmri.augment.apply import make_applier, make_sampler
from tfmri.augment.parameters import Draws, in_words, read_draws, write_draws
from tfmri.augment.recipe import TRANSFORMS, keys_of, parse_recipe
from tfmri.augment.sampling import sample_parameters
from tfmri.errors import InputError

SHAPE, SPACING = (9, 12, 10), (2.0, 1.5, 3.0)
GRID = SHAPE, SPACING, "background"
RECIPE = parse_recipe([
    {"flip": {"probability": 0.5}}, {"affine": {"probability": 0.9, "rotation": 7}}, {"noise": {"probability": 0.5}},
    {"gamma": {"probability": 1}}, {"cutout": {"probability": 1, "size": [2, 4]}},
])  # fmt: skip
SEEDS = np.array([[1, 2], [-5, 2**31 - 1], [0, 0], [-(2**31), 7]], "int32")
SCANS = ("sub-1", "sub-1", "sub-2", "ä")


def draws_of(recipe, seeds=SEEDS, scans=SCANS):
    parameters = tf.nest.map_structure(lambda tensor: tensor.numpy(), sample_parameters(recipe, tf.constant(seeds)))
    return Draws(scans, seeds, parameters)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "kept.json"
    write_draws(path, draws_of(RECIPE), RECIPE, *GRID)
    return path


def changed(file, change):
    written = json.loads(file.read_text())
    change(written)
    file.write_text(json.dumps(written))
    return file


def test_every_transform_reads_back_to_the_same_bits(tmp_path):
    recipe = (*parse_recipe(list(TRANSFORMS)), *parse_recipe(["gamma", {"cutout": {"fill": "noise"}}]))
    drawn = draws_of(recipe)
    write_draws(tmp_path / "kept.json", drawn, recipe, *GRID)
    read = read_draws(tmp_path / "kept.json", recipe, *GRID)
    assert read.scans == SCANS and list(read.parameters) == keys_of(recipe)
    np.testing.assert_array_equal(read.seeds, SEEDS)
    for key, parameters in drawn.parameters.items():
        assert list(read.parameters[key]) == list(parameters)
        for name, values in parameters.items():
            assert read.parameters[key][name].dtype == values.dtype, (key, name)
            assert read.parameters[key][name].tobytes() == values.tobytes(), (key, name)


def test_what_was_read_gives_the_same_voxels_bit_for_bit(tmp_path):
    images = np.random.default_rng(0).normal(size=(4, *SHAPE, 1)).astype("float16")
    background = np.array([-3, -1, 0, -2], "float32")
    apply = make_applier(RECIPE, *GRID)
    parameters = make_sampler(RECIPE, SPACING)(SEEDS)
    first = apply(images, parameters, background).numpy()
    assert np.abs(first - images).max() > 0.1
    kept = Draws(SCANS, SEEDS, tf.nest.map_structure(lambda tensor: tensor.numpy(), parameters))
    write_draws(tmp_path / "kept.json", kept, RECIPE, *GRID)
    again = apply(images, read_draws(tmp_path / "kept.json", RECIPE, *GRID).parameters, background).numpy()
    assert again.tobytes() == first.tobytes()


def test_a_number_changed_by_hand_is_the_one_that_is_applied(file):
    changed(file, lambda written: written["draws"][1]["affine"].update(rotation=[1, 2.5, -3]))
    rotation = read_draws(file, RECIPE, *GRID).parameters["affine"]["rotation"]
    np.testing.assert_array_equal(rotation[1], np.float32([1, 2.5, -3]))


@pytest.mark.parametrize(
    ("recipe", "grid", "said"),
    [
        (
            RECIPE,
            ((9, 12, 11), SPACING, "background"),
            "drawn with shape [9, 12, 10]; expected [9, 12, 11], as the",
        ),
        (
            RECIPE,
            (SHAPE, (1.0, 1.5, 3.0), "background"),
            "drawn with spacing [2.0, 1.5, 3.0]; expected [1.0, 1.5, 3.0",
        ),
        (RECIPE, (SHAPE, SPACING, "border"), "drawn with padding background; expected border"),
        (RECIPE[1:], GRID, "drawn by the recipe [flip, affine, noise, gamma, cutout]; expected [affine, noise, gamma"),
        (
            (RECIPE[0], *parse_recipe([{"affine": {"probability": 0.9}}]), *RECIPE[2:]),
            GRID,
            "drawn with affine.rotation [-7.0, 7.0]; expected [-10.0, 10.0]",
        ),
    ],
)
def test_parameters_of_another_recipe_or_grid_are_refused(file, recipe, grid, said):
    with pytest.raises(InputError) as error:
        read_draws(file, recipe, *grid)
    assert said in str(error.value) and str(file) in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("draws"), "the file holds no draws; expected a file that `tfmri preview` has written"),
        (lambda w: w.update(draws=[]), "the file holds no draws"),
        (lambda w: w.pop("recipe"), "the file has no recipe"),
        (lambda w: w.update(recipe=3), "the file has no recipe"),
        (lambda w: w["draws"].append(7), "draw 5: the entry names no scan"),
        (lambda w: w["draws"][0].pop("scan"), "draw 1: the entry names no scan"),
        (lambda w: w["draws"][2].update(seed=[1]), "draw 3, seed: [1]; expected int numbers of shape (2,)"),
        (lambda w: w["draws"][2].update(seed=[1, 2**40]), "draw 3, seed"),
        (lambda w: w["draws"][0].pop("noise"), "draw 1, noise.drawn: missing; expected true or false"),
        (lambda w: w["draws"][0]["noise"].update(sd="much"), "draw 1, noise.sd: much; expected a number"),
        (lambda w: w["draws"][0]["noise"].update(sd=None), "draw 1, noise.sd: missing"),
        (lambda w: w["draws"][0]["noise"].update(sd=1e99), "draw 1, noise.sd: 1e+99"),
        (lambda w: w["draws"][0]["noise"].update(sd=True), "draw 1, noise.sd: True"),
        (
            lambda w: w["draws"][3]["affine"].update(scale=[1, 1]),
            "draw 4, affine.scale: [1, 1]; expected float number",
        ),
        (lambda w: w["draws"][3]["affine"].update(scale=[1, [1], 1]), "draw 4, affine.scale"),
        (lambda w: w["draws"][3].update(affine=[]), "draw 4, affine.rotation: missing"),
    ],
)
def test_what_is_wrong_in_a_file_is_said(file, change, said):
    with pytest.raises(InputError) as error:
        read_draws(changed(file, change), RECIPE, *GRID)
    assert said in str(error.value)


@pytest.mark.parametrize(("data", "said"), [(b"\xff\x00", "not JSON"), (b"{", "not JSON"), (b"[]", "holds no draws")])
def test_garbage_is_no_file_of_parameters(file, data, said):
    file.write_bytes(data)
    with pytest.raises(InputError, match=said):
        read_draws(file, RECIPE, *GRID)


def test_a_file_that_is_not_there_is_said(tmp_path):
    with pytest.raises(InputError, match=r"cannot be read \(No such file"):
        read_draws(tmp_path / "none.json", RECIPE, *GRID)


def test_words_for_a_draw_name_what_happened_and_how_much():
    recipe = parse_recipe(["flip", "affine", "gamma", {"gibbs": {"axes": ["z"]}}, "gamma", "noise"])
    draws = draws_of(recipe, SEEDS[:1], SCANS[:1])
    for drawn in draws.parameters.values():
        drawn["drawn"][:] = False
    assert in_words(recipe, draws.parameters, 0) == "unchanged"
    draws.parameters["flip"]["drawn"][0] = [True, False, True]  # z is none of its axes
    affine = {
        "drawn": True,
        "scale": 1.04,
        "shear": [0, 0, 0],
        "rotation": [4, -2.04, 7],
        "translation": 0,
    }
    for name, value in affine.items():
        draws.parameters["affine"][name][0] = value
    draws.parameters["gamma/2"]["drawn"][0], draws.parameters["gamma/2"]["exponent"][0] = True, 0.9
    draws.parameters["gibbs"]["drawn"][0], draws.parameters["gibbs"]["cutoff"][0] = True, 0.7512
    words = "flip x, scale 1.04, rotation 4 -2.04 7 deg, gibbs z 0.75, gamma/2 0.9"
    assert in_words(recipe, draws.parameters, 0) == words


def test_words_can_be_had_for_every_transform():
    recipe = parse_recipe(list(TRANSFORMS))
    draws = draws_of(recipe)
    for drawn in draws.parameters.values():
        drawn["drawn"][:] = True
    for row in range(len(SCANS)):
        words = in_words(recipe, draws.parameters, row)
        assert all(name in words for name in TRANSFORMS if name != "affine") and "rotation" in words
