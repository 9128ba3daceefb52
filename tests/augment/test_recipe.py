import dataclasses
import json
import subprocess
import sys

import pytest

from tfmri.augment.recipe import RECIPES, TRANSFORMS, keys_of, name_of, parse_recipe, recipe_to_config, weakened
from tfmri.augment.settings import RefusedError
from tfmri.augment.transform import ranges_of, settings_of
from tfmri.augment.transforms.intensity import Gamma, Noise
from tfmri.augment.transforms.spatial import Affine, Elastic, Flip
from tfmri.errors import InputError

KINDS = pytest.mark.parametrize("kind", TRANSFORMS.values(), ids=TRANSFORMS)


def problems_of(setting):
    with pytest.raises(InputError) as caught:
        parse_recipe(setting)
    return [str(problem) for problem in caught.value.problems]


def test_a_name_gives_the_named_recipe():
    assert parse_recipe("none") == ()
    standard = ["flip", "affine", "elastic", "gamma", "bias_field", "blur", "noise"]
    assert [name_of(transform) for transform in parse_recipe("standard")] == standard


def test_a_list_gives_its_transforms_in_its_order():
    recipe = parse_recipe([{"noise": {"sd": [0.05, 0.1], "probability": 1}}, "affine", {"flip": {"axes": ["z", "x"]}}])
    assert recipe == (Noise(probability=1.0, sd=(0.05, 0.1)), Affine(), Flip(axes=("x", "z")))


def test_a_transform_may_stand_there_twice_and_has_a_key_of_its_own():
    recipe = parse_recipe(["gamma", "noise", {"gamma": {"probability": 1}}, "gamma"])
    assert recipe == (Gamma(), Noise(), Gamma(probability=1.0), Gamma())
    assert keys_of(recipe) == ["gamma", "noise", "gamma/2", "gamma/3"]


def test_a_range_from_nothing_on_is_written_as_one_number_or_as_two():
    up_to, both = parse_recipe([{"affine": {"rotation": 5, "translation": [2, 3]}}, {"noise": {"sd": 0.1}}])
    assert up_to == Affine(rotation=(-5.0, 5.0), translation=(2.0, 3.0))
    assert both == Noise(sd=(0.0, 0.1))


def test_a_transform_without_settings_has_its_defaults():
    assert parse_recipe(["elastic"]) == parse_recipe([{"elastic": None}]) == parse_recipe([{"elastic": {}}])
    assert parse_recipe(["elastic"]) == (Elastic(),)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_way_through_a_file(name):
    recipe = parse_recipe(name)
    config = recipe_to_config(recipe)
    for transform, written in zip(recipe, config, strict=True):
        assert set(written[name_of(transform)]) == set(settings_of(transform))
    assert parse_recipe(json.loads(json.dumps(config))) == recipe


@KINDS
def test_the_defaults_pass_their_own_checks(kind):
    for setting in settings_of(kind).values():
        assert setting.metadata["check"](setting.default) == setting.default


@KINDS
def test_what_a_range_may_not_leave_is_refused_and_its_neutral_number_is_not(kind):
    for setting in ranges_of(kind):
        check, neutral = setting.metadata["check"], setting.metadata["neutral"]
        if neutral is not None:
            assert check([neutral, neutral]) == (neutral, neutral)
        for wrong in (None, "much", [1, 2, 3], [2, 1], [float("nan"), 1], [-1e9, 1e9], [True, True]):
            with pytest.raises(RefusedError):
                check(wrong)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("standrad", "no recipe is called 'standrad'; expected one of none, "),
        ("standrad", "Did you mean 'standard'?"),
        (["gama"], "transform 1: no transform is called 'gama'"),
        ([{"affine": {"rotaton": 5}}], "augment, affine: no setting is called 'rotaton'"),
        ([{"affine": {"rotaton": 5}}], "Did you mean 'rotation'?"),
        ([{"affine": {"rotation": 200}}], "affine.rotation: 200; expected a number from 0 to 180 degrees, or [lowest,"),
        ([{"affine": {"rotation": [0, 200]}}], "expected [lowest, highest], both from -180 to 180 degrees"),
        ([{"affine": {"scale": [1.2, 0.9]}}], "affine.scale: [1.2, 0.9]; expected [lowest, highest]"),
        ([{"affine": {"scale": 1.2}}], "The default is [0.9, 1.1]."),
        ([{"affine": {"isotropic": "no"}}], "affine.isotropic: 'no'; expected true or false"),
        ([{"flip": {"axes": ["left"]}}], "flip.axes: ['left']; expected a list of some of x, y, z"),
        ([{"flip": {"probability": True}}], "flip.probability: True; expected a number from 0 to 1"),
        ([{"noise": {"sd": float("nan")}}], "noise.sd: nan; expected a number from 0 to 1"),
        ([{"elastic": {"control_points": 3}}], "elastic.control_points: 3; expected a whole number from 4 to 32"),
        ([{"elastic": 5}], "augment, elastic: 5; expected settings: probability, displacement, control_points"),
        ([{"flip": {}, "noise": {}}], "expected a name, or one name with its settings"),
        ([{"blur": {"reach": [1, 1, 1]}}], "augment, blur: no setting is called 'reach'"),
        (True, "augment: True; expected the name of a recipe (none, "),
        ({"flip": {}}, "or a list of transforms"),
        ([{2: {}}], "no transform is called 2"),
    ],
)
def test_a_mistake_is_named_with_what_would_be_right(setting, said):
    assert any(said in problem for problem in problems_of(setting)), problems_of(setting)


