"""docs/augmentation.md says what the code has, and its example works."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from tfmri.augment.apply import apply_parameters
from tfmri.augment.recipe import RECIPES, TRANSFORMS, parse_recipe
from tfmri.augment.sampling import sample_parameters
from tfmri.augment.transform import settings_of
from tfmri.experiment.schema import Augment

PAGE = (Path(__file__).parents[2] / "docs" / "augmentation.md").read_text()
ROWS = {row[0]: row[1:] for row in re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) ?\|$", PAGE, re.MULTILINE)}


def test_the_tables_hold_every_transform_and_no_other():
    assert list(ROWS) == [name for kind in ("spatial", "intensity", "acquisition") for name in of_module(kind)]


def of_module(name):
    return [key for key in ROWS if TRANSFORMS[key].__module__.endswith(name)] or pytest.fail(f"no {name} in the tables")


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_row_names_every_setting_with_its_default(name):
    shown = yaml.safe_load("\n".join(re.findall(r"`(\w+: [^`]+)`", ROWS[name][1])))
    assert set(shown) == set(settings_of(TRANSFORMS[name]))
    assert parse_recipe([{name: shown}]) == parse_recipe([name])


def test_every_recipe_is_named():
    for name in RECIPES:
        assert f"\n| `{name}` |" in PAGE


def test_what_is_written_in_yaml_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_lab").mkdir()
    (tmp_path / "my_lab" / "transforms.py").write_text(re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1])
    blocks = [yaml.safe_load(block)["augment"] for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
    standard, whole, own = (Augment.model_validate(block) for block in blocks)
    assert standard == whole == Augment()
    recipe = own.transforms
    assert type(recipe[2]).__name__ == "Stripes" and recipe[2].strength == (0.0, 0.3)

    stripes = (recipe[2].__class__(probability=1.0, strength=(0.2, 0.2)),)
    images = np.random.default_rng(0).uniform(1, 2, size=(2, 9, 12, 10)).astype("float32")
    parameters = sample_parameters(stripes, tf.constant([[1, 2], [3, 4]]))
    [result] = apply_parameters(
        tuple(each.without_numbers((1.0, 1.0, 1.0)) for each in stripes),
        [tf.constant(images)], parameters, tf.constant([0.5, 0.5]), (1.0, 1.0, 1.0),
    )  # fmt: skip
    gain = (result.numpy() - 0.5) / (images - 0.5)
    np.testing.assert_allclose(np.abs(gain - 1), 0.2, atol=1e-5)
    np.testing.assert_allclose(gain[:, :, :, 1:] + gain[:, :, :, :-1], 2, atol=1e-5)
    sys.modules.pop("my_lab.transforms", None)
    sys.modules.pop("my_lab", None)
