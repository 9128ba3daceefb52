"""Models by name: what a person may write, and what is said of the rest."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from tfmri.errors import InputError
from tfmri.models.registry import MODELS, build_model, check_model

OWN = """
import keras

def build(shape, outputs, *, width: int = 4, activation: str | None = None):
    image = keras.Input(shape, name="image")
    x = keras.layers.BatchNormalization(name="bn")(keras.layers.Conv3D(width, 3)(image))
    x = keras.layers.GlobalAveragePooling3D()(x)
    return keras.Model(image, keras.layers.Dense(outputs, activation=activation)(x))

def build_wrong(shape, outputs):
    return build(shape, outputs + 1)

def build_nothing(shape, outputs):
    return None

def build_sequential(shape, outputs):
    layers = keras.layers
    parts = [layers.Conv3D(3, 3), layers.GlobalAveragePooling3D(), layers.Dense(outputs, dtype="float32")]
    return keras.Sequential([keras.Input(shape), *parts])

def build_on_a_backbone(shape, outputs, *, filters: int = 3):
    image = keras.Input(shape)
    x = keras.layers.GlobalAveragePooling3D()(keras.layers.Conv3D(filters, 3)(image))
    backbone = keras.Model(image, x, name="backbone")
    image = keras.Input((None, None, None, shape[-1]))
    return keras.Model(image, keras.layers.Dense(outputs, dtype="float32")(backbone(image)))

def build_planar(shape, outputs):
    return keras.applications.MobileNet(input_shape=shape, weights=None, classes=outputs)

def build_of_two(shape, outputs):
    image, age = keras.Input(shape), keras.Input((1,))
    x = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling3D()(image), age])
    return keras.Model([image, age], keras.layers.Dense(outputs)(x))

def build_of_a_fixed_shape(shape, outputs):
    return build((9, 9, 9, 1), outputs)

class Subclassed(keras.Model):
    def call(self, image):
        return image

def build_subclassed(shape, outputs):
    return Subclassed()
"""


POSTPONED = """
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated
from pydantic import Field

if TYPE_CHECKING:
    import keras

def build(
    shape, outputs, *, filters: tuple[int, ...] = (4,), rate: Annotated[float, Field(lt=1)] = 0.5,
    norm: keras.Layer | None = None, width: int
) -> keras.Model:
    return None
