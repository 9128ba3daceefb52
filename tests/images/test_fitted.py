"""Tests of the preparation that a model file carries; what Keras makes of such a file, `test_best_model` shows."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.images.fitted import FittedPreparation, add_preparation, preparation_of
from tfmri.images.prepare import STEPS_VERSION, Preparation

SETTINGS = Preparation((1.5, 2, 3), (60, 64, 56), "histogram", channels=2, registration="mni152", mask="head")
STANDARD = np.sort(np.random.default_rng(0).normal(size=(2, 11)), axis=1).astype(np.float32)
FITTED = FittedPreparation(SETTINGS, STANDARD, STEPS_VERSION)


@pytest.fixture
def model(tmp_path):
    """A zip archive with members of its own, as a `.keras` file is one."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    return path


def test_a_model_gives_back_what_was_put_into_it_to_the_last_bit_and_keeps_its_own_members(model):
    add_preparation(model, FITTED)
    found = preparation_of(model)
    assert found.preparation == SETTINGS and found.steps_version == STEPS_VERSION
    assert found.standard.dtype == np.float32
    np.testing.assert_array_equal(found.standard, STANDARD)
    with zipfile.ZipFile(model) as archive:
        assert archive.read("config.json") == b"{}" and archive.testzip() is None


def put(text):
    def into(model):
        with zipfile.ZipFile(model, "a") as archive:
            archive.writestr("preparation.json", text)

    return into


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda model: None, "carries no preparation.*Train it again"),
        (lambda model: model.unlink(), "no such file"),
        (lambda model: (model.unlink(), model.mkdir()), "no .keras file"),
        (lambda model: model.write_bytes(model.read_bytes()[:-30]), "no .keras file, or a damaged one"),
        (put("{"), "cannot be read"),
        (put('{"settings": {"voxels": 3}, "histogram_standard": null}'), "cannot be read.*voxels"),
        (put("[]"), "cannot be read"),
        (
            lambda model: add_preparation(model, replace(FITTED, steps_version=STEPS_VERSION + 1)),
            f"by version {STEPS_VERSION + 1} of the steps; expected version {STEPS_VERSION}",
        ),
    ],
)
def test_a_model_without_a_preparation_that_can_be_redone_is_named(model, spoil, said):
    spoil(model)
    with pytest.raises(InputError, match=rf"model\.keras: .*{said}"):
        preparation_of(model)
