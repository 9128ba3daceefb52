import importlib
import json
import zipfile

import keras
import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.images.fitted import FittedPreparation
from tfmri.images.prepare import STEPS_VERSION, Preparation
from tfmri.inference.model_file import Carried, add_to_model, carried_by, copy_with, load_model
from tfmri.models.registry import build_model

CARRIED = Carried(
    FittedPreparation(Preparation((8, 8, 8), (16, 16, 16)), None, STEPS_VERSION),
    "age",
    {"task": "regression", "mean": 50.0, "sd": 10.0, "penalty": "mae", "delta": 1.0},
    usual={"width_mm": (140.0, 170.0)},
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = build_model("small_cnn", (16, 16, 16, 1), 1, filters=[4])
    path = tmp_path_factory.mktemp("models") / "model.keras"
    model.save(path)
    add_to_model(path, CARRIED)
    return model, path


def test_a_file_gives_back_what_it_carries_and_the_same_model(saved, tmp_path):
    model, path = saved
    assert carried_by(path) == CARRIED
    more = Carried(**{**vars(CARRIED), "adjustments": {"level": 0.9}})
    copy_with(path, more, tmp_path / "copy.keras")
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 16, 1)).astype(np.float32)
    assert carried_by(tmp_path / "copy.keras") == more and carried_by(path) == CARRIED
    with zipfile.ZipFile(tmp_path / "copy.keras") as archive:
        assert len(set(archive.namelist())) == len(archive.namelist())
    np.testing.assert_array_equal(load_model(tmp_path / "copy.keras")(images), model(images))


@pytest.mark.parametrize("name", ["small_cnn", "sfcn", "resnet10", "densenet121", "cole", "convnext", "vit"])
def test_every_architecture_is_made_of_layers_that_are_trusted(name, tmp_path):
    model = build_model(name, (32, 32, 32, 1), 2, **({"filters": [4, 4]} if name == "small_cnn" else {}))
    config = json.loads(model.to_json())
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(config))
    with pytest.raises(Exception) as error:  # there are no weights in it, which comes after the check
        load_model(tmp_path / "model.keras")
    assert not isinstance(error.value, InputError)


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Lambda", "module": "keras.layers", "config": {"function": "..."}},
        {"class_name": "TorchModuleWrapper", "module": "keras.layers", "config": {}},
        {"class_name": "function", "module": "keras.utils", "config": "get_file"},
        {"class_name": "system", "module": "os", "config": {}},
        {"class_name": "eval", "module": "builtins", "config": {}},
        {"class_name": "Own", "module": None, "registered_name": "Custom>Own", "config": {}},
    ],
)
def test_a_file_that_brings_or_names_code_is_not_loaded(saved, tmp_path, layer):
    with zipfile.ZipFile(saved[1]) as archive, zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad:
        config = json.loads(archive.read("config.json"))
        config["config"]["layers"][1]["config"]["kernel_initializer"] = layer
        for name in archive.namelist():
            bad.writestr(name, json.dumps(config) if name == "config.json" else archive.read(name))
    with pytest.raises(InputError, match="would run code that is not Keras' own"):
        load_model(tmp_path / "bad.keras")


def test_a_real_lambda_layer_is_refused_before_keras_sees_it(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x + 1)])
    model.save(tmp_path / "lambda.keras")
    with pytest.raises(InputError, match="Lambda"):
        load_model(tmp_path / "lambda.keras")


def test_a_file_that_does_not_say_what_it_predicts_is_refused(saved, tmp_path):
    with zipfile.ZipFile(saved[1]) as archive, zipfile.ZipFile(tmp_path / "old.keras", "w") as old:
        for name in archive.namelist():
            if name != "about.json":
                old.writestr(name, archive.read(name))
    with pytest.raises(InputError, match="does not say what it predicts"):
        carried_by(tmp_path / "old.keras")


@pytest.mark.parametrize("content", [b"no zip", None, b"{"])
def test_a_file_that_is_no_model_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "odd.keras"
    if content == b"no zip":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json" if content else "other", content or b"")
    with pytest.raises(InputError, match="damaged one"):
        load_model(path)


def test_layers_of_the_persons_own_module_are_loaded_and_no_others(tmp_path, monkeypatch):
    (tmp_path / "my_layers.py").write_text(
        "import keras\n\n\n@keras.saving.register_keras_serializable()\nclass Twice(keras.layers.Layer):\n"
        "    def call(self, inputs):\n        return 2 * inputs\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    layers = importlib.import_module("my_layers")
    source = keras.Input((4,))
    keras.Model(source, layers.Twice()(source)).save(tmp_path / "own.keras")
    assert float(load_model(tmp_path / "own.keras", "my_layers")(np.ones((1, 4)))[0, 0]) == 2
    for trusted in ("", "other"):
        with pytest.raises(InputError, match="Twice"):
            load_model(tmp_path / "own.keras", trusted)