"""


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    (tmp_path / "own_models.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("own_models", None)


def test_options_take_the_types_of_the_builder():
    options = check_model("sfcn", {"filters": [8, 16, 4], "dropout": 0})
    assert options == {
        "filters": (8, 16, 4),
        "dropout": 0.0,
        "norm": "batch",
        "groups": 8,
        "l2": 0.0,
        "momentum": 0.9,
        "epsilon": 1e-5,
        "activation": "relu",
    }


@pytest.mark.parametrize("name", MODELS)
def test_the_shared_options_are_those_of_every_architecture(name):
    shared = {"dropout": 0.25, "epsilon": 1e-3}
    if name != "vit":
        shared |= {"norm": "group", "groups": 4, "l2": 1e-4, "momentum": 0.95, "activation": "elu"}
    options = check_model(name, shared)
    assert shared.items() <= options.items()
    assert name == "vit" or "depth" not in options


def test_a_model_is_built_by_name():
    model = build_model("sfcn", [16, 16, 16, 1], 3, filters=[4, 4, 4], synchronized=True, initial_bias=[0, 1, 2])
    assert model.name == "sfcn" and model.inputs[0].name == "image"
    assert tuple(model.inputs[0].shape) == (None, 16, 16, 16, 1) and tuple(model.outputs[0].shape) == (None, 3)
    assert model.get_layer("block1_norm").synchronized
    assert model.get_layer("head").bias.numpy().tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sfnc", {}, r"model\.name: unknown name 'sfnc'\. Did you mean 'sfcn'\?"),
        ("no_such_module:build", {}, r"model\.name: 'no_such_module' cannot be imported"),
        ("tfmri.models.sfcn:biuld", {}, r"has no 'biuld'\. Did you mean 'build'\?"),
        ("sfcn", {"dropuot": 0.1}, r"model\.dropuot: unknown option\. Did you mean 'dropout'\?"),
        ("sfcn", {"dropout": 1.5}, r"model\.dropout: found 1\.5"),
        ("sfcn", {"filters": [8, 0]}, r"model\.filters\.1: found 0"),
        ("sfcn", {"momentum": float("nan")}, r"model\.momentum: found nan\. Input should be a finite number"),
        ("sfcn", {"filters": "wide"}, r"model\.filters: found 'wide'"),
        ("sfcn", {"filters": []}, r"model\.filters: found"),
        ("resnet18", {"filters": [8, 16, 32]}, r"model\.filters\.3: missing"),
        ("resnet18", {"stem_stride": 3}, r"model\.stem_stride: found 3"),
        ("resnet18", {"preactivaton": True}, r"Did you mean 'preactivation'\?"),
        ("densenet12", {}, r"unknown name 'densenet12'\. Did you mean 'densenet121'\?"),
        ("sfcn", {"norm": "layers"}, r"model\.norm: found 'layers'\. .* 'batch', 'group', 'instance' or 'layer'"),
        ("cole", {"activation": "gello"}, r"model\.activation: found 'gello'\. Input should be 'relu', 'elu', 'gelu'"),
        ("vit", {"norm": "batch"}, r"model\.norm: unknown option"),
        ("resnet50", {"se": 0}, r"model\.se: found 0"),
        ("sfcn", {"l2": -1}, r"model\.l2: found -1"),
        ("sfcn", {"initial_bias": [0.0]}, r"model\.initial_bias: unknown option"),
        ("sfcn", {"dropuot": 0.1, "momentum": "high"}, r"2 problems:(.|\n)*dropuot(.|\n)*momentum"),
    ],
)
def test_a_wrong_name_or_option_is_said_with_what_would_be_right(name, options, message):
    with pytest.raises(InputError, match=message):
        check_model(name, options)


def test_checking_options_imports_no_tensorflow():
    program = "import sys; from tfmri.models.registry import check_model; check_model('sfcn', {'dropout': 0.1})"
    program += "; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_builder_in_the_current_folder_is_found_and_checked(own_module):
    model = build_model("own_models:build", (8, 8, 8, 1), 2, width=3, initial_bias=[0.0, 0.0])
    assert tuple(model.outputs[0].shape) == (None, 2)
    with pytest.raises(InputError, match=r"model\.widht: unknown option\. Did you mean 'width'\?"):
        build_model("own_models:build", (8, 8, 8, 1), 2, widht=3)


def test_a_builder_whose_annotations_are_postponed_is_checked_like_any_other(tmp_path, monkeypatch):
    (tmp_path / "postponed_models.py").write_text(POSTPONED)
    monkeypatch.syspath_prepend(tmp_path)
    options = check_model("postponed_models:build", {"filters": [8, 16], "width": "3", "norm": "any"})
    assert options == {"filters": (8, 16), "rate": 0.5, "norm": "any", "width": 3}
    with pytest.raises(InputError, match=r"3 problems:(.|\n)*filters\.0(.|\n)*rate(.|\n)*width: missing"):
        check_model("postponed_models:build", {"filters": ["wide"], "rate": 1})


def test_what_an_own_builder_returns_is_checked(own_module):
    with pytest.raises(InputError, match=r"output \(None, 3\) float32; expected \(None, 2\) float32"):
        build_model("own_models:build_wrong", (8, 8, 8, 1), 2)
    with pytest.raises(InputError, match="returned NoneType"):
        build_model("own_models:build_nothing", (8, 8, 8, 1), 2)


@pytest.mark.parametrize(
    ("builder", "options", "message"),
    [
        ("build", {"activation": "softmax"}, "ends with softmax, and the loss applies its own; expected a linear"),
        ("build_planar", {}, r"fails for images of \[8, 8, 8, 1\] and 2 outputs \(ValueError: .*--debug"),
        ("build_of_two", {}, r"has input .*\(None, 1\); expected one input \(None, 8, 8, 8, 1\)"),
        ("build_of_a_fixed_shape", {}, r"has input \(None, 9, 9, 9, 1\); expected one input \(None, 8, 8, 8, 1\)"),
        ("build_subclassed", {}, "returned Subclassed; expected a functional keras.Model"),
    ],
)
def test_an_own_model_that_does_not_fit_is_refused_in_one_sentence(own_module, builder, options, message):
    with pytest.raises(InputError, match=message) as raised:
        build_model(f"own_models:{builder}", (8, 8, 8, 1), 2, **options)
    assert len(raised.value.problems) == 1 and "\n" not in str(raised.value)


@pytest.mark.parametrize("policy", ["float32", "mixed_float16", "float16"])
def test_an_own_model_of_any_precision_has_to_end_in_float32(own_module, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        for builder in ("build_sequential", "build_on_a_backbone"):
            model = build_model(f"own_models:{builder}", (8, 8, 8, 1), 2)
            assert model(np.ones((1, 8, 8, 8, 1), np.float32)).dtype == "float32"
        if policy != "float32":
            with pytest.raises(InputError, match=r"\(None, 2\) float16; .* Give the last layer dtype='float32'"):
                build_model("own_models:build", (8, 8, 8, 1), 2)
    finally:
        keras.config.set_dtype_policy(before)


def test_an_own_builder_that_cannot_synchronise_is_refused_where_it_would_have_to(own_module):
    with pytest.raises(InputError, match="does not synchronise bn"):
        build_model("own_models:build", (8, 8, 8, 1), 2, synchronized=True)
