import dataclasses
import json
import subprocess
import sys

import pytest

from tfmri.augment.recipe import (
    RECIPES,
    TRANSFORMS,
    Affine,
    Elastic,
    Flip,
    Noise,
    parse_recipe,
    recipe_to_config,
    weakened,
)
from tfmri.errors import InputError


def problems_of(setting):
    with pytest.raises(InputError) as caught:
        parse_recipe(setting)
    return [str(problem) for problem in caught.value.problems]


def test_a_name_gives_the_named_recipe():
    assert parse_recipe("none") == ()
    assert [type(transform) for transform in parse_recipe("standard")] == list(TRANSFORMS.values())


def test_a_list_gives_its_transforms_in_the_order_of_application():
    recipe = parse_recipe([{"noise": {"sd": 0.1, "probability": 1}}, "affine", {"flip": {"axes": ["z", "x"]}}])
    assert recipe == (Flip(axes=("x", "z")), Affine(), Noise(probability=1.0, sd=0.1))


def test_a_transform_without_settings_has_its_defaults():
    assert parse_recipe(["elastic"]) == parse_recipe([{"elastic": None}]) == parse_recipe([{"elastic": {}}])
    assert parse_recipe(["elastic"]) == (Elastic(),)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_way_through_a_file(name):
    written = json.loads(json.dumps(recipe_to_config(RECIPES[name])))
    assert parse_recipe(written) == RECIPES[name]


def test_the_defaults_pass_their_own_checks():
    for kind in TRANSFORMS.values():
        for setting in dataclasses.fields(kind):
            assert setting.metadata["check"](setting.default) == setting.default


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("standrad", "no recipe is called 'standrad'; expected one of none, standard. Did you mean standard?"),
        (["gama"], "transform 1: no transform is called 'gama'"),
        ([{"affine": {"rotaton": 5}}], "augment, affine: no setting is called 'rotaton'"),
        ([{"affine": {"rotaton": 5}}], "Did you mean rotation?"),
        ([{"affine": {"rotation": 200}}], "augment, affine.rotation: 200; expected a number from 0 to 180 degrees"),
        ([{"affine": {"scale": [1.2, 0.9]}}], "affine.scale: [1.2, 0.9]; expected [lowest, highest]"),
        ([{"affine": {"scale": 1.2}}], "The default is [0.9, 1.1]."),
        ([{"affine": {"isotropic": "no"}}], "affine.isotropic: 'no'; expected true or false"),
        ([{"flip": {"axes": ["left"]}}], "flip.axes: ['left']; expected a list of some of x, y, z"),
        ([{"flip": {"probability": True}}], "flip.probability: True; expected a number from 0 to 1"),
        ([{"noise": {"sd": float("nan")}}], "noise.sd: nan; expected a number from 0 to 1"),
        ([{"elastic": {"control_points": 3}}], "elastic.control_points: 3; expected a whole number from 4 to 32"),
        ([{"elastic": 5}], "augment, elastic: 5; expected settings: probability, displacement, control_points"),
        (["flip", "flip"], "transform 2: flip for a second time"),
        ([{"flip": {}, "noise": {}}], "expected a name, or one name with its settings"),
        (True, "augment: True; expected the name of a recipe (none, standard) or a list of transforms"),
        ({"flip": {}}, "or a list of transforms"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(setting, said):
    assert any(said in problem for problem in problems_of(setting)), problems_of(setting)


def test_all_mistakes_are_told_at_once():
    assert len(problems_of(["flap", {"noise": {"sd": -1, "probability": 2}}, 7])) == 4


def test_reading_a_recipe_imports_no_tensorflow():
    code = "import sys, tfmri.augment.recipe; sys.exit('tensorflow' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_weakened_transform_has_the_share_of_its_ranges_and_happens_always():
    affine = Affine(probability=0.2, scale=(0.8, 1.4), rotation=12, translation=9)
    assert weakened(affine, 0.5) == Affine(probability=1, scale=(0.9, 1.2), rotation=6, translation=4.5)
    assert weakened(Flip(axes=("x", "y")), 0.1) == Flip(probability=1, axes=("x", "y"))
    for kind in TRANSFORMS.values():
        assert weakened(kind(), 1) == dataclasses.replace(kind(), probability=1.0)
