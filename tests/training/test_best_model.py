"""Tests of the file that the best epoch leaves."""

import shutil

import keras
import numpy as np
import pytest

from tfmri.images.fitted import FittedPreparation
from tfmri.images.prepare import STEPS_VERSION, Preparation
from tfmri.inference.model_file import Carried, carried_by
from tfmri.models.small_cnn import build
from tfmri.training.callbacks.best_model import BestModel

PREPARED = FittedPreparation(Preparation((8, 8, 8), (16, 18, 16)), None, STEPS_VERSION)
TASK = {"task": "regression", "mean": 50.0, "sd": 10.0, "penalty": "mae", "delta": 1.0}


def callback(path, prepared=PREPARED):
    carried = Carried(prepared, "age", TASK, usual={"width_mm": (140.0, 170.0)})
    best = BestModel(path, "validation_loss", lambda: carried)
    best.set_model(build((16, 18, 16, 1), 2, filters=[4, 8]))
    return best


def test_the_file_alone_gives_the_same_outputs_and_says_how_its_scans_were_prepared(tmp_path):
    best = callback(tmp_path / "model.keras")
    best.on_epoch_end(0, {"validation_loss": 1.0})
    copied = shutil.move(tmp_path / "model.keras", tmp_path / "elsewhere.keras")
    images = np.random.default_rng(0).normal(size=(3, 16, 18, 16, 1)).astype(np.float32)
    again = keras.saving.load_model(copied)
    np.testing.assert_array_equal(again.predict(images, verbose=0), best.model.predict(images, verbose=0))
    assert carried_by(copied) == Carried(PREPARED, "age", TASK, usual={"width_mm": (140.0, 170.0)})
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere.keras"]


def test_only_a_better_epoch_replaces_the_file_and_one_that_fails_half_way_leaves_it(tmp_path):
    path = tmp_path / "model.keras"
    best = callback(path)
    best.on_epoch_end(0, {"validation_loss": 1.0})
    first = path.read_bytes()
    best.model.weights[0].assign(best.model.weights[0] + 1)
    best.on_epoch_end(1, {"validation_loss": 1.0})
    assert path.read_bytes() == first
    no_json = FittedPreparation(PREPARED.preparation, np.array([[np.nan]], np.float32), STEPS_VERSION)
    with pytest.raises(ValueError, match="JSON"):
        callback(path, no_json).on_epoch_end(2, {"validation_loss": 0.5})
    assert path.read_bytes() == first and [each.name for each in tmp_path.iterdir()] == ["model.keras"]
    best.on_epoch_end(3, {"validation_loss": 0.5})
    assert path.read_bytes() != first


def test_an_epoch_without_a_number_never_stands_in_the_way_of_a_later_one(tmp_path):
    path = tmp_path / "model.keras"
    best = callback(path)
    best.on_epoch_end(0, {"validation_loss": float("nan")})
    without = path.read_bytes()
    for epoch, (value, replaced) in enumerate([(2.0, True), (float("nan"), False), (1.0, True)], 1):
        before = path.read_bytes()
        best.model.weights[0].assign(best.model.weights[0] + 1)
        best.on_epoch_end(epoch, {"validation_loss": value})
        assert (path.read_bytes() != before) == replaced
    assert without and best.get_state() == {"best": 1.0}