def test_all_mistakes_are_told_at_once():
    assert len(problems_of(["flap", {"noise": {"sd": -1, "probability": 2}}, 7])) == 4


def test_reading_a_recipe_imports_no_tensorflow():
    code = (
        "import sys; from tfmri.augment.recipe import RECIPES, parse_recipe;"
        "[parse_recipe(name) for name in RECIPES]; assert 'tensorflow' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_weakened_transform_has_the_share_of_its_ranges_and_happens_always():
    affine = Affine(probability=0.2, scale=(0.8, 1.4), rotation=(-12.0, 12.0), translation=(2.0, 8.0))
    half = Affine(probability=1.0, scale=(0.9, 1.2), rotation=(-6.0, 6.0), translation=(1.0, 4.0))
    assert weakened(affine, 0.5) == half
    assert weakened(Flip(axes=("x", "y")), 0.1) == Flip(probability=1.0, axes=("x", "y"))


@KINDS
def test_every_transform_can_be_weakened_to_nothing_and_to_all_it_is(kind):
    assert weakened(kind(), 1) == dataclasses.replace(kind(), probability=1.0)
    nothing = weakened(kind(), 0)
    for setting in ranges_of(kind):
        neutral = setting.metadata["neutral"]  # None where no number changes nothing: such a range is left as it is
        assert getattr(nothing, setting.name) == (setting.default if neutral is None else (neutral, neutral))


OWN = """
from dataclasses import dataclass

from tfmri.augment.settings import Interval, chance, up_to
from tfmri.augment.transform import IntensityTransform


@dataclass(frozen=True)
class Brighter(IntensityTransform):
    probability: float = chance(0.2)
    strength: Interval = up_to(0.1, most=1)

    def apply(self, images, drawn, scan):
        return images + drawn["strength"] * (scan.high - scan.low)


class NoTransform:
    pass
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_recipe_transforms.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield "own_recipe_transforms"
    sys.modules.pop("own_recipe_transforms", None)


def test_a_transform_of_ones_own_comes_in_by_its_path(own_module):
    path = f"{own_module}:Brighter"
    own, flip = parse_recipe([{path: {"strength": 0.3}}, "flip"])
    assert own.strength == (0.0, 0.3) and flip == Flip()
    config = recipe_to_config((own,))
    assert config == [{path: {"probability": 0.2, "strength": [0.0, 0.3]}}]
    assert parse_recipe(config) == (own,)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("{}:Brigter", "has no 'Brigter'. Did you mean 'Brighter'?"),
        ("{}_of_another:Brighter", "cannot be imported"),
        ("{}:NoTransform", "expected a subclass of SpatialTransform or IntensityTransform"),
        ("{}:OWN_PATH_IS_MISSING", "has no 'OWN_PATH_IS_MISSING'"),
    ],
)
def test_a_path_that_leads_nowhere_is_said(own_module, path, said):
    [problem] = problems_of([path.format(own_module)])
    assert "augment, transform 1" in problem and said in problem


def test_a_setting_of_ones_own_transform_is_checked_as_any_other(own_module):
    [problem] = problems_of([{f"{own_module}:Brighter": {"strength": 3}}])
    assert f"augment, {own_module}:Brighter.strength: 3; expected a number from 0 to 1" in problem
